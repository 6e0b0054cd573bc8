"""From the cell that a code wraps atoms into to the cells that they are given in, and back."""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import EngineError
from adiabat.core.operators import BlockOperator
from adiabat.data.hamiltonian_formats.images import block_norms, moved_to_images
from adiabat.data.structure import Structure

_BORDER: Final = 1e-8
"""Fractions this near to ±½ may be rounded to either side."""

_THROUGH_VACUUM: Final = 1e-5
"""Largest block of H [eV] or S that may reach through the vacuum into the next copy."""

Cells = npt.NDArray[np.int64]


def wrapped(structure: Structure) -> tuple[Structure, Cells]:
    """Every atom in fractions −½ … ½ of the cell, and the cell that it was given in.

    Returns: the structure, and (n_atoms, 3) whole cells n with r = r_wrapped + n·cell.
    """
    cells = np.floor(_fractions(structure) + 0.5)
    return replace(structure, positions=structure.positions - cells @ structure.cell), cells.astype(np.int64)


def unwrapped(
    operators: tuple[BlockOperator, BlockOperator], inside: Structure, cells: Cells
) -> tuple[BlockOperator, BlockOperator]:
    """H and S with images that count from the given positions instead of those that the code used.

    An atom on the border of the cell may have gone to either side; the overlap tells to which.

    Args:
        operators: H and S over one pair list, images counted from the code's own copies of the atoms.
        inside: the structure as :func:`wrapped` made it.
        cells: the cells as it told them.
    """
    hamiltonian, overlap = operators
    if np.any(np.abs(np.abs(_fractions(inside)) - 0.5) < _BORDER):
        moved = moved_to_images(inside.positions, inside.cell, overlap)
        steps = np.linalg.solve(inside.cell.T, (moved - inside.positions).T).T
        cells = cells - np.rint(steps).astype(np.int64)
    return _counted_from(hamiltonian, cells), _counted_from(overlap, cells)


def without_vacuum_images(
    hamiltonian: BlockOperator, overlap: BlockOperator, structure: Structure
) -> tuple[BlockOperator, BlockOperator]:
    """H and S without images along directions in which the structure is not periodic.

    Raises:
        EngineError: the vacuum is thinner than the orbitals reach.
    """
    beyond = np.any(hamiltonian.pairs[:, :3][:, ~structure.pbc], axis=1)
    for operator, unit in ((hamiltonian, " eV"), (overlap, "")):
        largest = float(block_norms(operator)[beyond].max(initial=0.0))
        if largest > _THROUGH_VACUUM:
            raise EngineError(
                f"{structure.formula}, whose orbitals reach through the vacuum: a block of {largest:.1e}{unit} there",
                expected=f"at most {_THROUGH_VACUUM:g}{unit} along directions that are not periodic",
                suggestion="give the cell 5 Å more vacuum, or make that direction periodic",
            )
    pairs = hamiltonian.pairs[~beyond]
    return hamiltonian.on_pairs(pairs), overlap.on_pairs(pairs)


def _counted_from(operator: BlockOperator, cells: Cells) -> BlockOperator:
    pairs = operator.pairs.copy()
    pairs[:, :3] += cells[pairs[:, 3]] - cells[pairs[:, 4]]
    # A block that moves to its sorted place takes its values along, spin components side by side.
    blocks = [block for _, block in operator.blocks()]
    return BlockOperator.from_blocks(pairs, blocks, operator.n_orbitals, operator.spin)


def _fractions(structure: Structure) -> npt.NDArray[np.float64]:
    return np.asarray(np.linalg.solve(structure.cell.T, structure.positions.T).T, dtype=np.float64)
