"""What every test may ask for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the published data sets, outside the repository; the test is skipped where it is absent."""
    folder = Path(os.environ.get("ADIABAT_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set ADIABAT_SHARED_DATA")
    return folder


@pytest.fixture(autouse=True)
def _global_state() -> Iterator[None]:
    """Fail a test that leaves PyTorch's default dtype changed: a library must never do that to its user."""
    before = torch.get_default_dtype()
    yield
    after = torch.get_default_dtype()
    torch.set_default_dtype(before)
    assert after == before, f"the default dtype was left at {after}"
