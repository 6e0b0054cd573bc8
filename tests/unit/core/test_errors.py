import copy

import pytest

from adiabat.core import errors
from adiabat.core.errors import AdiabatError, MissingExtraError, ScfNotConvergedError, nearest


def test_three_parts_in_the_message() -> None:
    error = AdiabatError("a key 'enrgy'", expected="a registered field", suggestion="did you mean 'energy'?")
    assert str(error) == "got: a key 'enrgy'\nexpected: a registered field\ntry: did you mean 'energy'?"


def test_survives_the_trip_from_a_worker_process() -> None:
    error = ScfNotConvergedError("residual 1e-3", expected="1e-10", suggestion="raise max_cycle")
    error.__dict__["structure_index"] = 7
    back = copy.copy(error)  # rebuilds it by the same protocol as multiprocessing
    assert type(back) is ScfNotConvergedError
    assert str(back) == str(error)
    assert back.__dict__["structure_index"] == 7


def test_missing_extra_names_the_install_command() -> None:
    error = MissingExtraError.of("tblite", "xtb")
    assert error.suggestion == "pip install 'adiabat[xtb]'"
    assert "tblite" in error.got


def test_every_error_is_ours() -> None:
    classes = [value for value in vars(errors).values() if getattr(value, "__module__", "") == errors.__name__]
    classes = [value for value in classes if isinstance(value, type)]
    assert len(classes) > 5
    assert all(issubclass(cls, AdiabatError) for cls in classes)


@pytest.mark.parametrize(
    ("word", "phrase"), [("force", "did you mean 'forces'?"), ("qqqq", "one of energy, forces, stress")]
)
def test_nearest_word(word: str, phrase: str) -> None:
    assert nearest(word, ["stress", "energy", "forces"]) == phrase
