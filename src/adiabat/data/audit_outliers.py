"""Audit of the energy's zero and of records that stand apart from the rest."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.data.audit_result import Finding, Severity
from adiabat.data.isolated_atom import is_isolated_atom
from adiabat.data.record import Record

_FAR: Final = 10.0
"""Robust standard deviations beyond which a record is called an outlier; thermal data stays within five."""

_GAUSSIAN_MAD: Final = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


def judge_energy_reference(records: Sequence[Record]) -> Iterator[Finding]:
    """Which reference the energies have: free atoms of the data set, or least squares over compositions."""
    atoms = {
        int(r.structure.atomic_numbers[0]): r for r in records if is_isolated_atom(r.structure) and "energy" in r.labels
    }
    bonded = [r for r in records if "energy" in r.labels and r.structure.n_atoms > 1]
    if atoms:
        listed = ", ".join(
            f"{r.structure.symbols[0]} {float(np.asarray(r.labels['energy'])):.4f}" for r in atoms.values()
        )
        yield Finding("energy reference", Severity.INFO, f"isolated atoms in the data: {listed} eV")
    covered = [r for r in bonded if set(r.structure.atomic_numbers.tolist()) <= set(atoms)]
    if covered:
        binding = np.array([_binding_per_atom(record, atoms) for record in covered])
        text = f"binding energy against isolated atoms: median {np.median(binding):.3f} eV per atom"
        if np.median(binding) > 0 or np.median(binding) < -15:
            yield Finding(
                "energy reference",
                Severity.ERROR,
                f"{text}; bonds have between 0 and −15",
                "the isolated atoms are of another method, unit or pseudopotential: recompute or remove them",
            )
        else:
            yield Finding("energy reference", Severity.INFO, text)
    if bonded and not atoms:
        compositions, energies = _compositions(bonded)
        rank = int(np.linalg.matrix_rank(compositions))
        how = "unique" if rank == compositions.shape[1] else "not unique: the compositions are too alike"
        yield Finding(
            "energy reference",
            Severity.INFO,
            f"no isolated atoms: {compositions.shape[1]} by least squares over {len(energies)} records, {how}",
        )


def find_outliers(records: Sequence[Record]) -> Iterator[Finding]:
    """Records far from the rest in energy per atom, after references per element, or in their largest force."""
    chosen = [k for k, r in enumerate(records) if "energy" in r.labels and r.structure.n_atoms > 1]
    if len(chosen) >= 10:
        compositions, energies = _compositions([records[k] for k in chosen])
        references = np.linalg.lstsq(compositions, energies, rcond=None)[0]
        residual = (energies - compositions @ references) / compositions.sum(axis=1)
        spread = _GAUSSIAN_MAD * float(np.median(np.abs(residual - np.median(residual))))
        text = f"energy per atom spreads by {residual.std():.4f} eV about the references"
        yield _outliers("energy outliers", text, residual, spread, chosen)
    chosen = [k for k, r in enumerate(records) if "forces" in r.labels and r.structure.n_atoms > 1]
    if len(chosen) >= 10:
        largest = np.array([np.linalg.norm(np.asarray(records[k].labels["forces"]), axis=1).max() for k in chosen])
        spread = _GAUSSIAN_MAD * float(np.median(np.abs(largest - np.median(largest))))
        text = f"largest force of a record: median {np.median(largest):.3g}, maximum {largest.max():.3g} eV/Å"
        yield _outliers("force outliers", text, largest, spread, chosen)


def _outliers(check: str, text: str, values: npt.NDArray[np.float64], spread: float, indices: Sequence[int]) -> Finding:
    far = np.abs(values - np.median(values)) > _FAR * max(spread, 1e-9)
    if spread > 0 and far.any() and far.mean() < 0.05:
        return Finding(
            check,
            Severity.WARNING,
            f"{text}; {int(far.sum())} records beyond {_FAR:.0f} robust standard deviations",
            "look at these frames; a few broken ones can spoil a fit",
            tuple(np.array(indices)[far].tolist()),
        )
    return Finding(check, Severity.INFO, text)


def _binding_per_atom(record: Record, atoms: dict[int, Record]) -> float:
    free = sum(float(np.asarray(atoms[z].labels["energy"])) for z in record.structure.atomic_numbers.tolist())
    return (float(np.asarray(record.labels["energy"])) - free) / record.structure.n_atoms


def _compositions(records: Sequence[Record]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    elements = np.unique(np.concatenate([r.structure.atomic_numbers for r in records]))
    counts = np.array([(r.structure.atomic_numbers[:, None] == elements).sum(axis=0) for r in records], dtype=float)
    return counts, np.array([float(np.asarray(r.labels["energy"])) for r in records])
