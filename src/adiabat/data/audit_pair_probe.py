"""Audit by a probe: pair potentials fitted to the forces alone must predict how energy and stress vary.

    u(r) = Σ_k c_k g_k(r),   F_i = Σ_j u′(r_ij) r̂_ij,   E = ½ Σ_ij u(r_ij),   V σ = ½ Σ_ij u′(r_ij) r_ij r̂ ⊗ r̂

This needs no trajectory. The fit is crude, yet a wrong sign or unit shows as a factor far from one, and labels that
slipped to other frames as no correlation at all.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.data.audit_agreement import (
    FORCE_MISTAKES,
    STRESS_MISTAKES,
    Agreement,
    likely_mistake,
    mended_vasp_order,
    permute_shears,
    shear_orders,
)
from adiabat.data.audit_result import Finding, Severity
from adiabat.data.neighbors import find_neighbors
from adiabat.data.record import Record
from adiabat.data.structure import Structure

Array = npt.NDArray[np.float64]

_RADIUS: Final = 5.0
_CENTRES: Final = np.linspace(0.6, 4.6, 14)
_WIDTH: Final = 0.35
"""Å; radial functions of the probe: overlapping Gaussians from below a bond to beyond second neighbors."""

_MAX_FRAMES: Final = 200
_FEWEST: Final = 8
_MAX_ELEMENTS: Final = 12
_FACTOR: Final = 8.0
"""Pair potentials of covalent solids miss energies by up to a factor of three (silicon: 2.6); wrong units, by 20."""

_LEAST_EXPLAINED: Final = 0.4
"""Share of the forces' variance below which pair potentials say nothing about this material."""


class _NormalEquations:
    """Ridge regression of all forces, a frame at a time."""

    def __init__(self) -> None:
        self._matrix: Array = np.zeros((0, 0))
        self._vector: Array = np.zeros(0)
        self._total = 0.0

    def add(self, design: Array, forces: Array) -> None:
        """Add one frame: design (n_atoms, 3, p) and forces (n_atoms, 3)."""
        rows, target = design.reshape(forces.size, -1), forces.ravel()
        if not len(self._vector):
            self._matrix, self._vector = np.zeros((rows.shape[1],) * 2), np.zeros(rows.shape[1])
        self._matrix += rows.T @ rows
        self._vector += rows.T @ target
        self._total += float(target @ target)

    def solve(self) -> tuple[Array, float]:
        """Coefficients (p,) and the share of the forces' variance that they explain."""
        size = len(self._vector)
        ridge = 1e-7 * max(float(np.trace(self._matrix)) / size, 1e-12)
        coefficients = np.asarray(np.linalg.solve(self._matrix + ridge * np.eye(size), self._vector), dtype=np.float64)
        left = self._total - 2 * coefficients @ self._vector + coefficients @ self._matrix @ coefficients
        return coefficients, 1 - float(left) / self._total if self._total else 0.0


