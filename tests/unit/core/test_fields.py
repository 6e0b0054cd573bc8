import pytest

from adiabat.core.errors import FieldError
from adiabat.core.fields import FIELDS, field


def test_every_field_is_found_under_its_name() -> None:
    for name, entry in FIELDS.items():
        assert field(name) is entry
        assert entry.name == name
        assert entry.unit
        assert entry.description


def test_shapes_agree_with_kinds_and_ranks() -> None:
    for entry in FIELDS.values():
        if entry.kind == "operator":
            assert entry.rank is None
            continue
        leading = {"structure": (), "atom": ("n_atoms",), "orbital": ("n_orb",)}[entry.kind]
        assert entry.shape == (*leading, *(3,) * (entry.rank or 0))


def test_a_misspelt_field_names_the_nearest() -> None:
    with pytest.raises(FieldError, match="did you mean 'forces'"):
        field("force")
