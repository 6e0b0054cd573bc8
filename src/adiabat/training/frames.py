"""The frames of a run, read from its stores: training, validation and test."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from adiabat.core.errors import ConfigError
from adiabat.core.operators import BlockOperator
from adiabat.data.frame_slice import parse_frames
from adiabat.data.record import Record
from adiabat.data.splits import Split
from adiabat.data.store import DatasetStore
from adiabat.training.config import DataConfig, StoreSlice


@dataclass(frozen=True, eq=False)
class Frame:
    """A labelled structure.

    Attributes:
        record: its structure and labels.
        name: by which an error calls it.
        fidelity: the level that the configuration gave it, in the place of its own.
    """

    record: Record
    name: str
    fidelity: str = ""


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames by what they are for.

    Attributes:
        train: learned from.
        validation: choose the best model.
        test: scored once, at the end.
    """

    train: tuple[Frame, ...]
    validation: tuple[Frame, ...]
    test: tuple[Frame, ...]

    @property
    def data_hash(self) -> str:
        """SHA-256 over structures and labels of the training and validation frames, in order."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation):
            digest.update(b"part")
            for frame in part:
                digest.update((frame.record.key + frame.fidelity).encode())
                for label, value in sorted(frame.record.labels.items()):
                    flat = value.values if isinstance(value, BlockOperator) else value
                    dtype = "<c16" if np.iscomplexobj(flat) else "<f8"
                    digest.update(label.encode() + np.ascontiguousarray(flat, dtype=dtype).tobytes())
        return digest.hexdigest()


def load_frames(config: DataConfig) -> Frames:
    """Read and split.

    Raises:
        ConfigError: a slice that is none or takes nothing, or fewer frames than are asked for.
        StoreError: a store that cannot be read, or that the saved split was not made for.
    """
    if config.split is not None:
        return _read_split(config.train[0].path, config.split)
    train, validation = _read(config.train), _read(config.validation)
    n_train = len(train) - config.n_validation if config.n_train is None else config.n_train
    if n_train < 1 or n_train + config.n_validation > len(train):
        raise ConfigError(
            f"{len(train)} frames in data.train",
            expected=f"at least {max(n_train, 1) + config.n_validation}: {max(n_train, 1)} to train on "
            f"and {config.n_validation} for validation",
            suggestion="lower data.n_train or data.n_validation, or label more structures",
        )
    if config.n_validation or n_train < len(train):
        order = np.random.default_rng(config.split_seed).permutation(len(train))
        # Each part in store order, so that a part does not depend on how the others were drawn.
        validation = validation or [train[index] for index in sorted(order[: config.n_validation])]
        train = [train[index] for index in sorted(order[config.n_validation :][:n_train])]
    return Frames(tuple(train), tuple(validation), tuple(_read(config.test)))


def _read_split(store_path: str, split_path: str) -> Frames:
    with DatasetStore.open(store_path) as store:
        split = Split.load(split_path, content_hash=store.content_hash)
        parts = (split.train, split.validation, split.test)
        return Frames(*(tuple(_frame(store[int(i)], int(i), store_path) for i in part) for part in parts))


def _read(slices: Sequence[StoreSlice]) -> list[Frame]:
    frames: list[Frame] = []
    for part in slices:
        with DatasetStore.open(part.path) as store:
            indices = _indices(part, len(store))
            frames += [_of_fidelity(_frame(store[index], index, part.path), part.fidelity) for index in indices]
    return frames


def _of_fidelity(frame: Frame, fidelity: str | None) -> Frame:
    if fidelity is None:
        return frame
    provenance = replace(frame.record.provenance, fidelity=fidelity)
    return replace(frame, record=replace(frame.record, provenance=provenance), fidelity=fidelity)


def _frame(record: Record, index: int, path: str) -> Frame:
    structure = record.structure
    return Frame(record, f"frame {index} of {path} ({structure.formula}, {structure.content_hash[:8]})")


def _indices(part: StoreSlice, n_records: int) -> list[int]:
    chosen = list(range(n_records))[parse_frames(part.frames)]
    if part.exclude is not None:
        excluded = set(range(n_records)[parse_frames(part.exclude)])
        chosen = [index for index in chosen if index not in excluded]
    chosen = chosen[: part.first]
    if not chosen or (part.first is not None and len(chosen) < part.first):
        wanted = "at least one" if part.first is None else f"{part.first}"
        raise ConfigError(
            f"{len(chosen)} of the {n_records} frames of {part.path} with frames {part.frames!r}"
            + (f" and exclude {part.exclude!r}" if part.exclude else ""),
            expected=f"{wanted} to be taken",
            suggestion="widen the slice, or lower first",
        )
    return chosen
