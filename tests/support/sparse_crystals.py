"""Crystals of several kinds of atoms with random blocks that decay with distance, for methods made for large cells."""

from typing import Any

import numpy as np
import numpy.typing as npt

from adiabat.core.operators import BlockOperator, Spin
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.supercell import supercell_operator, supercell_positions

CELL = np.array([[4.0, 0.0, 0.0], [-1.0, 3.6, 0.0], [0.0, 0.0, 20.0]])
POSITIONS = np.array([[0.1, 0.2, 0.0], [2.0, 0.4, 0.3], [0.9, 2.1, -0.2]])
N_ORBITALS = np.array([4, 1, 3])
REACH = 5.0


def sheet(spin: Spin = "none", seed: int = 0, gap: float = 0.0) -> Crystal:
    """A plane of three atoms with 4, 1 and 3 orbitals; S differs from 1 by neighbors that overlap.

    Args:
        spin: layout of H.
        seed: of the random blocks.
        gap: [eV] that separates the lower half of the orbitals from the upper one in the on-site blocks.
    """
    rng = np.random.default_rng(seed)
    pairs, h_blocks, s_blocks = [], [], []
    complex_ = spin == "spinor"
    n_spin = {"none": 1, "collinear": 2, "spinor": 4}[spin]
    for image in np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], [0], indexing="ij"), -1).reshape(-1, 3):
        for i in range(3):
            for j in range(3):
                distance = float(np.linalg.norm(POSITIONS[j] + image @ CELL - POSITIONS[i]))
                if distance > REACH:
                    continue
                shape = (n_spin, N_ORBITALS[i], N_ORBITALS[j])
                home = distance == 0.0
                h = _random(rng, shape, complex_) * np.exp(-distance / 2)
                s = rng.normal(size=shape[1:]) * 0.12 * np.exp(-distance / 3)
                if home:
                    s = np.eye(N_ORBITALS[i])
                    levels = np.diag(np.where(np.arange(N_ORBITALS[i]) < (N_ORBITALS[i] + 1) // 2, -gap, gap))
                    h[[0, 3] if complex_ else slice(None)] += levels
                pairs.append((*image, i, j))
                h_blocks.append(h if n_spin > 1 else h[0])
                s_blocks.append(s)
    h = BlockOperator.from_blocks(np.array(pairs), h_blocks, N_ORBITALS, spin).symmetrized()
    s = BlockOperator.from_blocks(np.array(pairs), s_blocks, N_ORBITALS).symmetrized()
    return Crystal(h, s, CELL, np.array([True, True, False]), 8.0)


def repeated(crystal: Crystal, repeats: tuple[int, int, int], disorder: float = 0.0, seed: int = 0) -> Crystal:
    """Supercell, with a random potential on each atom that acts as (v_i + v_j)/2 · S_ij.

    Args:
        crystal: the unit cell.
        repeats: of it.
        disorder: standard deviation of v [eV].
        seed: of the potential.
    """
    h = supercell_operator(crystal.hamiltonian, repeats)
    s = supercell_operator(crystal.overlap, repeats)
    n_cells = int(np.prod(repeats))
    if disorder:
        v = disorder * np.random.default_rng(seed).normal(size=h.n_atoms)
        half = np.repeat((v[h.pairs[:, 3]] + v[h.pairs[:, 4]]) / 2, np.diff(h.offsets))
        values = h.values.copy()
        spatial = values if h.spin == "none" else values[[0, -1]]
        spatial = spatial + half * s.values
        if h.spin == "none":
            values = spatial
        else:
            values[[0, -1]] = spatial
        h = h.with_values(values)
    cell = crystal.cell * np.asarray(repeats)[:, None]
    return Crystal(h, s, cell, crystal.periodic, crystal.n_electrons * n_cells)


def positions(repeats: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """Of the atoms of :func:`repeated` [Å]."""
    return supercell_positions(POSITIONS, CELL, repeats)


def _random(rng: np.random.Generator, shape: tuple[int, ...], complex_: bool) -> npt.NDArray[Any]:
    real = rng.normal(size=shape)
    return real + 1j * rng.normal(size=shape) if complex_ else real
