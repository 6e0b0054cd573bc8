"""Analytic crystals as records, and in the files of other codes, written by the formats' documentation alone."""

import numpy as np

from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.record import Provenance, Record
from adiabat.data.structure import Structure
from analytic_crystals import AnalyticCrystal

BN_CELL = np.array([[2.5, 0.0, 0.1], [-1.25, 2.165, 0.0], [0.0, 0.4, 4.0]])
BN_POSITIONS = np.array([[0.0, 0.0, 0.0], [0.15, 1.44, 0.35]])
BN_SHELLS = {5: [(0, 1.8), (1, 1.6), (2, 2.2)], 7: [(0, 2.0), (0, 5.0), (1, 2.0), (3, 2.4)]}


def boron_nitride(code: str = "ours", **changes: object) -> AnalyticCrystal:
    """A skewed BN with s to f shells, without symmetry."""
    settings: dict = {"numbers": [5, 7], "positions": BN_POSITIONS, "cell": BN_CELL, "shells": BN_SHELLS, "reach": 3.2}
    return AnalyticCrystal(**{**settings, "code": code, **changes})


def spin_of(crystal: AnalyticCrystal) -> str:
    if crystal.exchange is not None:
        return "collinear"
    return "none" if crystal.spin_orbit is None else "spinor"


def structure_of(crystal: AnalyticCrystal) -> Structure:
    return Structure(np.array(crystal.numbers), crystal.positions, crystal.cell, np.ones(3, dtype=bool))


def blocks_of(crystal: AnalyticCrystal, matrices: dict) -> dict[tuple[int, ...], np.ndarray]:
    """Blocks by (Rx, Ry, Rz, i, j), those of pairs within reach."""
    starts = np.concatenate([[0], np.cumsum(crystal.n_orbitals)])
    blocks = {}
    for image, matrix in matrices.items():
        for i in range(len(crystal.numbers)):
            for j in range(len(crystal.numbers)):
                vector = crystal.positions[j] + np.array(image) @ crystal.cell - crystal.positions[i]
                if np.linalg.norm(vector) <= crystal.reach:
                    block = matrix[..., starts[i] : starts[i + 1], starts[j] : starts[j + 1]]
                    blocks[(*image, i, j)] = block
    return blocks


def operators_of(crystal: AnalyticCrystal) -> tuple[BlockOperator, BlockOperator]:
    """H and S in the order of the crystal's code, which is ours only for code "ours"."""
    result = []
    for matrices, spin in ((crystal.hamiltonian(), spin_of(crystal)), (crystal.overlap(), "none")):
        blocks = blocks_of(crystal, matrices)
        result.append(
            BlockOperator.from_blocks(np.array(list(blocks)), list(blocks.values()), crystal.n_orbitals, spin)
        )
    return result[0], result[1]


def record_of(crystal: AnalyticCrystal, *, valence: dict[int, float] | None = None) -> Record:
    """A record, for a crystal over our harmonics."""
    hamiltonian, overlap = operators_of(crystal)
    basis = OrbitalBasis("gauss", {z: tuple(l for l, _ in shells) for z, shells in crystal.shells.items()}, valence)
    labels = {"hamiltonian": hamiltonian, "overlap": overlap, "fermi_level": np.array(-3.25)}
    return Record(structure_of(crystal), labels, Provenance("file", orbital_basis=basis))
