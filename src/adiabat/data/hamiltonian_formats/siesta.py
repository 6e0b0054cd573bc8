"""SIESTA through sisl: H and S of ``.HSX``, ``.nc`` or ``.TSHS``, and the bands of ``.EIG``.

sisl gives H in eV with the Fermi level at zero; here it is put back, so that eigenvalues are those that SIESTA prints.
Spin components are sisl's: ↑↑, ↓↓, and the real and imaginary parts of ↑↓ and ↓↑. Source: [garcia2020], [sisl].
"""

import re
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from adiabat.core.errors import BasisError, FileFormatError, MissingExtraError
from adiabat.core.operators import Spin
from adiabat.data.hamiltonian_formats.contents import Crystal, OwnEigenvalues, basis_of_atoms
from adiabat.data.hamiltonian_formats.elements import Elements, block_operators
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions
from adiabat.data.structure import Structure

_SUFFIXES: Final = (".HSX", ".nc", ".TSHS")
"""Files with H and S, the fullest first."""

_SPIN_OF: Final[dict[int, Spin]] = {1: "none", 2: "collinear", 4: "spinor", 8: "spinor"}
"""Layout by the number of real components that sisl keeps."""


def read_siesta(path: Path, options: HamiltonianOptions) -> Crystal:
    """Read a run.

    Args:
        path: folder, or one of its ``.HSX``, ``.nc`` or ``.TSHS`` files; ``.ORB_INDX``, ``.XV``, ``.EIG`` and ``.KP``
            of the same label are taken from beside it.
        options: not used: the files have their structure.

    Raises:
        MissingExtraError: sisl is not installed.
        FileFormatError: a file that sisl cannot read, or one of an old version without ``.XV`` and ``.ORB_INDX``.
        BasisError: orbitals whose l and m are not known, or not in SIESTA's order.
    """
    try:
        sisl: Any = import_module("sisl")
    except ImportError as error:
        raise MissingExtraError.of("sisl", "siesta") from error
    path = _find(path)
    try:
        with warnings.catch_warnings():
            # sisl warns of what is handled here: a missing Fermi level, and orbitals without a known radius.
            warnings.simplefilter("ignore", sisl.SislWarning)
            geometry = _geometry(sisl, path)
            with sisl.get_sile(path) as file:
                matrix: Any = file.read_hamiltonian(geometry=geometry, dtype=np.float64)
                fermi_level = file.read_fermi_level()
            atoms = _orbitals(sisl, path, matrix.geometry)
            numbers = _numbers(sisl, path, atoms)
            eigenvalues = _eigenvalues(sisl, path, matrix)
    # What sisl raises for files that are damaged, cut off or lack something.
    except (sisl.SislError, sisl.io.SileError, OSError, ValueError, IndexError, KeyError, EOFError, MemoryError,
            TypeError, AttributeError, RuntimeError) as error:  # fmt: skip
        raise FileFormatError(
            f"{path.name}, which sisl {sisl.__version__} cannot read ({type(error).__name__}: {error})",
            expected="a complete file of SIESTA 4 or 5 with H and S, and its .XV and .ORB_INDX for versions before 5",
            suggestion="copy the file again; set SaveHS T in SIESTA's input",
        ) from error
    shells = [_shells(atom, path) for atom in atoms]
    crystal = _crystal(
        matrix, numbers, shells, None if fermi_level is None else float(np.max(fermi_level)), eigenvalues
    )
    return _with_output(crystal, path)


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    for suffix in _SUFFIXES:
        found = [p for p in sorted(path.glob(f"*{suffix}")) if not p.name.endswith(".ion.nc")]
        if len(found) == 1:
            return found[0]
        if found:
            break
    raise FileFormatError(
        f"{path.name} with no file, or several files, of one kind of {', '.join(_SUFFIXES)}",
        expected="one run in a folder",
        suggestion="name the file, such as siesta.HSX; set SaveHS T in SIESTA's input",
    )


