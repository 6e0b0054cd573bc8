import numpy as np
import pytest
from pydantic import ValidationError

from adiabat.core.errors import ConfigError, StoreError
from adiabat.data.splits import random_split
from adiabat.data.store import DatasetStore
from adiabat.training.config import DataConfig
from adiabat.training.frames import load_frames
from labelled_waters import water_records, write_store


@pytest.fixture
def store(tmp_path):
    return str(write_store(tmp_path / "a.lmdb", water_records(12, ("energy",))))


def numbers(frames):
    return [int(frame.name.split()[1]) for frame in frames]


def test_slices_in_store_order(store):
    part = {"path": store, "frames": "0:10", "exclude": "4::5", "first": 6}
    frames = load_frames(DataConfig(train=[part], test=[{"path": store, "frames": "4::5"}]))
    assert numbers(frames.train) == [0, 1, 2, 3, 5, 6]
    assert numbers(frames.test) == [4, 9]


def test_held_out_frames_are_disjoint_and_repeatable(store):
    config = DataConfig(train=[store], n_train=7, n_validation=4, split_seed=5)
    frames, again = load_frames(config), load_frames(config)
    assert not set(numbers(frames.train)) & set(numbers(frames.validation))
    assert (len(frames.train), len(frames.validation)) == (7, 4)
    assert numbers(again.train) == numbers(frames.train)
    assert again.data_hash == frames.data_hash


def test_the_hash_sees_labels_and_order(store, tmp_path):
    records = water_records(12, ("energy",))
    shifted = [type(r)(r.structure, {"energy": np.asarray(r.labels["energy"] + 1)}, r.provenance) for r in records]
    other = str(write_store(tmp_path / "b.lmdb", shifted))
    turned = str(write_store(tmp_path / "c.lmdb", records[::-1]))
    hashes = {load_frames(DataConfig(train=[path])).data_hash for path in (store, other, turned)}
    assert len(hashes) == 3


def test_a_saved_split_decides(store, tmp_path):
    with DatasetStore.open(store) as opened:
        split = random_split(len(opened), test=0.25, validation=0.25, content_hash=opened.content_hash)
    split.save(tmp_path / "split.json")
    frames = load_frames(DataConfig(train=[store], split=str(tmp_path / "split.json")))
    for name in ("train", "validation", "test"):
        assert numbers(getattr(frames, name)) == getattr(split, name).tolist()


def test_a_split_of_another_store_is_refused(store, tmp_path):
    random_split(12, test=0.25, validation=0.25, content_hash="0" * 64).save(tmp_path / "split.json")
    with pytest.raises(StoreError, match="split"):
        load_frames(DataConfig(train=[store], split=str(tmp_path / "split.json")))


def test_a_split_besides_other_choices_is_refused(store):
    with pytest.raises(ValidationError, match="split"):
        DataConfig(train=[store], split="split.json", n_train=3)


@pytest.mark.parametrize("text", ["five", "1:2:0", "1:2:3:4", ""])
def test_a_slice_that_is_none_is_refused(store, text):
    with pytest.raises(ConfigError, match=r"start:stop"):
        load_frames(DataConfig(train=[{"path": store, "frames": text}]))


@pytest.mark.parametrize("settings", [{"n_train": 13}, {"n_train": 10, "n_validation": 3}, {"n_validation": 12}])
def test_more_frames_than_there_are_is_refused(store, settings):
    with pytest.raises(ConfigError, match="12 frames"):
        load_frames(DataConfig(train=[store], **settings))


def test_first_of_fewer_is_refused(store):
    with pytest.raises(ConfigError, match="50"):
        load_frames(DataConfig(train=[{"path": store, "first": 50}]))
