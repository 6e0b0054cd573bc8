"""A CP2K run with its log, input and CSR files in one folder, as a crystal."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers as number_of_symbol

from adiabat.core.errors import FileFormatError, ScfNotConvergedError
from adiabat.core.units import HARTREE
from adiabat.data.hamiltonian_formats.contents import Crystal, OwnEigenvalues, basis_of_atoms
from adiabat.data.hamiltonian_formats.cp2k import read_cp2k_operators
from adiabat.data.hamiltonian_formats.cp2k_input import read_cp2k_input
from adiabat.data.hamiltonian_formats.images import image_shifts, renumbered
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions, read_structure
from adiabat.data.structure import Structure

_SAME_ATOM: Final = 1e-4
"""Å; the log prints coordinates to six decimals."""

_SHELL: Final = re.compile(r"^ +(\d+) +(\d+) +\d+([spdfgh])\S* +\S+ +\S+ *$", re.MULTILINE)
"""First line of each Cartesian function in the log's table of a basis: set, shell, orbital."""


def read_cp2k(path: Path, options: HamiltonianOptions) -> Crystal:
    """Read a folder with one run, or the run whose log is named.

    Args:
        path: folder, or the log in it.
        options: ``structure`` replaces the input file.

    Raises:
        FileFormatError: no log with lists of images, no structure, or damaged files.
        ScfNotConvergedError: H is not that of a converged SCF.
    """
    log_path = path if path.is_file() else _find_log(path)
    folder, log = log_path.parent, log_path.read_text(encoding="utf-8", errors="replace")
    if "SCF run NOT converged" in log:
        raise ScfNotConvergedError(
            f"{log_path.name}, whose SCF did not converge",
            expected="'SCF run converged'",
            suggestion="raise MAX_SCF, add smearing, or mix less; then write the matrices again",
        )
    project = _word(log, r"GLOBAL\| Project name +(\S+)", log_path)
    numbers, printed, valence = _atoms_of_log(log, log_path)
    structure = _structure(folder, log, options)
    _check_atoms(structure, numbers, printed, log_path)
    basis = basis_of_atoms("cp2k", structure.symbols, numbers, _shells(log, log_path, structure))
    basis = replace(basis, name=_basis_name(log), valence=valence)
    hamiltonian, overlap = read_cp2k_operators(folder, project, log, basis.n_orbitals(numbers))
    shifts = image_shifts(structure.positions, structure.cell, overlap)
    if np.any(shifts):
        hamiltonian, overlap = renumbered(hamiltonian, shifts), renumbered(overlap, shifts)
    electrons = [float(n) for n in re.findall(r"^ Number of electrons: +(\d+)", log, re.MULTILINE)]
    n_spins = 2 if hamiltonian.spin == "collinear" else 1
    if n_spins == 2 and len(electrons) >= 2:
        structure = replace(structure, spin=round(abs(electrons[0] - electrons[1])))
    energy = re.findall(r"ENERGY\| Total FORCE_EVAL.*: +(\S+)", log)
    fermi = re.findall(r"^ *Fermi energy: +(\S+)", log, re.MULTILINE)
    return Crystal(
        structure,
        basis,
        hamiltonian,
        overlap,
        "cp2k",
        _word(log, r"CP2K\| version string: +CP2K version (\S+)", log_path),
        energy=float(energy[-1]) * HARTREE if energy else None,
        fermi_level=float(fermi[-1]) * HARTREE if fermi else None,
        n_electrons=sum(electrons[:n_spins]) if electrons else None,
        eigenvalues=_band_structure(folder, log, n_spins),
        notes=(f"{int(np.any(shifts, axis=1).sum())} atoms were wrapped by CP2K; images count from the input again",)
        if np.any(shifts)
        else (),
    )


def _find_log(folder: Path) -> Path:
    candidates = [p for pattern in ("*.log", "*.out") for p in sorted(folder.glob(pattern)) if p.is_file()]
    logs = [p for p in candidates if "CSR write|" in p.read_text(encoding="utf-8", errors="replace")]
    if len(logs) != 1:
        raise FileFormatError(
            f"{folder.name} with {len(logs)} logs of CP2K that list images of CSR files",
            expected="the output of the run, *.log or *.out, beside its CSR files",
            suggestion="name the log itself: adiabat data import run.log --format cp2k",
        )
    return logs[0]


def _word(log: str, pattern: str, path: Path) -> str:
    match = re.search(pattern, log)
    if match is None:
        raise FileFormatError(
            f"{path.name} without {pattern.split(' +')[0]!r}",
            expected="the complete output of a CP2K run, print level MEDIUM",
            suggestion="take the whole log, not its end",
        )
    return match[1]


