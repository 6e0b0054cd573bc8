"""DeepH-pack's layout: text files for the structure and one HDF5 data set a pair of atoms, ``[Rx, Ry, Rz, i, j]``.

Columns of ``lat.dat`` are lattice vectors and columns of ``site_positions.dat`` are atoms, in Å. Atoms in keys count
from 1. Orbitals stand in OpenMX's order, H is in eV. Source: [li2022], [deeph_dock].
"""

import json
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from adiabat.core.errors import FileFormatError
from adiabat.core.operators import BlockOperator
from adiabat.data.hamiltonian_formats.block_order import from_our_order, on_common_pairs, to_our_order
from adiabat.data.hamiltonian_formats.contents import Crystal, basis_of_atoms
from adiabat.data.hamiltonian_formats.deeph import damaged, optional_number, read_info
from adiabat.data.hamiltonian_formats.deeph_blocks import Blocks, contents_of, joined_spins, operator_of_blocks
from adiabat.data.record import Record
from adiabat.data.structure import Structure

HAMILTONIAN: Final = "hamiltonians.h5"
OVERLAP: Final = "overlaps.h5"
_FILES: Final = (
    "lat.dat", "site_positions.dat", "element.dat", "orbital_types.dat", "info.json", HAMILTONIAN, OVERLAP,
)  # fmt: skip
_ORDER: Final = "openmx"
_FROM_ONE: Final = np.array([0, 0, 0, 1, 1], dtype=np.int64)
"""What is added to a pair (R, i, j): atoms of a key count from 1."""

_EXACT: Final = "%.17g"
"""Enough digits to give every double back."""


def read_deeph_legacy(folder: Path) -> Crystal:
    """Read one folder.

    Raises:
        FileFormatError: a file that is missing, truncated or contradicts the others.
        BasisError: two atoms of one element with different shells.
    """
    for name in _FILES:
        if not (folder / name).is_file():
            raise FileFormatError(
                f"{folder.name} without {name}",
                expected=f"{', '.join(_FILES)} in one folder",
                suggestion="copy the missing file; for the newer layout: --format deeph",
            )
    info = read_info(folder / "info.json")
    cell = _table(folder / "lat.dat").T
    positions = _table(folder / "site_positions.dat").T
    numbers = _table(folder / "element.dat").reshape(-1)
    lines = (folder / "orbital_types.dat").read_text(encoding="ascii").splitlines()
    try:
        shells = [[int(word) for word in line.split()] for line in lines if line.strip()]
    except ValueError as error:
        raise _malformed(folder / "orbital_types.dat", f"{error}") from error
    if cell.shape != (3, 3) or positions.shape != (len(numbers), 3) or len(shells) != len(numbers):
        raise _malformed(
            folder,
            f"a cell of shape {cell.shape}, positions {positions.T.shape}, {len(numbers)} elements and "
            f"{len(shells)} lines of orbital types",
        )
    structure = Structure(numbers.astype(np.int64), positions, cell, np.ones(3, dtype=bool))
    basis = basis_of_atoms("deeph", structure.symbols, structure.atomic_numbers, shells)
    spinful = bool(info.get("isspinful", False))
    sequence = basis.shell_sequence(structure.atomic_numbers)
    n_orbitals = basis.n_orbitals(structure.atomic_numbers)
    hamiltonian = to_our_order(_read_operator(folder / HAMILTONIAN, n_orbitals, spinful), _ORDER, sequence)
    overlap = to_our_order(_read_operator(folder / OVERLAP, n_orbitals, False), _ORDER, sequence)
    hamiltonian, overlap = on_common_pairs(hamiltonian, overlap)
    fermi_level = optional_number(info.get("fermi_level"))
    return Crystal(structure, basis, hamiltonian, overlap, "deeph", fermi_level=fermi_level)


def write_deeph_legacy(record: Record, folder: Path) -> None:
    """Write one record into a folder that exists.

    Raises:
        LabelError: no H, S or basis, or no periodic cell.
    """
    contents = contents_of(record)
    structure, basis = contents.structure, contents.basis
    np.savetxt(folder / "lat.dat", structure.cell.T, fmt=_EXACT)
    np.savetxt(folder / "rlat.dat", 2 * np.pi * np.linalg.inv(structure.cell), fmt=_EXACT)
    np.savetxt(folder / "site_positions.dat", structure.positions.T, fmt=_EXACT)
    np.savetxt(folder / "element.dat", structure.atomic_numbers, fmt="%d")
    types = [" ".join(map(str, basis.of(number))) for number in structure.atomic_numbers]
    (folder / "orbital_types.dat").write_text("\n".join(types) + "\n", encoding="ascii")
    info: dict[str, Any] = {
        "nsites": structure.n_atoms,
        "isorthogonal": False,
        "isspinful": contents.hamiltonian.spin != "none",
        "norbits": int(contents.hamiltonian.n_orbitals.sum()),
        "fermi_level": contents.fermi_level,
    }
    (folder / "info.json").write_text(json.dumps(info, indent=1), encoding="ascii")
    sequence = basis.shell_sequence(structure.atomic_numbers)
    _write_operator(folder / HAMILTONIAN, from_our_order(contents.hamiltonian, _ORDER, sequence))
    _write_operator(folder / OVERLAP, from_our_order(contents.overlap, _ORDER, sequence))


def _table(path: Path) -> npt.NDArray[np.float64]:
    try:
        return np.loadtxt(path, ndmin=2, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise _malformed(path, f"{error}") from error


def _malformed(path: Path, what: str) -> FileFormatError:
    return FileFormatError(
        f"{path.name}: {what}",
        expected="lat.dat (3 × 3), site_positions.dat (3 × atoms), element.dat and orbital_types.dat a line an atom",
        suggestion="copy the folder again",
    )


def _read_operator(path: Path, n_orbitals: npt.NDArray[np.int64], spinful: bool) -> BlockOperator:
    pairs: list[list[int]] = []
    blocks: Blocks = []
    try:
        with h5py.File(path) as file:
            for key, value in file.items():
                pairs.append([int(word) for word in key.strip("[]").split(",")])
                blocks.append(np.asarray(value))
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise damaged(path, error) from error
    if not pairs or any(len(pair) != 5 for pair in pairs):
        raise damaged(path, ValueError("no data sets named [Rx, Ry, Rz, i, j]"))
    return operator_of_blocks(np.array(pairs, dtype=np.int64) - _FROM_ONE, blocks, n_orbitals, spinful, path)


def _write_operator(path: Path, operator: BlockOperator) -> None:
    with h5py.File(path, "w") as file:
        for pair, block in zip(operator.pairs + _FROM_ONE, joined_spins(operator), strict=True):
            file[str([int(x) for x in pair])] = block
