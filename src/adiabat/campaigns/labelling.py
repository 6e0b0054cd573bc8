"""Labelling: run an engine over structures in parallel, into a store, so that no kill loses or repeats work.

The parent is the only writer and appends each result as it arrives; what is done is known by the record's key
(structure and settings), so a second run continues where the first one ended.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adiabat.campaigns.worker_pool import WorkerPool
from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import AdiabatError, ConfigError, LabelError
from adiabat.core.interruption import stop_on_signals
from adiabat.data.record import Labels, Record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.engines.base import Engine


@dataclass(frozen=True)
class LabellingFailure:
    """A structure that got no labels.

    Attributes:
        index: its place in the input, 0-based.
        formula: its empirical formula.
        error: why.
    """

    index: int
    formula: str
    error: AdiabatError

    def to_json(self) -> dict[str, object]:
        """Plain dictionary."""
        error = self.error
        return {
            "index": self.index,
            "formula": self.formula,
            "kind": type(error).__name__,
            "got": error.got,
            "expected": error.expected,
            "try": error.suggestion,
        }


@dataclass(frozen=True)
class LabellingReport:
    """State of a labelling run, while it goes and at its end.

    Attributes:
        n_structures: structures in the input.
        n_skipped: already in the store, or twice in the input.
        n_labelled: computed and stored by this run.
        failures: structures that got no labels, in order of the input.
        stopped_by: signal number that ended the run early, if one did.
    """

    n_structures: int
    n_skipped: int
    n_labelled: int = 0
    failures: tuple[LabellingFailure, ...] = ()
    stopped_by: int | None = None

    @property
    def n_remaining(self) -> int:
        """Structures not yet tried."""
        return self.n_structures - self.n_skipped - self.n_labelled - len(self.failures)


def label_structures(
    structures: Sequence[Structure],
    engine: Engine,
    store_path: str | Path,
    *,
    targets: Sequence[str],
    n_workers: int = 1,
    kept: Sequence[Labels] = (),
    source: str = "",
    on_progress: Callable[[LabellingReport], None] | None = None,
) -> LabellingReport:
    """Label structures into a store, which is created if it is not there.

    Workers are spawned, so a script that calls this needs the usual ``if __name__ == "__main__":``. SIGINT and
    SIGTERM end the run after the current write; failures go to ``<store>.failures.json`` beside the store.

    Args:
        structures: what to label; those already in the store with these settings are skipped.
        engine: the reference method.
        store_path: directory ``name.lmdb``.
        targets: labels to compute.
        n_workers: processes, one thread each.
        kept: for each structure, labels taken over instead of computed; empty for none.
        source: file that the structures (and kept labels) came from, for the provenance.
        on_progress: called after every structure.

    Raises:
        ConfigError: no worker, or kept labels that do not match the structures in number.
        LabelError: the engine cannot give a target, or the store holds these structures with fewer labels.
        AdiabatError: what ``engine.check`` refuses; StoreError from the store.
    """
    _check_arguments(structures, n_workers, kept)
    inherited = frozenset(kept[0]) if kept else frozenset()
    computed = [name for name in targets if name not in inherited]
    engine.check(structures, computed)
    keys = [Record(structure, {}, engine.provenance(structure)).key for structure in structures]
    with _open_or_create(Path(store_path)) as store, stop_on_signals() as stop:
        _check_stored_labels(store, set(keys), set(computed) | inherited)
        order = _unlabelled(keys, store.keys())
        report = LabellingReport(n_structures=len(structures), n_skipped=len(structures) - len(order))
        if on_progress:
            on_progress(report)
        if order:
            with WorkerPool(engine, computed, min(n_workers, len(order))) as pool:
                for answered in pool.answers(structures, order):
                    if stop:
                        break
                    if answered is None:
                        continue
                    index, answer = answered
                    if isinstance(answer, Record):
                        labels = kept[index] if kept else {}
                        store.append(_complete(answer, structures[index], labels, source))
                        report = replace(report, n_labelled=report.n_labelled + 1)
                    else:
                        failure = LabellingFailure(index, structures[index].formula, answer)
                        report = replace(report, failures=(*report.failures, failure))
                    if on_progress:
                        on_progress(report)
        in_order = tuple(sorted(report.failures, key=lambda failure: failure.index))
        report = replace(report, failures=in_order, stopped_by=stop.signal_number)
    _write_failures(Path(store_path), report.failures)
    return report


def failures_path(store_path: str | Path) -> Path:
    """Where the failures of a labelling run into ``store_path`` are listed."""
    return Path(store_path).with_suffix(".failures.json")


def _check_arguments(structures: Sequence[Structure], n_workers: int, kept: Sequence[Labels]) -> None:
    if n_workers < 1:
        raise ConfigError(f"{n_workers} workers", expected="one or more", suggestion=f"--workers {os.cpu_count()}")
    if kept and len(kept) != len(structures):
        raise ConfigError(
            f"kept labels of {len(kept)} structures for {len(structures)} structures",
            expected="one set of labels a structure, or none at all",
            suggestion="pass kept=[record.labels for record in records]",
        )


def _open_or_create(path: Path) -> DatasetStore:
    return DatasetStore.open(path, writable=True) if path.exists() else DatasetStore.create(path)


def _check_stored_labels(store: DatasetStore, keys: set[str], names: set[str]) -> None:
    """A structure counts as labelled only if it has every label that is asked for now."""
    if not keys & store.keys():
        return
    for index, record in enumerate(store):
        missing = names - set(record.labels)
        if missing and record.key in keys:
            raise LabelError(
                f"record {index} of {store.path}, which lacks {', '.join(sorted(missing))}",
                expected="every label that is asked for, if a structure is to count as labelled",
                suggestion="write to another store, or ask for the labels that the first run asked for",
            )


def _unlabelled(keys: Sequence[str], stored: set[str]) -> list[int]:
    """Indices of the first occurrence of each key that is not stored, in order."""
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    return [index for index, key in enumerate(keys) if key not in stored and first[key] == index]


def _complete(record: Record, structure: Structure, kept: Labels, source: str) -> Record:
    """Add what the worker did not see: the structure's info, the labels taken over, and where they came from."""
    provenance = replace(record.provenance, source=source, inherited=dict.fromkeys(kept, source))
    return Record(structure, {**kept, **record.labels}, provenance)


def _write_failures(store_path: Path, failures: Sequence[LabellingFailure]) -> None:
    """List the failures beside the store, or remove the list of an earlier run."""
    path = failures_path(store_path)
    if not failures:
        path.unlink(missing_ok=True)
        return
    text = json.dumps([failure.to_json() for failure in failures], indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())
