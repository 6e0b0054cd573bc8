"""Wannier90: H(R) of ``seedname_hr.dat``, an orthogonal basis of functions that began as atomic orbitals.

H(R) is divided by the degeneracy of R, or spread over the nearest copies that ``seedname_wsvec.dat`` lists.
``seedname.win`` tells the cell, the atoms and which function is which orbital. Source: [pizzi2020].
"""

import re
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import FileFormatError, LabelError
from adiabat.core.operators import Spin
from adiabat.data.hamiltonian_formats.contents import Crystal, OwnEigenvalues, basis_of_atoms
from adiabat.data.hamiltonian_formats.elements import Elements, block_operators
from adiabat.data.hamiltonian_formats.images import renumbered
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions, read_structure
from adiabat.data.hamiltonian_formats.wannier90_win import assign_orbitals, read_win
from adiabat.data.structure import Structure

_REAL: Final = 1e-3
"""eV; the largest imaginary part of H without spin that is left out."""

_BORDER: Final = 0.1
"""Share of the largest hopping that H may have at the border of the k-mesh's supercell before it is too coarse."""

_CENTRE: Final = 0.4
"""Å; how far a function's centre may lie from its atom. Bond-centred functions are a quarter of a bond or more off."""


def read_wannier90(path: Path, options: HamiltonianOptions) -> Crystal:
    """Read ``seedname_hr.dat`` and the files beside it.

    Args:
        path: folder with one ``*_hr.dat``, or that file.
        options: ``structure`` replaces cell and atoms of ``seedname.win``.

    Raises:
        FileFormatError: a file that is missing or damaged, or functions that are no atomic orbitals.
        LabelError: a complex H without spinors, or one that does not decay within the k-mesh.
    """
    path = _find(path)
    seed = path.name.removesuffix("_hr.dat")
    win_path = path.with_name(f"{seed}.win")
    if not win_path.is_file():
        raise FileFormatError(
            f"{path.name} without {win_path.name}",
            expected="Wannier90's input beside it: cell, atoms and projections tell whose orbitals the functions are",
            suggestion="copy the input of the run there",
        )
    win = read_win(win_path)
    structure = read_structure(options.structure) if options.structure is not None else win.structure
    if structure is None:
        raise FileFormatError(
            f"{win_path.name} without cell and atoms",
            expected="unit_cell_cart and atoms_frac or atoms_cart",
            suggestion="give the structure: --structure POSCAR",
        )
    n_functions, elements, degeneracy = _read_hr(path)
    border, hopping = _border(elements, degeneracy)
    elements = _distributed(elements, degeneracy, path.with_name(f"{seed}_wsvec.dat"))
    shells = assign_orbitals(win.projections, structure, win_path.name)
    factor = 2 if win.spinors else 1
    if factor * sum(2 * l + 1 for _, l in shells) != n_functions:
        raise FileFormatError(
            f"{path.name} with {n_functions} functions, but {factor * sum(2 * l + 1 for _, l in shells)} projections",
            expected="one function a projection" + ", ↑ and ↓" * win.spinors,
            suggestion=f"take {win_path.name} of this run; name as many projections as num_wann",
        )
    shells, shifts, note = _on_centres(path.with_name(f"{seed}_centres.xyz"), shells, structure, factor)
    by_atom = [[l for atom, l in shells if atom == a] for a in range(structure.n_atoms)]
    basis = basis_of_atoms("wannier90", structure.symbols, structure.atomic_numbers, by_atom)
    n_orbitals = basis.n_orbitals(structure.atomic_numbers)
    spin, components = _components(elements, _places(shells, n_orbitals), win.spinors, path)
    sequence = basis.shell_sequence(structure.atomic_numbers)
    same = np.arange(n_orbitals.sum())
    unit = Elements(np.zeros((len(same), 3), dtype=np.int64), same, same, np.ones(len(same)))
    both = block_operators(
        {
            "hamiltonian": (spin, [part.reordered("wannier90", sequence) for part in components]),
            "overlap": ("none", [unit]),
        },
        n_orbitals,
    )
    hamiltonian, overlap = both["hamiltonian"], both["overlap"]
    if np.any(shifts):
        hamiltonian, overlap = renumbered(hamiltonian, shifts), renumbered(overlap, shifts)
    if border > _BORDER * hopping:
        raise LabelError(
            f"{path.name} with H of {border:.2g} eV at the border of the k-mesh {win.mesh or ''}, where its largest "
            f"hopping is {hopping:.2g} eV",
            expected=f"at most {_BORDER:.0%} of that: what lies farther is folded back, and bands come out wrong",
            suggestion="run the calculation and Wannier90 with a denser mp_grid",
        )
    notes = [
        note,
        f"H at the border of the k-mesh's supercell: at most {border:.2g} eV; the basis is orthogonal, S = 1",
    ]
    if win.spinors:
        notes.append("spinor functions taken as ↑ and ↓ of each projection in turn, Wannier90's own order")
    return Crystal(
        structure,
        basis,
        hamiltonian,
        overlap,
        "wannier90",
        fermi_level=win.fermi_level,
        eigenvalues=_bands(path.with_name(f"{seed}_band.dat"), path.with_name(f"{seed}_band.kpt"), n_functions),
        notes=tuple(notes),
    )


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*_hr.dat"))
    if len(found) != 1:
        raise FileFormatError(
            f"{path.name} with {len(found)} files *_hr.dat",
            expected="one",
            suggestion="name the file; set write_hr = true in Wannier90's input",
        )
    return found[0]


