"""From H(k) on a mesh to H(R): each matrix element goes to the nearest copy of its atoms in the mesh's supercell.

A mesh of N points cannot tell R from R + N. Copies at the same distance share the element equally, so that the symmetry
of the crystal is kept. What the matrix has beyond half of the supercell is lost: the mesh must be as fine as the
orbitals reach.
"""

from itertools import product

import numpy as np
import numpy.typing as npt

from adiabat.core.operators import BlockOperator
from adiabat.data.structure import Structure
from adiabat.engines.kpoints import Mesh, mesh_points

_TIE = 1e-6
"""Å."""


def mesh_for_reach(structure: Structure, reach: float) -> Mesh:
    """Smallest odd mesh whose supercell holds a sphere of this radius [Å]; one point where it is not periodic."""
    heights = 1 / np.linalg.norm(np.linalg.inv(structure.cell), axis=0)
    counts = np.ceil(2 * reach / heights - 1e-9).astype(int)
    odd = np.where(structure.pbc, counts + 1 - counts % 2, 1)
    return int(odd[0]), int(odd[1]), int(odd[2])


def operator_from_mesh(
    matrices: npt.NDArray[np.complex128],
    mesh: Mesh,
    structure: Structure,
    n_orbitals: npt.NDArray[np.int64],
    negligible: float,
) -> BlockOperator:
    """O(R) = (1/N) Σ_k exp(−2πi k·R) O(k), over the copies nearest to each other.

    Args:
        matrices: (n_k, n_orb, n_orb) O(k) at :func:`~adiabat.engines.kpoints.mesh_points`, with O(−k) = O(k)*.
        mesh: the mesh.
        structure: its positions say which copies are near.
        n_orbitals: (n_atoms,).
        negligible: blocks without an element above it are left out, except those of an atom with itself.
    """
    points = mesh_points(mesh)
    cells = np.array(list(product(*(range(n) for n in mesh))), dtype=np.int64)
    phases = np.exp(-2j * np.pi * (cells @ points.T)) / len(points)
    in_cells = np.einsum("rk,kab->rab", phases, matrices).real
    supercell = np.array(mesh) * structure.pbc
    wraps = np.unique(np.array(list(product((-1, 0, 1), repeat=3)), dtype=np.int64) * supercell, axis=0)
    inverse = np.linalg.inv(structure.cell)
    starts = np.concatenate([[0], np.cumsum(n_orbitals)])
    pairs: list[tuple[int, ...]] = []
    blocks: list[npt.NDArray[np.float64]] = []
    for i, j in product(range(structure.n_atoms), repeat=2):
        between = structure.positions[j] - structure.positions[i]
        onto = -between @ inverse
        for cell, matrix in zip(cells, in_cells, strict=True):
            block = matrix[starts[i] : starts[i + 1], starts[j] : starts[j + 1]]
            copies = cell + supercell * np.rint((onto - cell) / np.array(mesh)).astype(np.int64) + wraps
            distances = np.linalg.norm(between + copies @ structure.cell, axis=1)
            nearest = copies[distances < distances.min() + _TIE]
            own = i == j and distances.min() < _TIE
            if own or np.abs(block).max() > negligible:
                pairs += [(*(int(x) for x in copy), i, j) for copy in nearest]
                blocks += [block / len(nearest)] * len(nearest)
    return BlockOperator.from_blocks(np.array(pairs, dtype=np.int64), blocks, n_orbitals)
