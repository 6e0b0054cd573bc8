"""Audit of what is there: counts, elements, labels, duplicates, and labels that stand on the wrong structure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from adiabat.core.fields import FIELDS
from adiabat.data.audit_result import Finding, Severity
from adiabat.data.isolated_atom import is_isolated_atom
from adiabat.data.record import Record

_SAME_ENERGY = 1e-3
"""eV per atom; two labels of one structure nearer than this are one calculation at two convergence thresholds."""


def count_contents(records: Sequence[Record]) -> Iterator[Finding]:
    """Structures, elements, sizes, periodicity and levels of theory."""
    sizes = [record.structure.n_atoms for record in records]
    elements = Counter(symbol for record in records for symbol in set(record.structure.symbols))
    formulas = Counter(record.structure.formula for record in records)
    periodic = Counter(int(record.structure.pbc.sum()) for record in records)
    kinds = ("molecules", "chains", "slabs", "crystals")
    levels = Counter(record.provenance.method or record.provenance.fidelity or "not named" for record in records)
    yield _info("contents", f"{len(records)} structures of {min(sizes)}–{max(sizes)} atoms, {sum(sizes)} atoms in all")
    yield _info("contents", "elements: " + ", ".join(f"{name} in {count}" for name, count in sorted(elements.items())))
    yield _info("contents", "kinds: " + ", ".join(f"{count} {kinds[n]}" for n, count in sorted(periodic.items())))
    yield _info("contents", "formulas: " + ", ".join(f"{count} × {name}" for name, count in formulas.most_common(5)))
    yield _info("contents", "methods: " + ", ".join(f"{name} ({count})" for name, count in levels.most_common(5)))


def find_missing_labels(records: Sequence[Record]) -> Iterator[Finding]:
    """How many records lack each label that others have."""
    for name in FIELDS:
        without = [k for k, record in enumerate(records) if name not in record.labels]
        if len(without) == len(records):
            continue
        bare = [k for k in without if not is_isolated_atom(records[k].structure)]
        text = f"{name}: {len(records) - len(without)} of {len(records)} records"
        if bare and name in ("energy", "forces"):
            yield Finding("labels", Severity.WARNING, f"{text}; missing", "check the key in those frames", tuple(bare))
        else:
            yield _info("labels", text)
    unlabelled = [k for k, record in enumerate(records) if not record.labels]
    if unlabelled:
        yield Finding(
            "labels",
            Severity.ERROR if len(unlabelled) == len(records) else Severity.WARNING,
            f"{len(unlabelled)} records have no label at all",
            "name the keys with --energy-key and --forces-key, or compute labels with 'adiabat label'",
            tuple(unlabelled),
        )


def find_duplicates(records: Sequence[Record]) -> Iterator[Finding]:
    """One structure twice; an error if its energies contradict each other."""
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        groups[record.structure.content_hash, record.provenance.method].append(index)
    repeated = [group for group in groups.values() if len(group) > 1]
    contradictory: list[int] = []
    for group in repeated:
        energies = [_energy_per_atom(records[k]) for k in group if "energy" in records[k].labels]
        if energies and max(energies) - min(energies) > _SAME_ENERGY:
            contradictory += group
    if contradictory:
        yield Finding(
            "duplicates",
            Severity.ERROR,
            "one structure stands in several records with different energies",
            "keep one of each; two levels of theory need different --method names",
            tuple(contradictory),
        )
    elif repeated:
        extra = tuple(k for group in repeated for k in group[1:])
        yield Finding("duplicates", Severity.WARNING, f"{len(extra)} structures stand twice", "drop the copies", extra)
    else:
        yield _info("duplicates", "no structure stands twice")


def find_repeated_labels(records: Sequence[Record]) -> Iterator[Finding]:
    """Equal forces or stress on structures of different energy: labels that slipped to another frame."""
    for name in ("forces", "stress"):
        owners: defaultdict[bytes, list[int]] = defaultdict(list)
        for index, record in enumerate(records):
            value = record.labels.get(name)
            if isinstance(value, np.ndarray) and "energy" in record.labels and np.any(value):
                owners[np.round(value, 7).tobytes()].append(index)
        slipped: list[int] = []
        for group in owners.values():
            energies = [_energy_per_atom(records[k]) for k in group]
            if max(energies) - min(energies) > _SAME_ENERGY:
                slipped += group
        if slipped:
            yield Finding(
                "repeated labels",
                Severity.ERROR,
                f"{len(slipped)} records share their {name} digit for digit with a record of another energy",
                f"the {name} were copied to the wrong frames: import without them (--skip {name}), or mend the file",
                tuple(sorted(slipped)),
            )


def _energy_per_atom(record: Record) -> float:
    energy = record.labels["energy"]
    assert isinstance(energy, np.ndarray)
    return float(energy) / record.structure.n_atoms


def _info(check: str, message: str) -> Finding:
    return Finding(check, Severity.INFO, message)