def _read_hr(path: Path) -> tuple[int, Elements, npt.NDArray[np.int64]]:
    """Number of functions, elements not yet divided, and the degeneracy of R for each element."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            file.readline()
            n_functions, n_images = int(file.readline()), int(file.readline())
            n_lines = -(-n_images // 15)
            degeneracies = np.array(" ".join(islice(file, n_lines)).split(), dtype=np.int64)
            table = np.array(file.read().split(), dtype=np.float64).reshape(-1, 7)
        if len(degeneracies) != n_images or len(table) != n_images * n_functions**2:
            raise ValueError(f"{len(table)} elements")
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"{path.name}, which is damaged or cut off ({error})",
            expected="num_wann, the number of R, their degeneracies, and num_wann² elements for each R",
            suggestion="copy the file again; set write_hr = true and let Wannier90 finish",
        ) from error
    index = table[:, :5].astype(np.int64)
    elements = Elements(index[:, :3], index[:, 3] - 1, index[:, 4] - 1, table[:, 5] + 1j * table[:, 6])
    return n_functions, elements, np.repeat(degeneracies, n_functions**2)


def _border(elements: Elements, degeneracy: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Largest element at the border of the k-mesh's supercell, where images are degenerate, and largest hopping."""
    sizes = np.abs(elements.values) / degeneracy
    hopping = np.any(elements.images != 0, axis=1) | (elements.rows != elements.columns)
    return float(sizes[degeneracy > 1].max(initial=0.0)), float(sizes[hopping].max(initial=0.0))


def _distributed(elements: Elements, degeneracy: npt.NDArray[np.int64], wsvec: Path) -> Elements:
    """H(R)/degeneracy, at R or spread over the copies R + T of ``wsvec``."""
    divided = Elements(elements.images, elements.rows, elements.columns, elements.values / degeneracy)
    if not wsvec.is_file():
        return divided
    try:
        with wsvec.open(encoding="ascii", errors="replace") as file:
            file.readline()
            words = np.array(file.read().split(), dtype=np.int64)
        copies: dict[tuple[int, ...], npt.NDArray[np.int64]] = {}
        at = 0
        while at < len(words):
            count = int(words[at + 5])
            copies[tuple(words[at : at + 5].tolist())] = words[at + 6 : at + 6 + 3 * count].reshape(count, 3)
            at += 6 + 3 * count
        keys = np.column_stack([divided.images, divided.rows + 1, divided.columns + 1]).tolist()
        lists = [copies[tuple(key)] for key in keys]
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise FileFormatError(
            f"{wsvec.name}, which is damaged or of another run ({error})",
            expected="for each R, m, n of the H the copies that share it",
            suggestion="copy the file of this run, or remove it to use the degeneracies alone",
        ) from error
    counts = np.array([len(copy) for copy in lists])
    return Elements(
        np.repeat(divided.images, counts, axis=0) + np.concatenate(lists),
        np.repeat(divided.rows, counts),
        np.repeat(divided.columns, counts),
        np.repeat(divided.values / counts, counts),
    )


