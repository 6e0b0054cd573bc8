import pytest

from adiabat.core.errors import ConfigError
from adiabat.models.device import compute_device


def test_the_processor_is_always_there() -> None:
    assert compute_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["tpu", "", "cuda:99", "mps"])
def test_what_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="device") as error:
        compute_device(name)
    assert error.value.expected.startswith("cpu")
