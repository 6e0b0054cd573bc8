"""Structures named on the command line, with a slice."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

from adiabat.cli.data_source import read_source, split_source
from adiabat.core.errors import ConfigError, FileFormatError
from adiabat.data.record import Provenance, Record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "water.lmdb"
    with DatasetStore.create(path) as opened:
        for index in range(6):
            atoms = molecule("H2O")
            atoms.positions += 0.01 * index * np.eye(3)
            labels = {"energy": np.asarray(float(index))}
            opened.append(Record(Structure.from_ase(atoms), labels, Provenance("test")))
    return path


@pytest.mark.parametrize(
    ("frames", "expected"),
    [("", [0, 1, 2, 3, 4, 5]), (":2:4", [2, 3]), (":::2", [0, 2, 4]), (":-1", [5]), (":4:", [4, 5]), ("::2", [0, 1])],
)
def test_a_slice_follows_the_path(store: Path, frames: str, expected: list[int]) -> None:
    records, described = read_source(f"{store}{frames}")
    assert [float(record.labels["energy"]) for record in records] == expected
    assert described["file"] == str(store)
    assert described["frames"] == (frames[1:] or ":")
    assert described["content_hash"]


def test_a_file_is_read_as_a_store_is(tmp_path: Path) -> None:
    path = tmp_path / "frames.xyz"
    frames = [molecule("H2O") for _ in range(4)]
    for index, atoms in enumerate(frames):
        atoms.positions[0, 0] += 0.01 * index
    write(path, frames)
    assert len(read_source(f"{path}:1:3")[0]) == 2


def test_a_path_with_a_colon_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a:1"
    path.write_text("")
    assert split_source(str(path)) == (path, ":")
    assert split_source(f"{path}:0:2") == (path, "0:2")


def test_what_is_no_source_is_refused(store: Path) -> None:
    with pytest.raises(FileFormatError, match=r"nowhere\.lmdb"):
        read_source("nowhere.lmdb:0:2")
    with pytest.raises(FileFormatError, match="without a frame"):
        read_source(f"{store}:6:")
    with pytest.raises(ConfigError, match="slice"):
        read_source(f"{store}:last")
