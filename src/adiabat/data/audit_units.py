"""Audit of magnitudes: which units the numbers look like, and why."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from ase.data import covalent_radii

from adiabat.core.units import BOHR, HARTREE, KCAL_PER_MOL, KJ_PER_MOL, RYDBERG
from adiabat.data.audit_result import Finding, Severity
from adiabat.data.neighbors import find_neighbors
from adiabat.data.record import Record
from adiabat.data.structure import OVERLAP_DISTANCE

_NOBLE_GASES: Final = frozenset({2, 10, 18, 36, 54, 86})
_WRONG_ENERGY_UNITS: Final = {
    "hartree": HARTREE,
    "rydberg": RYDBERG,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
}
_UNIT_TOLERANCE: Final = 0.04
"""The Thomas–Fermi–Scott sum of atoms is within 4 % of all-electron energies of molecules from Li on."""

_SEARCH_RADIUS: Final = 4.0
"""Å; bonds are shorter, also when their lengths are in Bohr."""


def free_atom_energy(atomic_numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """All-electron total energy of neutral atoms in eV: E = −0.768745 Z^7/3 + Z²/2 − 0.269900 Z^5/3 Hartree.

    Source: [englert1985] Thomas–Fermi energy with Scott's and Schwinger's corrections.
    """
    z = np.asarray(atomic_numbers, dtype=np.float64)
    return HARTREE * (-0.768745 * z ** (7 / 3) + z**2 / 2 - 0.269900 * z ** (5 / 3))


def judge_energy_unit(records: Sequence[Record]) -> Iterator[Finding]:
    """Compare total energies with those of free atoms, which tell Hartree from eV where all electrons are counted."""
    chosen = [k for k, record in enumerate(records) if "energy" in record.labels and record.structure.n_atoms > 1]
    heavy = [k for k in chosen if records[k].structure.atomic_numbers.max() > 2]
    if not heavy:
        return
    ratios = np.array(
        [_energy(records[k]) / free_atom_energy(records[k].structure.atomic_numbers).sum() for k in heavy]
    )
    per_atom = np.median([_energy(records[k]) / records[k].structure.n_atoms for k in heavy])
    ratio = float(np.median(ratios))
    text = f"median energy {per_atom:.6g} eV per atom, {ratio:.3g} of free atoms with all their electrons"
    for unit, factor in _WRONG_ENERGY_UNITS.items():
        for mistake, remedy, expected in (
            (f"{unit} read as eV", unit, 1 / factor),
            (f"eV read as {unit}", "eV", factor),
        ):
            if abs(ratio / expected - 1) < _UNIT_TOLERANCE:
                yield Finding(
                    "energy unit",
                    Severity.ERROR,
                    f"{text}: what {mistake} would give",
                    f"import again with --energy-unit {remedy}",
                )
                return
    if abs(ratio - 1) < _UNIT_TOLERANCE:
        verdict = "all-electron total energies in eV"
    elif ratio < 0:
        verdict = "positive energies: not total energies; atomization or relative energies"
    elif ratio < 0.05:
        verdict = "energies relative to atoms, or pseudopotential energies with a shifted zero (VASP), in eV"
    else:
        verdict = "pseudopotential total energies (valence electrons only) in eV"
    yield Finding("energy unit", Severity.INFO, f"{text}: {verdict}")


def judge_lengths(records: Sequence[Record]) -> Iterator[Finding]:
    """Overlapping atoms, and nearest-neighbor distances against covalent radii, which tell Bohr from Å."""
    overlapping, ratios, shortest = [], [], np.inf
    for index, record in enumerate(records):
        structure = record.structure
        found = find_neighbors(structure, _SEARCH_RADIUS)
        if not len(found.distances):
            continue
        shortest = min(shortest, float(found.distances.min()))
        if found.distances.min() < OVERLAP_DISTANCE:
            overlapping.append(index)
        radii = covalent_radii[structure.atomic_numbers]
        relative = found.distances / (radii[found.index[0]] + radii[found.index[1]])
        nearest = np.full(structure.n_atoms, np.inf)
        np.minimum.at(nearest, found.index[0], relative)
        ratios.append(float(np.median(nearest[np.isfinite(nearest)])))
    if overlapping:
        yield Finding(
            "distances",
            Severity.ERROR,
            f"{len(overlapping)} structures with two atoms at one place (nearest: {shortest:.4f} Å)",
            "remove the duplicate atoms, or check cell and periodicity",
            tuple(overlapping),
        )
    if not ratios:
        return
    ratio = float(np.median(ratios))
    text = f"shortest distance {shortest:.3f} Å; nearest neighbors at {ratio:.2f} × the sum of covalent radii"
    elements = {int(z) for record in records for z in set(record.structure.atomic_numbers.tolist())}
    if 0.9 / BOHR < ratio < 1.2 / BOHR and not elements <= _NOBLE_GASES:
        yield Finding(
            "length unit",
            Severity.ERROR,
            f"{text}: as Bohr read as Å would give",
            "import again with --positions-unit bohr",
        )
    elif ratio < 1.2 * BOHR:
        yield Finding(
            "length unit",
            Severity.ERROR,
            f"{text}: shorter than bonds can be",
            "check the unit of positions; they may be in nm, fractional, or converted twice",
        )
    else:
        yield Finding("length unit", Severity.INFO, f"{text}: Å")


def judge_forces(records: Sequence[Record]) -> Iterator[Finding]:
    """Magnitude of forces and their sum, which vanishes for a structure that nothing holds."""
    chosen = [k for k, record in enumerate(records) if "forces" in record.labels]
    if not chosen:
        return
    forces = [np.asarray(records[k].labels["forces"]) for k in chosen]
    rms = float(np.sqrt(np.mean(np.concatenate([f.ravel() for f in forces]) ** 2)))
    largest = max(float(np.abs(f).max()) for f in forces)
    yield Finding("forces", Severity.INFO, f"rms {rms:.4g} eV/Å, largest component {largest:.4g} eV/Å")
    still = tuple(k for k, f in zip(chosen, forces, strict=True) if len(f) > 1 and not f.any())
    if still:
        yield Finding(
            "forces",
            Severity.WARNING if len(still) < len(chosen) else Severity.ERROR,
            f"{len(still)} records whose forces are all exactly zero",
            "right for perfect crystals; anywhere else the forces were not computed",
            still,
        )
    net = np.array([np.linalg.norm(f.sum(axis=0)) for f in forces])
    text = f"net force: median {np.median(net):.2g}, largest {net.max():.2g} eV/Å"
    per_atom = net / np.array([len(f) for f in forces])
    pulled = tuple(np.array(chosen)[per_atom > max(0.01, 0.05 * rms)].tolist())
    if pulled:
        yield Finding(
            "net force",
            Severity.WARNING,
            f"{text}; forces that do not sum to zero cannot be learned exactly",
            "missing atoms, constraints, or a coarse integration grid",
            pulled,
        )
    else:
        yield Finding("net force", Severity.INFO, text)


def _energy(record: Record) -> float:
    return float(np.asarray(record.labels["energy"]))