def _places(shells: list[tuple[int, int]], n_orbitals: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Place of each function (without spin) among the orbitals, atom by atom and shell by shell."""
    following = np.concatenate([[0], np.cumsum(n_orbitals)[:-1]]).astype(np.int64)
    places: list[int] = []
    for atom, l in shells:
        places += range(int(following[atom]), int(following[atom]) + 2 * l + 1)
        following[atom] += 2 * l + 1
    return np.array(places, dtype=np.int64)


def _components(
    elements: Elements, places: npt.NDArray[np.int64], spinors: bool, path: Path
) -> tuple[Spin, list[Elements]]:
    if not spinors:
        imaginary = float(np.abs(np.imag(elements.values)).max(initial=0.0))
        if imaginary > _REAL:
            raise LabelError(
                f"{path.name} with an H that is complex, imaginary parts up to {imaginary:.2g} eV, without spinors",
                expected="a real H: without spin, functions that began as atomic orbitals are real",
                suggestion="set num_iter = 0 in Wannier90 so that functions keep their orbitals' phases; for spinors "
                "spinors = true must be in the input",
            )
        return "none", [
            Elements(elements.images, places[elements.rows], places[elements.columns], np.real(elements.values))
        ]
    parts: list[Elements] = []
    for row_spin, column_spin in ((0, 0), (0, 1), (1, 0), (1, 1)):
        mine = (elements.rows % 2 == row_spin) & (elements.columns % 2 == column_spin)
        rows, columns = places[elements.rows[mine] // 2], places[elements.columns[mine] // 2]
        parts.append(Elements(elements.images[mine], rows, columns, elements.values[mine]))
    return "spinor", parts


def _on_centres(
    path: Path, shells: list[tuple[int, int]], structure: Structure, factor: int
) -> tuple[list[tuple[int, int]], npt.NDArray[np.int64], str]:
    """Shells with the atoms that their functions stand on, the copy of each atom, and a sentence.

    Which atom of a species comes first is not the same in all versions of the interfaces: the centres decide.
    """
    shifts = np.zeros((structure.n_atoms, 3), dtype=np.int64)
    if not path.is_file():
        return shells, shifts, f"centres: no {path.name}, so functions are taken to follow the atoms of the input"
    sizes = np.array([factor * (2 * l + 1) for _, l in shells])
    rows = re.findall(r"^X +(\S+) +(\S+) +(\S+)", path.read_text(encoding="ascii"), re.MULTILINE)
    if len(rows) != sizes.sum():
        raise FileFormatError(
            f"{path.name} with {len(rows)} centres for {sizes.sum()} functions",
            expected="one centre a function",
            suggestion="take the file of this run",
        )
    offsets = np.array(rows, dtype=np.float64)[:, None] - structure.positions
    cells = np.round(offsets @ np.linalg.inv(structure.cell))
    distances = np.linalg.norm(offsets - cells @ structure.cell, axis=2)
    found: list[tuple[int, int]] = []
    worst = 0.0
    for (atom, l), stop, size in zip(shells, np.cumsum(sizes), sizes, strict=True):
        own = slice(stop - size, stop)
        same_element = structure.atomic_numbers == structure.atomic_numbers[atom]
        nearest = int(np.argmin(np.where(same_element, distances[own].max(axis=0), np.inf)))
        copies = np.unique(cells[own, nearest], axis=0)
        worst = max(worst, float(distances[own, nearest].max()))
        if worst > _CENTRE or len(copies) > 1:
            raise FileFormatError(
                f"{path.name} with functions {stop - size + 1} to {stop} up to {worst:.2f} Å from the nearest "
                f"{structure.symbols[atom]}",
                expected=f"the functions of a shell within {_CENTRE} Å of one atom of their projection",
                suggestion="set num_iter = 0: maximal localisation turns atomic orbitals into bonds",
            )
        shifts[nearest] = copies[0].astype(np.int64)
        found.append((nearest, l))
    return found, shifts, f"centres: functions stand on their atoms to {worst:.3f} Å"


def _bands(path: Path, k_path: Path, n_functions: int) -> OwnEigenvalues | None:
    """Bands that Wannier90 interpolated itself, if it did."""
    if not path.is_file() or not k_path.is_file():
        return None
    try:
        k_frac = np.loadtxt(k_path, skiprows=1, ndmin=2)[:, :3]
        energies = np.loadtxt(path, ndmin=2)[:, 1].reshape(1, n_functions, len(k_frac)).transpose(0, 2, 1)
    except ValueError as error:
        raise FileFormatError(
            f"{path.name}, which is damaged or of another run ({error})",
            expected="num_wann bands at the k-points of the .kpt file",
            suggestion="copy the file again, or remove it",
        ) from error
    return OwnEigenvalues(k_frac, energies, path.name)