def _geometry(sisl: Any, path: Path) -> Any:
    """Structure and orbitals for an ``.HSX`` of SIESTA 4, which has neither; None if the file has its own."""
    if path.suffix != ".HSX" or sisl.get_sile(path).version > 0:
        return None
    positions, index = path.with_suffix(".XV"), path.with_suffix(".ORB_INDX")
    for needed in (positions, index):
        if not needed.is_file():
            raise FileNotFoundError(f"no {needed.name} beside this file of SIESTA 4")
    source = sisl.get_sile(positions).read_geometry()
    basis = sisl.get_sile(index).read_basis()
    atoms = [sisl.Atom(int(z), atom.orbitals) for z, atom in zip(source.atoms.Z, basis, strict=True)]
    cells = sisl.get_sile(index).read_lattice_nsc()
    return sisl.Geometry(source.xyz, sisl.Atoms(atoms), lattice=sisl.Lattice(source.cell, nsc=cells))


def _orbitals(sisl: Any, path: Path, geometry: Any) -> list[Any]:
    """Atoms with orbitals whose l is known: those of the file, or those of ``.ORB_INDX``."""
    own, index = list(geometry.atoms), path.with_suffix(".ORB_INDX")
    if all(hasattr(orbital, "l") for atom in own for orbital in atom.orbitals) or not index.is_file():
        return own
    return list(sisl.get_sile(index).read_basis())


def _numbers(sisl: Any, path: Path, atoms: list[Any]) -> npt.NDArray[np.int64]:
    """Atomic numbers: of ``.XV`` if it is there, for ``.TSHS`` has none and labels may be anything."""
    positions = path.with_suffix(".XV")
    if positions.is_file():
        return np.array(sisl.get_sile(positions).read_geometry().atoms.Z, dtype=np.int64)
    return np.array([atom.Z for atom in atoms], dtype=np.int64)


def _crystal(
    matrix: Any,
    numbers: npt.NDArray[np.int64],
    shells: list[list[int]],
    fermi_level: float | None,
    eigenvalues: OwnEigenvalues | None,
) -> Crystal:
    geometry = matrix.geometry
    structure = Structure(
        numbers, np.array(geometry.xyz, dtype=np.float64), np.array(geometry.cell, dtype=np.float64), np.ones(3, bool)
    )
    basis = basis_of_atoms("siesta", structure.symbols, numbers, shells)
    n_components = int(matrix.spin.size(matrix.dtype))
    parts = [_elements(matrix, component) for component in range(n_components)]
    if matrix.orthogonal:
        same = np.arange(geometry.no)
        overlap = Elements(np.zeros((geometry.no, 3), dtype=np.int64), same, same, np.ones(geometry.no))
    else:
        overlap = _elements(matrix, matrix.S_idx)
    sequence = basis.shell_sequence(numbers)
    both = block_operators(
        {
            "hamiltonian": (
                _SPIN_OF[n_components],
                [part.reordered("siesta", sequence) for part in _components(parts)],
            ),
            "overlap": ("none", [overlap.reordered("siesta", sequence)]),
        },
        basis.n_orbitals(numbers),
    )
    hamiltonian, s = both["hamiltonian"], both["overlap"]
    note = "H was on the scale of SIESTA's energies; no Fermi level in the file"
    if fermi_level is not None:
        values = hamiltonian.values.copy()
        for component in {"none": [...], "collinear": [0, 1], "spinor": [0, 3]}[hamiltonian.spin]:
            values[component] += fermi_level * s.values
        hamiltonian = hamiltonian.with_values(values)
        note = f"Fermi level {fermi_level:.4f} eV put back into H, from which sisl had taken it"
    return Crystal(
        structure, basis, hamiltonian, s, "siesta", fermi_level=fermi_level, eigenvalues=eigenvalues, notes=(note,)
    )


