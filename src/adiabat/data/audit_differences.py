"""Audit by finite differences: between two similar frames, forces and stress must account for the energy.

    ΔE = −½ (F₁ + F₂)·Δu + ½ (V₁σ₁ + V₂σ₂):ε + O(Δ³)

with ε the strain between the cells and Δu the displacements at fixed cell.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.units import KBAR
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
from adiabat.data.record import Record
from adiabat.data.structure import Structure

Array = npt.NDArray[np.float64]

MAX_DISPLACEMENT: Final = 0.15
"""Å; beyond it the trapezoidal rule's error is no longer small against ΔE."""

MAX_STRAIN: Final = 0.045
"""As for displacements; elastic series in use step by 1–4 %."""

_FARTHEST: Final = 5
"""How many frames ahead a partner is looked for: trajectories and strain series keep neighbors near."""

_FEWEST: Final = 5
"""Comparisons below which nothing is concluded."""

_NOISE: Final = 1e-4
"""eV; differences below it are rounding, not physics."""


@dataclass(frozen=True)
class Step:
    """Two similar records."""

    first: Record
    second: Record
    displacement: Array
    strain: Array

    @property
    def energy_change(self) -> float:
        """ΔE in eV."""
        return _number(self.second, "energy") - _number(self.first, "energy")

    @property
    def force_work(self) -> float:
        """−½ (F₁ + F₂)·Δu in eV."""
        forces = sum(np.asarray(record.labels["forces"]) for record in (self.first, self.second))
        return -0.5 * float((forces * self.displacement).sum())

    def stress_work(self, shears: tuple[tuple[int, int], ...]) -> float:
        """½ (V₁σ₁ + V₂σ₂):ε in eV, with the shear components taken in another order."""
        return 0.5 * sum(
            float((permute_shears(np.asarray(r.labels["stress"]), shears) * self.strain).sum()) * _volume(r.structure)
            for r in (self.first, self.second)
        )


def compare_differences(records: Sequence[Record]) -> Iterator[Finding]:
    """Energy against forces between similar frames, and against stress between similar cells."""
    steps = list(_steps(records))
    still = [step for step in steps if not step.strain.any() and abs(step.force_work) > _NOISE]
    if len(still) < _FEWEST:
        yield Finding(
            "energy–forces differences", Severity.INFO, f"{len(still)} pairs of similar frames: too few to compare"
        )
    else:
        agreement = Agreement.of(_changes(still), np.array([step.force_work for step in still]))
        yield _judge("energy–forces differences", "forces", agreement, FORCE_MISTAKES)
    strained = [step for step in steps if step.strain.any() and "stress" in step.first.labels]
    if len(strained) >= _FEWEST:
        yield _judge_stress(strained)


def _judge_stress(steps: list[Step]) -> Finding:
    observed = _changes(steps) - np.array([step.force_work for step in steps])
    orders = shear_orders()
    trials = [Agreement.of(observed, np.array([s.stress_work(index) for s in steps])) for _, index in orders]
    best = min(range(len(trials)), key=lambda k: trials[k].residual)
    # Labels of the wrong sign correlate as well as right ones: that is another mistake, judged below.
    unrelated = abs(trials[0].correlation) < 0.8 and trials[best].correlation > 0.8
    if unrelated and trials[best].residual < 0.6 * trials[0].residual:
        return Finding(
            "energy–stress differences",
            Severity.ERROR,
            f"shear stresses stand in the wrong order: as read they leave {trials[0].residual:.0%} of ΔE under strain "
            f"unexplained ({len(steps)} pairs), with ({orders[best][0]}) in place of ({orders[0][0]}) "
            f"{trials[best].residual:.0%}",
            f"if they were read in VASP's order: --stress-order '{mended_vasp_order(orders[best][0])}'",
        )
    if trials[0].residual > 0.3 and trials[0].correlation > 0:
        offset = _constant_pressure(steps, observed, orders[0][1])
        if offset is not None:
            return offset
    return _judge("energy–stress differences", "stress", trials[0], STRESS_MISTAKES)


