"""The Fermi level of an insulator: the middle of the gap between the filled and the empty states of a k-mesh."""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from adiabat.core.errors import EngineError
from adiabat.core.operators import BlockOperator
from adiabat.data.structure import Structure
from adiabat.engines.kpoints import Mesh, mesh_points


def mid_gap(
    hamiltonian: BlockOperator, overlap: BlockOperator, mesh: Mesh, n_electrons: float, structure: Structure
) -> float:
    """Middle of the gap [eV].

    Args:
        hamiltonian: H [eV], without spin or collinear.
        overlap: S.
        mesh: Γ-centred k-mesh.
        n_electrons: electrons in these orbitals.
        structure: for its number of unpaired electrons, and for messages.

    Raises:
        EngineError: filled states above empty ones, that is a metal; or half a filled band.
    """
    collinear = hamiltonian.spin == "collinear"
    filled = [(n_electrons + s * structure.spin) / 2 for s in (1, -1)] if collinear else [n_electrons / 2]
    counts = [round(count) for count in filled]
    if any(abs(n - count) > 1e-6 for n, count in zip(counts, filled, strict=True)):
        raise _metal(structure, f"{n_electrons:g} electrons, which leave a band half filled")
    top, bottom = -np.inf, np.inf
    points = mesh_points(mesh)
    for k in points[_one_of_each_pair(points)]:
        s_k = dense_bloch_matrix(overlap, k)
        for component, n in enumerate(counts):
            energies = scipy.linalg.eigvalsh(dense_bloch_matrix(hamiltonian.component(component), k), s_k)
            top = max(top, *energies[n - 1 : n]) if n else top
            bottom = min(bottom, *energies[n : n + 1]) if n < len(energies) else bottom
    if not top < bottom:
        raise _metal(structure, f"filled states up to {top:.3f} eV and empty ones from {bottom:.3f} eV")
    if not np.isfinite(top + bottom):
        raise _metal(structure, "no filled or no empty states")
    return float(top + bottom) / 2


def dense_bloch_matrix(operator: BlockOperator, k_frac: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """O(k) = Σ_R exp(2πi k·R) O(R) of an operator without spin, (n_orb, n_orb)."""
    starts = np.concatenate([[0], np.cumsum(operator.n_orbitals)])
    matrix = np.zeros((starts[-1], starts[-1]), dtype=np.complex128)
    phases = np.exp(2j * np.pi * (operator.pairs[:, :3] @ k_frac))
    for phase, ((_x, _y, _z, i, j), block) in zip(phases, operator.blocks(), strict=True):
        matrix[starts[i] : starts[i + 1], starts[j] : starts[j + 1]] += phase * block
    return matrix


def _one_of_each_pair(points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Of k and −k one: they have the same energies."""
    leading = np.where(points[:, 0] != 0, points[:, 0], np.where(points[:, 1] != 0, points[:, 1], points[:, 2]))
    return (leading >= 0) | (leading == -0.5)


def _metal(structure: Structure, what: str) -> EngineError:
    return EngineError(
        f"{structure.formula} with {what}",
        expected="a gap, without smearing",
        suggestion="--smearing 0.1 (k_B T in eV) for a metal",
    )
