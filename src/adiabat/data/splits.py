"""Splits into training, validation and test sets: deterministic, saved with the hash of what they split."""

import json
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import FileFormatError, LabelError, SchemaVersionError, StoreError
from adiabat.data.fingerprint import fingerprint
from adiabat.data.record import Record

SCHEMA_VERSION: Final = 1

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Indices of records in three disjoint sets.

    Attributes:
        train: indices to fit on.
        validation: indices to choose by.
        test: indices to report on, once.
        method: how it was made, with its settings.
        content_hash: ``DatasetStore.content_hash`` of the store that it splits; empty if none.
    """

    train: Indices
    validation: Indices
    test: Indices
    method: str = ""
    content_hash: str = ""

    def save(self, path: str | Path) -> None:
        """Write as JSON, in one step."""
        path = Path(path)
        data = {
            "schema_version": SCHEMA_VERSION,
            "method": self.method,
            "content_hash": self.content_hash,
            "train": self.train.tolist(),
            "validation": self.validation.tolist(),
            "test": self.test.tolist(),
        }
        write_atomically(path, (json.dumps(data) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path, *, content_hash: str | None = None) -> "Split":
        """Read a saved split.

        Args:
            path: file that :meth:`save` wrote.
            content_hash: hash of the store in use; None skips the comparison.

        Raises:
            FileFormatError: the file is missing or is no split.
            SchemaVersionError: another version of the format.
            StoreError: the split belongs to another store.
        """
        path = Path(path)
        data = _load_json(path)
        if data.get("schema_version") != SCHEMA_VERSION:
            raise SchemaVersionError(
                f"split {path.name} of schema version {data.get('schema_version')}",
                expected=f"schema version {SCHEMA_VERSION}",
                suggestion="make it again with 'adiabat data split'",
            )
        if content_hash is not None and data["content_hash"] != content_hash:
            raise StoreError(
                f"split {path.name} of a store with hash {str(data['content_hash'])[:12] or '(none)'}",
                expected=f"a split of this store, {content_hash[:12]}",
                suggestion="the store has changed since: make the split again with 'adiabat data split'",
            )
        sets = (_indices(path, name, data[name]) for name in ("train", "validation", "test"))
        return cls(*sets, method=data["method"], content_hash=data["content_hash"])


def random_split(n_records: int, *, test: float, validation: float, seed: int = 0, content_hash: str = "") -> Split:
    """Shuffle with a seed and cut.

    Args:
        n_records: number of records.
        test: share of the test set if below 1, its size otherwise; likewise ``validation``.
        validation: see ``test``.
        seed: of the shuffle.
        content_hash: of the store.

    Raises:
        LabelError: nothing would be left to train on.
    """
    n_test, n_validation = _sizes(n_records, test, validation)
    order = np.random.default_rng(seed).permutation(n_records)
    parts = np.split(order, [n_test, n_test + n_validation])
    return _split(parts[2], parts[1], parts[0], f"random, seed {seed}", content_hash)


def group_split(
    groups: Sequence[Hashable], *, test: float, validation: float, seed: int = 0, content_hash: str = ""
) -> Split:
    """Keep records of one group (a trajectory, a composition) together.

    Args:
        groups: the group of each record.
        test: share or size that whole groups may fill, in random order. Likewise ``validation``.
        validation: see ``test``.
        seed: of the order of groups.
        content_hash: of the store.

    Raises:
        LabelError: the groups are too few or too large to fill each set.
    """
    n_test, n_validation = _sizes(len(groups), test, validation)
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    names = sorted(members, key=str)
    order = [members[names[k]] for k in np.random.default_rng(seed).permutation(len(names))]
    sets: list[list[int]] = [[], [], []]
    room = [n_test, n_validation, len(groups)]
    for group in order:
        target = next(k for k in range(3) if len(sets[k]) + len(group) <= room[k])
        sets[target] += group
    if not sets[2] or (n_test and not sets[0]) or (n_validation and not sets[1]):
        sizes = sorted((len(group) for group in order), reverse=True)
        raise LabelError(
            f"{len(names)} groups of {', '.join(map(str, sizes[:8]))}{', …' if len(sizes) > 8 else ''} records",
            expected=f"groups that fit into {n_test} test and {n_validation} validation records and leave some over",
            suggestion="ask for larger test and validation sets, or split by another key",
        )
    return _split(sets[2], sets[1], sets[0], f"{len(names)} groups, seed {seed}", content_hash)


def distance_split(
    records: Sequence[Record], *, test: float, validation: float, seed: int = 0, content_hash: str = ""
) -> Split:
    """Test on what is farthest from the training set: a model's answer to structures unlike those it has seen.

    The test set is the records farthest from the centre of all fingerprints; validation is drawn at random from the
    rest.

    Args:
        records: all records.
        test: share or size; likewise ``validation``.
        validation: see ``test``.
        seed: of the validation draw.
        content_hash: of the store.

    Raises:
        LabelError: nothing would be left to train on.
    """
    n_test, n_validation = _sizes(len(records), test, validation)
    elements = np.unique(np.concatenate([record.structure.atomic_numbers for record in records]))
    prints = np.stack([fingerprint(record.structure, elements) for record in records])
    spread = prints.std(axis=0)
    scaled = (prints - prints.mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0)
    # Stable order, so that equal distances fall the same way everywhere.
    outward = np.argsort(np.round(np.linalg.norm(scaled, axis=1), 9), kind="stable")
    far, near = outward[len(records) - n_test :], outward[: len(records) - n_test]
    near = near[np.random.default_rng(seed).permutation(len(near))]
    return _split(near[n_validation:], near[:n_validation], far, f"distance, seed {seed}", content_hash)


def _sizes(n_records: int, test: float, validation: float) -> tuple[int, int]:
    meant = all(0 <= part < np.inf for part in (test, validation))  # which NaN is not
    sizes = [round(part * n_records) if part < 1 else round(part) for part in (test, validation)] if meant else []
    if not meant or sum(sizes) >= n_records:
        raise LabelError(
            f"test {test:g} and validation {validation:g} of {n_records} records",
            expected="shares below one, or sizes, that leave records for training",
            suggestion="for instance --test 0.1 --validation 0.1",
        )
    return sizes[0], sizes[1]


def _split(train: Any, validation: Any, test: Any, method: str, content_hash: str) -> Split:
    sets = (np.sort(np.asarray(part, dtype=np.int64)) for part in (train, validation, test))
    return Split(*sets, method=method, content_hash=content_hash)


def _indices(path: Path, name: str, values: Any) -> Indices:
    if not isinstance(values, list) or not all(type(value) is int and value >= 0 for value in values):
        raise FileFormatError(
            f"split {path} whose {name} set is no list of record numbers",
            expected="whole numbers from 0",
            suggestion="make the split again with 'adiabat data split'",
        )
    return np.array(values, dtype=np.int64)


def _load_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        missing = {"train", "validation", "test", "method", "content_hash"} - set(data)
    except (OSError, ValueError, TypeError) as error:
        raise FileFormatError(
            f"split {path} that cannot be read ({error})",
            expected="JSON that 'adiabat data split' wrote",
            suggestion="make the split again",
        ) from error
    if missing and "schema_version" in data and data["schema_version"] != SCHEMA_VERSION:
        return data
    if missing:
        raise FileFormatError(
            f"split {path} without {', '.join(sorted(missing))}",
            expected="JSON that 'adiabat data split' wrote",
            suggestion="make the split again",
        )
    return data