def _with_output(crystal: Crystal, path: Path) -> Crystal:
    """Version and number of electrons from SIESTA's output, if there is one beside the file."""
    texts = [p.read_text(encoding="utf-8", errors="replace") for p in sorted(path.parent.glob("*.out"))]
    texts = [text for text in texts if "Total number of electrons:" in text]
    if len(texts) != 1:
        return crystal
    electrons = re.search(r"Total number of electrons: +(\S+)", texts[0])
    version = re.search(r"^ *(?:Siesta )?Version *: *v?(\S+)", texts[0], re.MULTILINE | re.IGNORECASE)
    return replace(
        crystal,
        n_electrons=float(electrons[1]) if electrons else None,
        code_version=version[1] if version else "",
    )


def _elements(matrix: Any, component: int) -> Elements:
    """Elements of one of sisl's components; its columns run over all images of the orbitals."""
    n_orb = int(matrix.geometry.no)
    sparse = csr_array(matrix.tocsr(component)).tocoo()
    columns = sparse.coords[1].astype(np.int64)
    images = np.asarray(matrix.geometry.lattice.sc_off, dtype=np.int64)[columns // n_orb]
    return Elements(images, sparse.coords[0].astype(np.int64), columns % n_orb, np.asarray(sparse.data, np.float64))


def _components(parts: list[Elements]) -> list[Elements]:
    """↑↑, ↑↓, ↓↑, ↓↓ of four or eight real components; one or two stay as they are."""
    if len(parts) <= 2:
        return parts

    def complex_of(real: int, imaginary: int | None, sign: float = 1.0) -> Elements:
        first = parts[real]
        if imaginary is None:
            return first
        second = parts[imaginary]
        return Elements(
            np.concatenate([first.images, second.images]),
            np.concatenate([first.rows, second.rows]),
            np.concatenate([first.columns, second.columns]),
            np.concatenate([first.values + 0j, second.values * (1j * sign)]),
        )

    if len(parts) == 4:
        return [complex_of(0, None), complex_of(2, 3), complex_of(2, 3, -1.0), complex_of(1, None)]
    return [complex_of(0, 4), complex_of(2, 3), complex_of(6, 7), complex_of(1, 5)]


def _shells(atom: Any, path: Path) -> list[int]:
    """Angular momenta of an atom's shells; each must run through m = −l … l."""
    shells: list[int] = []
    orbitals = list(atom.orbitals)
    at = 0
    while at < len(orbitals):
        l = getattr(orbitals[at], "l", None)
        if l is None or int(l) < 0:
            raise BasisError(
                f"{path.name} whose orbitals on {atom.tag} have no known l",
                expected="n, l, m of each orbital: in .HSX of SIESTA 5, in .nc, or in .ORB_INDX beside the file",
                suggestion=f"copy {path.with_suffix('.ORB_INDX').name} and {path.with_suffix('.XV').name} of the run",
            )
        own = orbitals[at : at + 2 * int(l) + 1]
        if [getattr(orbital, "m", None) for orbital in own] != list(range(-int(l), int(l) + 1)):
            raise BasisError(
                f"{path.name} with a shell on {atom.tag} that is not m = −{l} … {l}",
                expected="SIESTA's order of orbitals",
                suggestion="take the files as SIESTA wrote them",
            )
        shells.append(int(l))
        at += len(own)
    return shells


def _eigenvalues(sisl: Any, path: Path, matrix: Any) -> OwnEigenvalues | None:
    """Eigenvalues of ``.EIG`` at the k-points of ``.KP``, as SIESTA printed them."""
    energies_path, k_path = path.with_suffix(".EIG"), path.with_suffix(".KP")
    if not energies_path.is_file() or not k_path.is_file():
        return None
    k_frac: npt.NDArray[np.float64] = sisl.get_sile(k_path).read_data(lattice=matrix.geometry.lattice)[0]
    file = sisl.get_sile(energies_path)
    energies = np.asarray(file.read_data(), dtype=np.float64) + float(file.read_fermi_level())
    if energies.shape[1] != len(k_frac):
        raise ValueError(f"{energies_path.name} with {energies.shape[1]} k-points, {k_path.name} with {len(k_frac)}")
    return OwnEigenvalues(np.asarray(k_frac, dtype=np.float64), energies, energies_path.name)
