import json

import numpy as np
import pytest

from adiabat.core.errors import FileFormatError, LabelError, SchemaVersionError, StoreError
from adiabat.data.record import Provenance, Record
from adiabat.data.splits import Split, distance_split, group_split, random_split
from adiabat.data.structure import Structure


def parts(split):
    return split.train.tolist(), split.validation.tolist(), split.test.tolist()


def is_partition(split, n):
    return sorted(k for part in parts(split) for k in part) == list(range(n))


def stretched(length):
    return Record(Structure(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, length]])), {}, Provenance("toy"))


def test_random_split_is_a_partition_that_the_seed_decides():
    split = random_split(100, test=0.2, validation=10, seed=3)
    assert [len(part) for part in parts(split)] == [70, 10, 20]
    assert is_partition(split, 100)
    assert parts(random_split(100, test=0.2, validation=10, seed=3)) == parts(split)
    assert parts(random_split(100, test=0.2, validation=10, seed=4)) != parts(split)


def test_random_split_never_changes():
    # Published splits must stay what they are; NumPy guarantees the stream of PCG64 and `permutation` has been stable.
    assert random_split(10, test=2, validation=2, seed=0).test.tolist() == [4, 6]


@pytest.mark.parametrize(("test", "validation"), [(0.5, 0.5), (90, 10), (-1, 1)])
def test_something_must_be_left(test, validation):
    with pytest.raises(LabelError, match="of 100 records"):
        random_split(100, test=test, validation=validation)


def test_groups_stay_together():
    groups = [f"run {k % 7}" for k in range(70)]
    split = group_split(groups, test=0.3, validation=0.15, seed=1)
    assert is_partition(split, 70)
    owners = [{groups[k] for k in part} for part in parts(split)]
    assert not owners[0] & owners[1]
    assert not owners[0] & owners[2]
    assert not owners[1] & owners[2]
    assert [len(part) for part in parts(split)] == [40, 10, 20]
    assert parts(group_split(groups, test=0.3, validation=0.15, seed=1)) == parts(split)


def test_one_group_cannot_be_split():
    with pytest.raises(LabelError, match="1 groups of 10 records"):
        group_split(["a"] * 10, test=0.3, validation=0)


def test_distance_split_tests_what_is_unlike():
    lengths = [0.74 + 0.001 * k for k in range(18)] + [1.9, 2.4]
    split = distance_split([stretched(length) for length in lengths], test=2, validation=2)
    assert split.test.tolist() == [18, 19]
    assert is_partition(split, 20)


def test_save_and_load(tmp_path):
    split = random_split(30, test=5, validation=5, content_hash="abc")
    split.save(tmp_path / "split.json")
    back = Split.load(tmp_path / "split.json", content_hash="abc")
    assert parts(back) == parts(split)
    assert back.method == split.method
    assert [file.name for file in tmp_path.iterdir()] == ["split.json"]


def test_a_split_of_another_store_is_refused(tmp_path):
    random_split(30, test=5, validation=5, content_hash="abc").save(tmp_path / "split.json")
    with pytest.raises(StoreError, match="of a store with hash abc"):
        Split.load(tmp_path / "split.json", content_hash="def")


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"schema_version": 1, "train": []})])
def test_damaged_split(tmp_path, text):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(FileFormatError):
        Split.load(tmp_path / "split.json")


def test_split_of_another_version(tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"schema_version": 2}))
    with pytest.raises(SchemaVersionError):
        Split.load(tmp_path / "split.json")