def _constant_pressure(steps: list[Step], observed: Array, shears: tuple[tuple[int, int], ...]) -> Finding | None:
    """The finding that one pressure is missing from every stress, if that explains the energies.

    Plane waves at a fixed cutoff do this: the basis set grows with the cell (Pulay stress).
    """
    work = np.array([step.stress_work(shears) for step in steps])
    expansion = np.array([float(np.trace(step.strain)) * _volume(step.first.structure) for step in steps])
    if not expansion.any():
        return None
    missing = float((observed - work) @ expansion / (expansion @ expansion))
    before, after = Agreement.of(observed, work), Agreement.of(observed, work + missing * expansion)
    if after.residual > 0.6 * before.residual:
        return None
    return Finding(
        "energy–stress differences",
        Severity.WARNING,
        f"the stress leaves {before.residual:.0%} of ΔE under strain unexplained ({len(steps)} pairs), and "
        f"{after.residual:.0%} with {missing / KBAR:+.1f} kbar added to its diagonal: Pulay stress of a small basis",
        "train on stress only if that offset does not matter, or label again with a larger cutoff",
    )


def _judge(check: str, label: str, agreement: Agreement, mistakes: dict[str, float]) -> Finding:
    factor, text = agreement.factor, f"{agreement.n} pairs of similar frames"
    if agreement.correlation < -0.5:
        return Finding(
            check,
            Severity.ERROR,
            f"{label} have the wrong sign: ΔE = {factor:.3g} × their work over {text}",
            "import gradients as gradients, or give --stress-sign" if label == "stress" else "negate the forces",
        )
    if agreement.correlation > 0.7 and not 0.6 < factor < 1.6:
        mistake = likely_mistake(factor, mistakes)
        return Finding(
            check,
            Severity.ERROR,
            f"ΔE = {factor:.4g} × the work of the {label} over {text}" + (f": {mistake}" if mistake else ""),
            f"import again with the right --energy-unit or --{label}-unit",
        )
    if agreement.residual > 0.3:
        return Finding(
            check,
            Severity.WARNING,
            f"{agreement.residual:.0%} of ΔE is not explained by the {label} over {text}",
            f"large steps, or {label} of another method or frame",
        )
    return Finding(
        check, Severity.INFO, f"ΔE = {factor:.3f} × the work of the {label} over {text}, {agreement.residual:.1%} left"
    )


def _steps(records: Sequence[Record]) -> Iterator[Step]:
    """Pairs of records that are near each other in the file and in space."""
    chains: defaultdict[bytes, list[Record]] = defaultdict(list)
    for record in records:
        structure = record.structure
        if {"energy", "forces"} <= set(record.labels) and structure.n_atoms > 1:
            chains[structure.atomic_numbers.tobytes() + structure.pbc.tobytes()].append(record)
    for chain in chains.values():
        for index, record in enumerate(chain):
            for other in chain[index + 1 : index + 1 + _FARTHEST]:
                step = _step(record, other)
                if step is not None:
                    yield step


def _step(first: Record, second: Record) -> Step | None:
    old, new = first.structure, second.structure
    if old.pbc.any() and not old.pbc.all():
        return None
    strain, target = np.zeros((3, 3)), new.positions
    if old.pbc.all():
        deformation = np.linalg.solve(old.cell, new.cell)
        strain = (deformation + deformation.T) / 2 - np.eye(3)
        strain[np.abs(strain) < 1e-9] = 0.0
        if np.abs(deformation - np.eye(3)).max() > 2 * MAX_STRAIN or np.abs(strain).max() > MAX_STRAIN:
            return None
        target = new.positions @ np.linalg.inv(deformation)
    displacement = target - old.positions
    if old.pbc.all():
        inverse = np.linalg.inv(old.cell)
        displacement -= np.round(displacement @ inverse) @ old.cell
    if np.abs(displacement).max() > MAX_DISPLACEMENT or (strain.any() and "stress" not in second.labels):
        return None
    return Step(first, second, displacement, strain)


def _changes(steps: list[Step]) -> Array:
    return np.array([step.energy_change for step in steps])


def _number(record: Record, name: str) -> float:
    return float(np.asarray(record.labels[name]))


def _volume(structure: Structure) -> float:
    return abs(float(np.linalg.det(structure.cell)))
