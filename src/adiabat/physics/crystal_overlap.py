"""The exact overlap S(R), and position r(R), of any structure in a Gaussian basis, periodic or not.

S follows from the positions alone, so it is computed and never learned, and never cut shorter than the basis reaches.
"""

import numpy as np
import numpy.typing as npt

from adiabat.core.operators import BlockOperator
from adiabat.data.structure import Structure
from adiabat.physics.gaussian_basis import GaussianBasis
from adiabat.physics.gaussian_integrals import dipole_blocks, overlap_blocks


def crystal_overlap(
    structure: Structure,
    basis: GaussianBasis,
    pairs: npt.NDArray[np.int64] | None = None,
    threshold: float = 1e-10,
) -> BlockOperator:
    """Overlap of a molecule, slab or crystal.

    Args:
        structure: its cell counts along periodic directions only.
        basis: covers every element.
        pairs: (n_pairs, 5) rows (R_x, R_y, R_z, i, j) to evaluate, in any order; None for all that matter.
        threshold: without ``pairs``, those are left out whose block has no singular value above it.

    Returns: S over exactly these pairs, sorted; without ``pairs`` both directions of each and every (0, i, i).

    Raises:
        BasisError: the basis lacks an element.
    """
    numbers = structure.atomic_numbers
    if pairs is None:
        pairs = overlapping_pairs(structure, basis, threshold)
    pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 5)
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    i, j = pairs[:, 3], pairs[:, 4]
    vectors = structure.pair_vectors(pairs)
    n_orbitals = basis.orbital_basis.n_orbitals(numbers)
    sizes = n_orbitals[i] * n_orbitals[j]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    values = np.empty(int(offsets[-1]))
    species = np.stack([numbers[i], numbers[j]], axis=1)
    for z_i, z_j in np.unique(species, axis=0):
        rows = np.flatnonzero((species == (z_i, z_j)).all(axis=1))
        blocks = overlap_blocks(basis.sets(z_i), basis.sets(z_j), vectors[rows]).reshape(len(rows), -1)
        values[offsets[rows][:, None] + np.arange(blocks.shape[1])] = blocks
    return BlockOperator(pairs, offsets.astype(np.int64), values, n_orbitals)


def crystal_position(
    structure: Structure, basis: GaussianBasis, overlap: BlockOperator
) -> tuple[BlockOperator, BlockOperator, BlockOperator]:
    """Matrix elements ⟨0μ|r|Rν⟩ of the position along x, y, z [Å], over the pairs of the overlap.

    What optics and Berry curvature need beside H and S. The origin is that of the positions.

    Args:
        structure: its cell counts along periodic directions only.
        basis: covers every element.
        overlap: S of the structure in this basis.

    Raises:
        BasisError: the basis lacks an element.
    """
    numbers, pairs = structure.atomic_numbers, overlap.pairs
    i, j = pairs[:, 3], pairs[:, 4]
    vectors = structure.pair_vectors(pairs)
    values = np.empty((3, len(overlap.values)))
    species = np.stack([numbers[i], numbers[j]], axis=1)
    for z_i, z_j in np.unique(species, axis=0):
        rows = np.flatnonzero((species == (z_i, z_j)).all(axis=1))
        blocks = dipole_blocks(basis.sets(z_i), basis.sets(z_j), vectors[rows]).reshape(3, len(rows), -1)
        # Dipoles count from the first atom of a pair: its place times the overlap of the two orbitals moves them.
        overlaps = overlap_blocks(basis.sets(z_i), basis.sets(z_j), vectors[rows]).reshape(len(rows), -1)
        places = overlap.offsets[rows][:, None] + np.arange(blocks.shape[2])
        values[:, places] = blocks + structure.positions[i[rows]].T[:, :, None] * overlaps
    x, y, z = (overlap.with_values(part) for part in values)
    return x, y, z


def overlapping_pairs(structure: Structure, basis: GaussianBasis, threshold: float = 1e-10) -> npt.NDArray[np.int64]:
    """(n_pairs, 5) sorted rows (R, i, j) whose overlap is not below the threshold, with every (0, i, i)."""
    from adiabat.data.neighbors import find_neighbors  # loads PyTorch, which a labelling process does without

    numbers = structure.atomic_numbers
    elements, species = np.unique(numbers, return_inverse=True)
    reach = np.array([[basis.reach(a, b, threshold) for b in elements] for a in elements])
    neighbors = find_neighbors(structure, float(reach.max()))
    i, j = neighbors.index
    near = neighbors.distances < reach[species[i], species[j]]
    pairs = np.concatenate([neighbors.shift, neighbors.index.T], axis=1)[near]
    atoms = np.arange(structure.n_atoms)
    onsite = np.stack([0 * atoms, 0 * atoms, 0 * atoms, atoms, atoms], axis=1)
    pairs = np.concatenate([onsite, pairs]).astype(np.int64)
    return pairs[np.lexsort(pairs.T[::-1])]
