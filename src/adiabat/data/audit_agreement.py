"""How two labels agree: the factor between them, and which mistake that factor gives away."""

from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.units import BOHR, GPA, HARTREE, KBAR, KCAL_PER_MOL, KJ_PER_MOL, RYDBERG

Array = npt.NDArray[np.float64]

FORCE_MISTAKES: Final = {
    "forces are in hartree/bohr": HARTREE / BOHR,
    "forces are in rydberg/bohr": RYDBERG / BOHR,
    "forces are in hartree/Å, or energies in hartree are taken as eV": HARTREE,
    "forces are in kcal/mol/Å": KCAL_PER_MOL,
    "forces are in kJ/mol/Å": KJ_PER_MOL,
    "energies are in hartree, taken as eV": 1 / HARTREE,
    "energies are in kcal/mol, taken as eV": 1 / KCAL_PER_MOL,
    "energies are in kJ/mol, taken as eV": 1 / KJ_PER_MOL,
    "forces are in eV/bohr, or positions in bohr": 1 / BOHR,
    "forces were converted from bohr twice": BOHR,
}
STRESS_MISTAKES: Final = {
    "stress is in kbar": KBAR,
    "stress is in GPa": GPA,
    "stress in kbar was taken for GPa": 0.1,
    "stress in GPa was taken for kbar": 10.0,
    "stress in eV/Å³ was taken for kbar": 1 / KBAR,
    "stress in eV/Å³ was taken for GPa": 1 / GPA,
}
_UNIT_MATCH: Final = 0.2
"""Two unit mistakes are at least a factor 1.8 apart; a factor measured within 20 % tells them apart."""

SHEARS: Final = ("yz", "zx", "xy")
_SHEAR_INDEX: Final = {"yz": (1, 2), "zx": (2, 0), "xy": (0, 1)}


@dataclass(frozen=True)
class Agreement:
    """Least-squares relation ``observed ≈ factor · predicted``.

    Attributes:
        factor: 1 when the labels agree.
        correlation: of observed and predicted, in [−1, 1].
        residual: rms(observed − predicted) / rms(observed), 0 when they agree.
        n: number of comparisons.
    """

    factor: float
    correlation: float
    residual: float
    n: int

    @classmethod
    def of(cls, observed: Array, predicted: Array) -> "Agreement":
        """Compare two sets of differences, whose zero has a meaning."""
        square = float(predicted @ predicted)
        norm = float(np.sqrt((observed @ observed) * square))
        inner = float(observed @ predicted)
        return cls(
            factor=inner / square if square else 0.0,
            correlation=inner / norm if norm else 0.0,
            residual=float(np.linalg.norm(observed - predicted) / (np.linalg.norm(observed) or 1.0)),
            n=len(observed),
        )


def likely_mistake(factor: float, mistakes: dict[str, float]) -> str | None:
    """Name of the unit mistake whose factor is nearest, if one is near."""
    name, value = min(mistakes.items(), key=lambda item: abs(np.log(abs(factor) / item[1])))
    return name if abs(np.log(abs(factor) / value)) < _UNIT_MATCH else None


def shear_orders() -> list[tuple[str, tuple[tuple[int, int], ...]]]:
    """All ways to permute the three shear components, by the order in which they stand; the identity first."""
    return [(" ".join(order), tuple(_SHEAR_INDEX[name] for name in order)) for order in permutations(SHEARS)]


def permute_shears(stress: Array, order: tuple[tuple[int, int], ...]) -> Array:
    """Stress (…, 3, 3) whose components yz, zx, xy come from the entries named by ``order``."""
    permuted = stress.copy()
    for (row, column), (source_row, source_column) in zip(_SHEAR_INDEX.values(), order, strict=True):
        permuted[..., row, column] = permuted[..., column, row] = stress[..., source_row, source_column]
    return permuted


def mended_vasp_order(order: str) -> str:
    """What ``--stress-order`` should have been, had six numbers been read in VASP's order."""
    true_name = dict(zip(order.split(), SHEARS, strict=True))
    return "xx yy zz " + " ".join(true_name[name] for name in ("xy", "yz", "zx"))
