"""Units and layouts in which files hold labels, and their conversion to ours."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import LabelError, nearest
from adiabat.core.units import BOHR, DEBYE, GPA, HARTREE, KBAR, KCAL_PER_MOL, KJ_PER_MOL, RYDBERG

Array = npt.NDArray[np.float64]

ENERGY_UNITS: Final = {
    "eV": 1.0,
    "meV": 1e-3,
    "hartree": HARTREE,
    "rydberg": RYDBERG,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
}
LENGTH_UNITS: Final = {"A": 1.0, "bohr": BOHR}
FORCES_UNITS: Final = {
    f"{energy}/{length}": energy_factor / length_factor
    for energy, energy_factor in ENERGY_UNITS.items()
    for length, length_factor in LENGTH_UNITS.items()
}
STRESS_UNITS: Final = {
    "eV/A3": 1.0,
    "GPa": GPA,
    "kbar": KBAR,
    "hartree/bohr3": HARTREE / BOHR**3,
    "rydberg/bohr3": RYDBERG / BOHR**3,
}
DIPOLE_UNITS: Final = {"e*A": 1.0, "debye": DEBYE, "e*bohr": BOHR}

VOIGT_ORDER: Final = "xx yy zz yz xz xy"
"""Order of six stress components in ASE."""

VASP_ORDER: Final = "xx yy zz xy yz zx"
"""Order in which VASP prints them. Source: [vasp_wiki_stress]."""


@dataclass(frozen=True)
class LabelUnits:
    """What the numbers of a file mean.

    Attributes:
        energy: one of ``ENERGY_UNITS``.
        forces: one of ``FORCES_UNITS``.
        stress: one of ``STRESS_UNITS``; None for the convention that the key implies.
        stress_order: order of six components, such as ``xx yy zz xy yz zx``; None for the key's convention.
        stress_sign: +1 where tension is positive (ours), −1 where compression is (VASP, CP2K); None for the key's.
        dipole: one of ``DIPOLE_UNITS``.
        positions: one of ``LENGTH_UNITS``.

    Raises:
        LabelError: an unknown unit, order or sign.
    """

    energy: str = "eV"
    forces: str = "eV/A"
    stress: str | None = None
    stress_order: str | None = None
    stress_sign: int | None = None
    dipole: str = "e*A"
    positions: str = "A"

    def __post_init__(self) -> None:
        """Check every name."""
        for quantity, unit, known in (
            ("energy", self.energy, ENERGY_UNITS),
            ("forces", self.forces, FORCES_UNITS),
            ("stress", self.stress, STRESS_UNITS),
            ("dipole", self.dipole, DIPOLE_UNITS),
            ("positions", self.positions, LENGTH_UNITS),
        ):
            if unit is not None and unit not in known:
                raise LabelError(
                    f"{quantity} unit {unit!r}", expected=f"one of {', '.join(known)}", suggestion=nearest(unit, known)
                )
        if self.stress_sign not in (None, 1, -1):
            raise LabelError(
                f"stress sign {self.stress_sign}",
                expected="1 where tension is positive, or -1 where compression is",
                suggestion="--stress-sign -1 for VASP and CP2K",
            )
        if self.stress_order is not None:
            _component_indices(self.stress_order)


@dataclass(frozen=True)
class StressConvention:
    """Unit, sign and order of a stress label; ``times_volume`` for a virial, which is stress × volume."""

    unit: str = "eV/A3"
    sign: int = 1
    order: str = VOIGT_ORDER
    times_volume: bool = False

    def __str__(self) -> str:
        """Words for reports."""
        direction = "tension" if self.sign > 0 else "compression"
        return f"{self.unit}, positive under {direction}, six components in the order {self.order}"


def stress_convention(key: str, units: LabelUnits) -> StressConvention:
    """Convention that a key implies, unless ``units`` says otherwise.

    A key with ``vasp`` in it is raw VASP output: kbar, positive under compression, VASP's order. A virial is −V σ in
    eV. Everything else is ASE's.
    """
    lowered = key.lower()
    if "vasp" in lowered:
        implied = StressConvention("kbar", -1, VASP_ORDER)
    elif "virial" in lowered:
        implied = StressConvention("eV", -1, VOIGT_ORDER, times_volume=True)
    else:
        implied = StressConvention()
    return StressConvention(
        unit=implied.unit if units.stress is None else units.stress,
        sign=implied.sign if units.stress_sign is None else units.stress_sign,
        order=implied.order if units.stress_order is None else units.stress_order,
        times_volume=implied.times_volume and units.stress is None,
    )


def stress_to_ours(raw: Array, convention: StressConvention, volume: float) -> Array:
    """Stress of six or nine components as a symmetric (3, 3) matrix in eV/Å³, positive under tension."""
    if raw.size == 9:
        matrix = raw.reshape(3, 3)
    else:
        matrix = np.zeros((3, 3))
        for value, (row, column) in zip(raw.ravel(), _component_indices(convention.order), strict=True):
            matrix[row, column] = matrix[column, row] = value
    factor = 1 / volume if convention.times_volume else STRESS_UNITS[convention.unit]
    return convention.sign * factor * (matrix + matrix.T) / 2


def _component_indices(order: str) -> list[tuple[int, int]]:
    components = order.lower().replace(",", " ").split()
    indices = [("xyz".find(name[0]), "xyz".find(name[-1])) for name in components if len(name) == 2]
    if len(components) != 6 or {tuple(sorted(pair)) for pair in indices} != {
        (0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2)
    }:  # fmt: skip
        raise LabelError(
            f"stress order {order!r}",
            expected="the six components xx yy zz xy yz zx in some order",
            suggestion=f"--stress-order '{VASP_ORDER}' for VASP, '{VOIGT_ORDER}' for ASE",
        )
    return indices
