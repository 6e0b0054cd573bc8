"""DeepH's layout since 2025: ``POSCAR``, ``info.json``, ``overlap.h5`` and ``hamiltonian.h5`` in one folder.

An HDF5 file holds ``atom_pairs`` (n, 5) rows (R_x, R_y, R_z, i, j), 0-based, ``chunk_shapes`` (n, 2),
``chunk_boundaries`` (n + 1) and flat ``entries``, H in eV. Orbitals are in our order. Source: [deeph_dock].
"""

import json
from pathlib import Path
from typing import Any, Final, cast

import ase.io
import h5py
import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers as number_of_symbol

from adiabat.core.errors import FileFormatError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.hamiltonian_formats.block_order import on_common_pairs
from adiabat.data.hamiltonian_formats.contents import Crystal
from adiabat.data.hamiltonian_formats.deeph_blocks import (
    Blocks,
    contents_of,
    grouped_by_element,
    joined_spins,
    operator_of_blocks,
)
from adiabat.data.record import Record
from adiabat.data.structure import Structure

HAMILTONIAN: Final = "hamiltonian.h5"
OVERLAP: Final = "overlap.h5"
_FILES: Final = ("POSCAR", "info.json", HAMILTONIAN, OVERLAP)


def read_deeph(folder: Path) -> Crystal:
    """Read one folder.

    Raises:
        FileFormatError: a file that is missing, truncated or contradicts the others.
    """
    for name in _FILES:
        if not (folder / name).is_file():
            raise FileFormatError(
                f"{folder.name} without {name}",
                expected=f"{', '.join(_FILES)} in one folder",
                suggestion="copy the missing file; for the older layout: --format deeph-legacy",
            )
    info = read_info(folder / "info.json")
    structure = _read_poscar(folder / "POSCAR")
    try:
        shells = {number_of_symbol[str(s)]: tuple(int(l) for l in ls) for s, ls in info["elements_orbital_map"].items()}
        spinful = bool(info["spinful"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(
            f"{folder.name}/info.json without a good {error}",
            expected="'spinful' and 'elements_orbital_map' by element, as in {\"Si\": [0, 0, 1]}",
            suggestion="take the folder as DeepH-dock wrote it",
        ) from error
    basis = OrbitalBasis("deeph", shells)
    n_orbitals = basis.n_orbitals(structure.atomic_numbers)
    hamiltonian = _read_operator(folder / HAMILTONIAN, n_orbitals, spinful)
    overlap = _read_operator(folder / OVERLAP, n_orbitals, False)
    hamiltonian, overlap = on_common_pairs(hamiltonian, overlap)
    return Crystal(
        structure,
        basis,
        hamiltonian,
        overlap,
        "deeph",
        fermi_level=optional_number(info.get("fermi_energy_eV")),
        n_electrons=optional_number(info.get("occupation")),
    )


def write_deeph(record: Record, folder: Path) -> None:
    """Write one record into a folder that exists; atoms of one element come to stand together.

    Raises:
        LabelError: no H, S or basis, or no periodic cell.
    """
    contents = grouped_by_element(contents_of(record))
    structure, basis = contents.structure, contents.basis
    symbols = list(dict.fromkeys(structure.symbols))
    counts = [structure.symbols.count(symbol) for symbol in symbols]
    rows = [" ".join(repr(float(x)) for x in row) for row in (*structure.cell, *structure.positions)]
    poscar = [
        structure.formula,
        "1.0",
        *rows[:3],
        " ".join(symbols),
        " ".join(map(str, counts)),
        "Cartesian",
        *rows[3:],
    ]
    (folder / "POSCAR").write_text("\n".join(poscar) + "\n", encoding="ascii")
    info: dict[str, Any] = {
        "atoms_quantity": structure.n_atoms,
        "orbits_quantity": int(contents.hamiltonian.n_orbitals.sum()),
        "orthogonal_basis": False,
        "spinful": contents.hamiltonian.spin != "none",
        "fermi_energy_eV": contents.fermi_level,
        "elements_orbital_map": {symbol: list(basis.of(number_of_symbol[symbol])) for symbol in symbols},
    }
    if contents.n_electrons is not None:
        info["occupation"] = contents.n_electrons
    (folder / "info.json").write_text(json.dumps(info, indent=1), encoding="ascii")
    _write_operator(folder / HAMILTONIAN, contents.hamiltonian)
    _write_operator(folder / OVERLAP, contents.overlap)


def read_info(path: Path) -> dict[str, Any]:
    """The JSON object of ``info.json``.

    Raises:
        FileFormatError: no file, or no JSON object in it.
    """
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"{path.parent.name}/{path.name}, which cannot be read ({error})",
            expected="a JSON object",
            suggestion="copy the folder again",
        ) from error
    if not isinstance(info, dict):
        raise FileFormatError(
            f"{path.parent.name}/{path.name} with a {type(info).__name__}",
            expected="a JSON object",
            suggestion="copy the folder again",
        )
    return cast(dict[str, Any], info)


def optional_number(value: Any) -> float | None:
    """A number of ``info.json`` that may be null."""
    return float(value) if isinstance(value, (int, float)) else None


def damaged(path: Path, error: Exception) -> FileFormatError:
    """Error for an HDF5 file that is truncated or lacks data sets."""
    return FileFormatError(
        f"{path.parent.name}/{path.name}, which cannot be read ({error})",
        expected="a complete HDF5 file in DeepH's layout",
        suggestion="copy the file again; a job that was stopped leaves truncated files",
    )


def _read_poscar(path: Path) -> Structure:
    try:
        atoms = ase.io.read(path, format="vasp")
    # What ASE's reader raises for a damaged POSCAR.
    except (OSError, ValueError, IndexError, KeyError, ase.io.ParseError) as error:
        raise FileFormatError(
            f"{path.parent.name}/POSCAR, which cannot be read ({type(error).__name__}: {error})",
            expected="a POSCAR with a line of element symbols",
            suggestion="copy the file again",
        ) from error
    assert not isinstance(atoms, list)
    return Structure.from_ase(atoms)


def _read_operator(path: Path, n_orbitals: npt.NDArray[np.int64], spinful: bool) -> BlockOperator:
    try:
        with h5py.File(path) as file:
            names = ("atom_pairs", "chunk_shapes", "chunk_boundaries", "entries")
            pairs, shapes, bounds, entries = (np.asarray(cast(Any, file[name])[()]) for name in names)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise damaged(path, error) from error
    sizes = shapes.prod(axis=1) if shapes.ndim == 2 else np.zeros(0)
    fits = pairs.ndim == 2 and pairs.shape[1:] == (5,) and len(pairs) == len(sizes) == len(bounds) - 1
    if not fits or not np.array_equal(np.diff(bounds), sizes) or int(bounds[0]) != 0 or int(bounds[-1]) != len(entries):
        raise damaged(path, ValueError("chunk_boundaries, chunk_shapes and entries disagree"))
    blocks: Blocks = [
        entries[start:stop].reshape(shape) for start, stop, shape in zip(bounds[:-1], bounds[1:], shapes, strict=True)
    ]
    return operator_of_blocks(pairs.astype(np.int64), blocks, n_orbitals, spinful, path)


def _write_operator(path: Path, operator: BlockOperator) -> None:
    blocks = joined_spins(operator)
    shapes = np.array([block.shape for block in blocks], dtype=np.int64).reshape(-1, 2)
    with h5py.File(path, "w") as file:
        file["atom_pairs"] = operator.pairs.astype(np.int64)
        file["chunk_shapes"] = shapes
        file["chunk_boundaries"] = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))]).astype(np.int64)
        file["entries"] = np.concatenate([block.ravel() for block in blocks])