def probe_with_pair_potentials(records: Sequence[Record]) -> Iterator[Finding]:
    """Predict energies and stress from forces."""
    usable = [r for r in records if {"energy", "forces"} <= set(r.labels) and r.structure.n_atoms > 1]
    usable = usable[:: max(1, -(-len(usable) // _MAX_FRAMES))]
    if len(usable) < _FEWEST:
        yield Finding(
            "pair probe", Severity.INFO, f"{len(usable)} records with energy and forces: too few for the probe"
        )
        return
    elements = np.unique(np.concatenate([r.structure.atomic_numbers for r in usable]))
    if len(elements) > _MAX_ELEMENTS:
        yield Finding("pair probe", Severity.INFO, f"{len(elements)} elements: too many kinds of pairs for the probe")
        return
    energies, virials, equations = [], [], _NormalEquations()
    for record in usable:
        energy, forces, virial = _design(record.structure, elements)
        energies.append(energy)
        virials.append(virial)
        equations.add(forces, np.asarray(record.labels["forces"]))
    coefficients, explained = equations.solve()
    if explained < _LEAST_EXPLAINED:
        text = f"pair potentials explain {explained:.0%} of the forces: the probe cannot judge this material"
        yield Finding("pair probe", Severity.INFO, text)
        return
    groups = _groups(usable)
    yield from _judge_energy(usable, np.stack(energies) @ coefficients, groups, explained)
    yield from _judge_stress(usable, np.stack(virials) @ coefficients, groups, explained)


def _design(structure: Structure, elements: npt.NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """What each coefficient contributes to a frame: energy (p,), forces (n_atoms, 3, p), virial (3, 3, p)."""
    found = find_neighbors(structure, _RADIUS)
    species = np.searchsorted(elements, structure.atomic_numbers)[found.index]
    n_elements, n_radial = len(elements), len(_CENTRES)
    n_kinds = n_elements * (n_elements + 1) // 2
    kind = species.max(axis=0) * (species.max(axis=0) + 1) // 2 + species.min(axis=0)
    r = found.distances[:, None]
    gaussian = np.exp(-0.5 * ((r - _CENTRES) / _WIDTH) ** 2)
    switch = (1 - (r / _RADIUS) ** 2) ** 3
    value = gaussian * switch
    slope = gaussian * (-(r - _CENTRES) / _WIDTH**2 * switch - 6 * r / _RADIUS**2 * (1 - (r / _RADIUS) ** 2) ** 2)
    unit = found.vectors / r
    energy = np.zeros((n_kinds, n_radial))
    forces = np.zeros((structure.n_atoms, n_kinds, 3, n_radial))
    virial = np.zeros((n_kinds, 3, 3, n_radial))
    np.add.at(energy, kind, 0.5 * value)
    np.add.at(forces, (found.index[0], kind), unit[:, :, None] * slope[:, None, :])
    np.add.at(virial, kind, 0.5 * np.einsum("ea,eb,ek->eabk", found.vectors, unit, slope))
    return (
        energy.ravel(),
        forces.transpose(0, 2, 1, 3).reshape(structure.n_atoms, 3, -1),
        virial.transpose(1, 2, 0, 3).reshape(3, 3, -1),
    )


def _groups(records: Sequence[Record]) -> list[list[int]]:
    """Records of one composition and volume, among which a constant cancels."""
    groups: defaultdict[tuple[str, float], list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        structure = record.structure
        volume = abs(float(np.linalg.det(structure.cell))) if structure.pbc.all() else 0.0
        groups[structure.formula, round(volume, 1)].append(index)
    return [group for group in groups.values() if len(group) > 2]


def _centred(values: Array, groups: list[list[int]]) -> Array:
    return np.concatenate([values[group] - values[group].mean(axis=0) for group in groups])


def _judge_energy(
    records: Sequence[Record], energies: Array, groups: list[list[int]], explained: float
) -> Iterator[Finding]:
    if sum(map(len, groups)) < _FEWEST:
        return
    observed = _centred(np.array([float(np.asarray(r.labels["energy"])) for r in records]), groups)
    agreement = Agreement.of(observed, _centred(energies, groups))
    text = (
        f"pair potentials fitted to the forces (R² {explained:.2f}) predict energy changes with factor "
        f"{agreement.factor:.3g}, correlation {agreement.correlation:.2f} ({agreement.n} records)"
    )
    if agreement.correlation < -0.5:
        yield Finding("pair probe", Severity.ERROR, f"{text}: forces have the wrong sign", "negate the forces")
    elif agreement.correlation > 0.5 and not 1 / _FACTOR < agreement.factor < _FACTOR:
        mistake = likely_mistake(agreement.factor, FORCE_MISTAKES) if agreement.correlation > 0.9 else None
        cause = f": {mistake}" if mistake else ": energies and forces are in units that do not belong together"
        yield Finding(
            "pair probe", Severity.ERROR, text + cause, "import again with the right --energy-unit or --forces-unit"
        )
    elif agreement.correlation < 0.3 and explained > 0.8:
        yield Finding(
            "pair probe",
            Severity.WARNING,
            f"{text}: energies and forces seem unrelated",
            "check the order of the labels",
        )
    else:
        yield Finding("pair probe", Severity.INFO, text)


def _judge_stress(
    records: Sequence[Record], virials: Array, groups: list[list[int]], explained: float
) -> Iterator[Finding]:
    labelled = [[k for k in group if "stress" in records[k].labels] for group in groups]
    labelled = [group for group in labelled if len(group) > 2]
    n_records = sum(map(len, labelled))
    if n_records < _FEWEST:
        return
    observed = np.array([_virial(record) for record in records])
    target = _centred(virials, labelled)
    orders = shear_orders()
    trials = [
        Agreement.of(_centred(permute_shears(observed, index), labelled).ravel(), target.ravel()) for _, index in orders
    ]
    agreement, best = trials[0], max(range(len(trials)), key=lambda k: trials[k].correlation)
    text = (
        f"the same potentials predict stress with factor {agreement.factor:.3g}, "
        f"correlation {agreement.correlation:.2f}"
    )
    if agreement.correlation < -0.5:
        yield Finding(
            "pair probe of stress", Severity.ERROR, f"{text}: stress has the wrong sign", "import with --stress-sign -1"
        )
    elif agreement.correlation > 0.5 and not 1 / _FACTOR < agreement.factor < _FACTOR:
        mistake = likely_mistake(agreement.factor, STRESS_MISTAKES) if agreement.correlation > 0.9 else None
        cause = f": {mistake}" if mistake else ""
        yield Finding("pair probe of stress", Severity.ERROR, text + cause, "import again with the right --stress-unit")
    elif trials[best].correlation > max(0.6, agreement.correlation + 0.15):
        yield Finding(
            "pair probe of stress",
            Severity.WARNING,
            f"{text}, and {trials[best].correlation:.2f} with shears ({orders[best][0]}) in place of ({orders[0][0]})",
            f"if they were read in VASP's order: --stress-order '{mended_vasp_order(orders[best][0])}'",
        )
    elif agreement.correlation < 0.3:
        yield Finding(
            "pair probe of stress",
            Severity.ERROR if explained > 0.8 and n_records >= 2 * _FEWEST else Severity.WARNING,
            f"{text}: the stress is unrelated to the structures",
            "check that the stress stands on the right frames, or import without it (--skip stress)",
        )
    else:
        yield Finding("pair probe of stress", Severity.INFO, text)


def _virial(record: Record) -> Array:
    """V σ in eV; zeros where there is no stress."""
    stress = record.labels.get("stress")
    return np.zeros((3, 3)) if stress is None else np.asarray(stress) * abs(np.linalg.det(record.structure.cell))
