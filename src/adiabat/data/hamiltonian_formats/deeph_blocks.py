"""What both layouts of DeepH share: spin blocks, the basis by element, and the atoms' order of a POSCAR."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import FileFormatError, LabelError
from adiabat.core.operators import BlockOperator, Spin
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.record import Record
from adiabat.data.structure import Structure

Blocks = list[npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class DeephContents:
    """A record as DeepH holds it.

    Attributes:
        structure: nuclei and cell.
        basis: shells by element.
        hamiltonian: eV.
        overlap: of no spin.
        fermi_level: eV, or None.
        n_electrons: or None.
    """

    structure: Structure
    basis: OrbitalBasis
    hamiltonian: BlockOperator
    overlap: BlockOperator
    fermi_level: float | None
    n_electrons: float | None


def contents_of(record: Record) -> DeephContents:
    """What of a record goes into a DeepH folder.

    Raises:
        LabelError: no H, S or basis, or no periodic cell.
    """
    hamiltonian, overlap = record.labels.get("hamiltonian"), record.labels.get("overlap")
    basis = record.provenance.orbital_basis
    if not isinstance(hamiltonian, BlockOperator) or not isinstance(overlap, BlockOperator) or basis is None:
        raise LabelError(
            f"a record of {record.structure.formula} with labels {', '.join(sorted(record.labels)) or 'none'}",
            expected="hamiltonian and overlap, with the orbital basis in the provenance",
            suggestion="export a store with Hamiltonians, or to extended XYZ",
        )
    structure = record.structure
    if np.linalg.matrix_rank(structure.cell, tol=1e-6) < 3:
        raise LabelError(
            f"{structure.formula} without a cell",
            expected="three lattice vectors, which DeepH's files need",
            suggestion="export crystals; molecules go to npz with -o data.npz",
        )
    fermi = record.labels.get("fermi_level")
    known = basis.valence is not None and set(structure.atomic_numbers.tolist()) <= set(basis.valence)
    return DeephContents(
        structure,
        basis,
        hamiltonian,
        overlap,
        None if fermi is None or isinstance(fermi, BlockOperator) else float(fermi),
        basis.n_electrons(structure.atomic_numbers, structure.charge) if known else None,
    )


def grouped_by_element(contents: DeephContents) -> DeephContents:
    """Atoms of one element behind each other, as a POSCAR wants them; elements in the order of their first atom."""
    numbers = contents.structure.atomic_numbers
    _, first, kind = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first[kind.reshape(-1)], kind="stable")
    if np.array_equal(order, np.arange(len(order))):
        return contents
    new_place = np.argsort(order)
    structure = contents.structure
    moved = Structure(
        numbers[order], structure.positions[order], structure.cell, structure.pbc, structure.charge, structure.spin
    )
    return replace(
        contents,
        structure=moved,
        hamiltonian=_renumbered(contents.hamiltonian, order, new_place),
        overlap=_renumbered(contents.overlap, order, new_place),
    )


def _renumbered(
    operator: BlockOperator, order: npt.NDArray[np.int64], new_place: npt.NDArray[np.int64]
) -> BlockOperator:
    pairs = operator.pairs.copy()
    pairs[:, 3:] = new_place[pairs[:, 3:]]
    blocks = [operator.block(k) for k in range(len(operator))]
    return BlockOperator.from_blocks(pairs, blocks, operator.n_orbitals[order], operator.spin)


def joined_spins(operator: BlockOperator) -> Blocks:
    """Blocks as DeepH holds them: (n_i, n_j), or with spin (2 n_i, 2 n_j) as [[↑↑, ↑↓], [↓↑, ↓↓]].

    A collinear H has zeros off the diagonal and stays real, which is how it is told from a spinor when it is read.
    """
    blocks: Blocks = []
    for _, block in operator.blocks():
        if operator.spin == "collinear":
            zero = np.zeros_like(block[0])
            block = np.block([[block[0], zero], [zero, block[1]]])
        elif operator.spin == "spinor":
            block = np.block([[block[0], block[1]], [block[2], block[3]]])
        blocks.append(block)
    return blocks


def operator_of_blocks(
    pairs: npt.NDArray[np.int64], blocks: Blocks, n_orbitals: npt.NDArray[np.int64], spinful: bool, path: Path
) -> BlockOperator:
    """Inverse of :func:`joined_spins`.

    Raises:
        FileFormatError: atoms that are not there, or blocks of another size than the basis and spin give.
        LabelError: a pair that is given twice.
    """
    n_atoms = len(n_orbitals)
    if pairs.size and (pairs[:, 3:].min() < 0 or pairs[:, 3:].max() >= n_atoms):
        raise FileFormatError(
            f"{path.name} with atoms {pairs[:, 3:].min()} to {pairs[:, 3:].max()}, counted from 0",
            expected=f"0 to {n_atoms - 1}",
            suggestion="take all files of one folder from one calculation",
        )
    factor = 2 if spinful else 1
    for pair, block in zip(pairs, blocks, strict=True):
        expected = (factor * n_orbitals[pair[3]], factor * n_orbitals[pair[4]])
        if block.shape != expected:
            raise FileFormatError(
                f"{path.name} with a block of shape {block.shape} for (R, i, j) = {pair.tolist()}",
                expected=f"{tuple(int(n) for n in expected)} for {'spinor' if spinful else 'spinless'} orbitals",
                suggestion="check the shells of the elements and whether info.json says spinful rightly",
            )
    if not spinful:
        return BlockOperator.from_blocks(pairs, blocks, n_orbitals)
    four = [_quarters(block) for block in blocks]
    spin: Spin = "spinor"
    if all(not np.iscomplexobj(block) and not np.any(block[1:3]) for block in four):
        spin, four = "collinear", [block[[0, 3]] for block in four]
    else:
        four = [block.astype(np.complex128) for block in four]
    return BlockOperator.from_blocks(pairs, four, n_orbitals, spin)


def _quarters(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    n_i, n_j = block.shape[0] // 2, block.shape[1] // 2
    return block.reshape(2, n_i, 2, n_j).transpose(0, 2, 1, 3).reshape(4, n_i, n_j)