def _atoms_of_log(log: str, path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], dict[int, float]]:
    """Atomic numbers, printed positions [Å], and valence electrons by element."""
    pattern = r"^ +\d+ +\d+ +([A-Z][a-z]?) +(\d+) +(-?\d+\.\d+) +(-?\d+\.\d+) +(-?\d+\.\d+) +(-?\d+\.\d+) +\d+\.\d+ *$"
    rows = re.findall(pattern, log[log.find("ATOMIC COORDINATES IN ANGSTROM") :], re.MULTILINE)
    total = int(_word(log, r"- Atoms: +(\d+)", path))
    if len(rows) < total:
        raise FileFormatError(
            f"{path.name} with {len(rows)} of {total} atoms in 'ATOMIC COORDINATES IN ANGSTROM'",
            expected="the coordinates of all atoms with Z(eff)",
            suggestion="run CP2K with PRINT_LEVEL MEDIUM and take the whole log",
        )
    rows = rows[:total]
    numbers = np.array([number_of_symbol[row[0]] for row in rows], dtype=np.int64)
    positions = np.array([[float(x) for x in row[2:5]] for row in rows])
    return numbers, positions, {number_of_symbol[row[0]]: float(row[5]) for row in rows}


def _structure(folder: Path, log: str, options: HamiltonianOptions) -> Structure:
    if options.structure is not None:
        return read_structure(options.structure)
    name = re.search(r"CP2K\| Input file name +(\S+)", log)
    path = folder / name[1] if name else folder / "?"
    if not path.is_file():
        inputs = sorted(folder.glob("*.inp"))
        if len(inputs) != 1:
            raise FileFormatError(
                f"{folder.name} without the input file {path.name}",
                expected="CP2K's input beside its log: the log prints the cell to three decimals only",
                suggestion="copy the input there, or give the structure: --structure POSCAR",
            )
        path = inputs[0]
    return Structure.from_ase(read_cp2k_input(path))


def _check_atoms(
    structure: Structure, numbers: npt.NDArray[np.int64], printed: npt.NDArray[np.float64], path: Path
) -> None:
    same = np.array_equal(structure.atomic_numbers, numbers)
    if same:
        difference = (structure.positions - printed) @ np.linalg.inv(structure.cell)
        off = (difference - np.round(difference)) @ structure.cell
        same = float(np.abs(off).max()) < _SAME_ATOM
    if not same:
        raise FileFormatError(
            f"{path.name} with other atoms than the structure ({structure.formula})",
            expected="the atoms of the log, in its order, up to lattice vectors",
            suggestion="give the structure of this very run",
        )


def _shells(log: str, path: Path, structure: Structure) -> list[list[int]]:
    """Angular momenta of each atom's shells, from the log's tables of atomic kinds."""
    chunks = re.split(r"^ +\d+\. Atomic kind: +(\S+) .*$", log, flags=re.MULTILINE)[1:]
    by_kind: dict[str, list[int]] = {}
    for kind, text in zip(chunks[::2], chunks[1::2], strict=True):
        table = text[: text.find("otential information")]
        rows = {(int(m[1]), int(m[2])): "spdfgh".index(m[3]) for m in _SHELL.finditer(table)}
        by_kind.setdefault(kind, [rows[key] for key in sorted(rows)])
    kinds = [re.sub(r"\d+$", "", kind).capitalize() for kind in by_kind]
    by_symbol = dict(zip(kinds, by_kind.values(), strict=True))
    missing = sorted({s for s in structure.symbols if not by_symbol.get(s)})
    if missing or any(by_symbol[s] != shells for s, shells in zip(kinds, by_kind.values(), strict=True)):
        raise FileFormatError(
            f"{path.name} without one basis for {', '.join(missing) or 'each element'}",
            expected="the orbitals of each atomic kind, one basis an element, kinds named after elements",
            suggestion="run CP2K with PRINT_LEVEL MEDIUM and one basis for all atoms of an element",
        )
    return [by_symbol[s] for s in structure.symbols]


def _basis_name(log: str) -> str:
    names = sorted(set(re.findall(r"^ +Orbital Basis Set +(\S+)", log, re.MULTILINE)))
    return "+".join(names) if names else "cp2k"


def _band_structure(folder: Path, log: str, n_spins: int) -> OwnEigenvalues | None:
    """Bands that CP2K printed, if there are any; eV of CP2K's constants are turned into ours."""
    paths = sorted(folder.glob("*.bs"))
    factor = re.search(r"\[a\.u\.\] -> \[eV\] +(\S+)", log)
    if len(paths) != 1 or factor is None:
        return None
    text = paths[0].read_text(encoding="ascii", errors="replace")
    points = re.split(r"^# +Point +\d+ +Spin +(\d): +(\S+) +(\S+) +(\S+) .*$", text, flags=re.MULTILINE)[1:]
    bands: dict[tuple[float, float, float], dict[int, list[float]]] = {}
    for spin, x, y, z, table in zip(*(points[k::5] for k in range(5)), strict=True):
        energies = [float(e) for e in re.findall(r"^ +\d+ +(-?\d+\.\d+) +\d+\.\d+ *$", table, re.MULTILINE)]
        bands.setdefault((float(x), float(y), float(z)), {})[int(spin)] = energies
    n_bands = min((len(e) for by_spin in bands.values() for e in by_spin.values()), default=0)
    if n_bands == 0 or any(len(by_spin) != n_spins for by_spin in bands.values()):
        return None
    energies = [[by_spin[s + 1][:n_bands] for by_spin in bands.values()] for s in range(n_spins)]
    scale = HARTREE / float(factor[1])
    return OwnEigenvalues(np.array(list(bands)), np.array(energies) * scale, paths[0].name)
