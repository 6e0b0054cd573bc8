"""ABACUS: H(R) and S(R) as ``out_mat_hs2 1`` writes them, in text, and what STRU and the log say about them.

Two generations of files are read: ``data-HR-sparse_SPIN0.csr`` (to 3.8) and ``hrs1_nao.csr`` (since 3.9), H in Rydberg,
the image R as ⟨0│O│R⟩. With ``nspin 4`` orbitals come in pairs ↑, ↓ of one orbital. Source: [li2016].
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers as number_of_symbol

from adiabat.core.errors import FileFormatError
from adiabat.core.operators import Spin
from adiabat.core.units import RYDBERG
from adiabat.data.hamiltonian_formats.abacus_stru import read_stru, shells_of_orbital_file
from adiabat.data.hamiltonian_formats.contents import Crystal, basis_of_atoms
from adiabat.data.hamiltonian_formats.elements import Elements, block_operators
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions, read_structure

_NAMES: Final = (
    ("data-HR-sparse_SPIN0.csr", "data-HR-sparse_SPIN1.csr", "data-SR-sparse_SPIN0.csr"),
    ("hrs1_nao.csr", "hrs2_nao.csr", "srs1_nao.csr"),
)
"""H of the first spin, H of the second spin, S, of each generation of files."""


def read_abacus(path: Path, options: HamiltonianOptions) -> Crystal:
    """Read the folder of a run, or its ``OUT.…`` folder, with STRU in either.

    Args:
        path: folder, or one of the CSR files.
        options: ``structure`` replaces the positions and cell of STRU.

    Raises:
        FileFormatError: files that are missing, truncated or of another spin layout.
        BasisError: species of one element with different orbitals.
    """
    folder = _output_folder(path if path.is_dir() else path.parent)
    names = next((names for names in _NAMES if (folder / names[0]).is_file()), _NAMES[0])
    first, second, overlap_path = (folder / name for name in names)
    stru_path = next((p for p in (folder / "STRU", folder.parent / "STRU") if p.is_file()), None)
    if stru_path is None:
        raise FileFormatError(
            f"{folder.name} without STRU",
            expected="STRU in the folder or beside it: it names the orbital files, which tell the shells",
            suggestion="copy STRU from the calculation",
        )
    structure, orbital_files = read_stru(stru_path)
    if options.structure is not None:
        structure = read_structure(options.structure)
    shells = [shells_of_orbital_file(orbital_files[number], stru_path) for number in structure.atomic_numbers.tolist()]
    basis = basis_of_atoms("abacus", structure.symbols, structure.atomic_numbers, shells)
    n_orbitals = basis.n_orbitals(structure.atomic_numbers)
    n_orb = int(n_orbitals.sum())
    overlap = _read_csr(overlap_path)
    parts = [_read_csr(first)] + ([_read_csr(second)] if second.is_file() else [])
    spin, components = _spin_components(parts, n_orb, first)
    s_components = _spin_components([overlap], n_orb, overlap_path)[1]
    sequence = basis.shell_sequence(structure.atomic_numbers)
    # Of a spinor's S only ↑↑ counts; ↓↓ is its copy.
    s = replace(s_components[0], values=np.real(s_components[0].values))
    both = block_operators(
        {
            "hamiltonian": (spin, [part.reordered("abacus", sequence).scaled(RYDBERG) for part in components]),
            "overlap": ("none", [s.reordered("abacus", sequence)]),
        },
        n_orbitals,
    )
    log = _log(folder)
    valence = {number_of_symbol[s]: float(n) for s, n in _VALENCE.findall(log) if s in number_of_symbol}
    fermi = re.findall(r"EFERMI *= *(\S+) *eV", log)
    electrons = re.findall(r"number of electrons: *=? *(\S+)", log, re.IGNORECASE)
    version = re.search(r"ABACUS v(\S+)", log) or re.search(r"Version: *v?(\d\S*)", log)
    return Crystal(
        structure,
        replace(basis, valence=valence or None),
        both["hamiltonian"],
        both["overlap"],
        "abacus",
        version[1] if version else "",
        fermi_level=float(fermi[-1]) if fermi else None,
        n_electrons=float(electrons[-1]) if electrons else None,
    )


_VALENCE: Final = re.compile(r"^ +electron number of element +([A-Z][a-z]?) *= *(\S+)", re.MULTILINE)


def _output_folder(folder: Path) -> Path:
    if any((folder / names[0]).is_file() for names in _NAMES):
        return folder
    found = [p for p in sorted(folder.glob("OUT.*")) if any((p / names[0]).is_file() for names in _NAMES)]
    if len(found) != 1:
        raise FileFormatError(
            f"{folder.name} with {len(found)} folders OUT.* that hold H(R)",
            expected="data-HR-sparse_SPIN0.csr or hrs1_nao.csr, with S beside it",
            suggestion="run ABACUS with basis_type lcao and out_mat_hs2 1, or name the OUT.* folder",
        )
    return found[0]


def _log(folder: Path) -> str:
    paths = [p for p in (folder / "running_scf.log", folder / "running_nscf.log") if p.is_file()]
    return paths[0].read_text(encoding="utf-8", errors="replace") if paths else ""


def _read_csr(path: Path) -> tuple[int, Elements]:
    """Dimension and elements of the last step in a file.

    Raises:
        FileFormatError: no file, or one that is truncated or damaged.
    """
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(
            f"{path.name}, which cannot be read ({error})",
            expected="H and S of out_mat_hs2 1, in text",
            suggestion="copy both files from the OUT.* folder; binary files (out_mat_hs2 with binary) are not read",
        ) from error
    text = re.split(r"^ *(?:STEP: *\d+|--- Ionic Step \d+ ---) *$", text, flags=re.MULTILINE)[-1]
    try:
        dimension = int(_header(text, r"Matrix Dimension of .*: *(\d+)", r"(\d+) +# number of localized basis"))
        n_images = int(_header(text, r"Matrix number of .*: *(\d+)", r"(\d+) +# number of Bravais lattice vector R"))
        body = text[max(text.find("Matrix number of"), text.rfind("#----")) :].split("\n", 1)[1]
        return dimension, _parse(body, dimension, n_images)
    except (ValueError, IndexError) as error:
        raise FileFormatError(
            f"{path.name}, which is damaged or cut off ({error})",
            expected="a header and for each R: its number of elements, values, columns and row pointers",
            suggestion="copy the file again; check that the calculation finished",
        ) from error


def _header(text: str, *patterns: str) -> str:
    for pattern in patterns:
        if match := re.search(pattern, text):
            return match[1]
    raise ValueError(f"no line {patterns[0].split(' .*')[0]!r}")


def _parse(body: str, dimension: int, n_images: int) -> Elements:
    words = " ".join(line for line in body.splitlines() if not line.lstrip().startswith("#")).split()
    images: list[npt.NDArray[np.int64]] = []
    rows: list[npt.NDArray[np.int64]] = []
    columns: list[npt.NDArray[np.int64]] = []
    values: list[npt.NDArray[np.complex128] | npt.NDArray[np.float64]] = []
    at = 0
    for _ in range(n_images):
        image, count = [int(word) for word in words[at : at + 3]], int(words[at + 3])
        at += 4
        if count == 0:
            continue
        ends = at + count, at + 2 * count, at + 2 * count + dimension + 1
        if ends[2] > len(words):
            raise ValueError(f"the elements of R = {image} are not complete")
        pointers = np.array(words[ends[1] : ends[2]], dtype=np.int64)
        if pointers[0] != 0 or pointers[-1] != count or np.any(np.diff(pointers) < 0):
            raise ValueError(f"row pointers of R = {image} that end at {pointers[-1]}, not {count}")
        column = np.array(words[ends[0] : ends[1]], dtype=np.int64)
        if column.min() < 0 or column.max() >= dimension:
            raise ValueError(f"a column {column.max()} of {dimension} at R = {image}")
        images.append(np.tile(np.array(image, dtype=np.int64), (count, 1)))
        rows.append(np.repeat(np.arange(dimension), np.diff(pointers)))
        columns.append(column)
        values.append(_numbers(words[at : ends[0]]))
        at = ends[2]
    if not values:
        raise ValueError("no elements at all")
    return Elements(np.concatenate(images), np.concatenate(rows), np.concatenate(columns), np.concatenate(values))


def _numbers(words: Sequence[str]) -> npt.NDArray[np.float64] | npt.NDArray[np.complex128]:
    """Real numbers, or complex ones written ``(re,im)``."""
    if not words[0].startswith("("):
        return np.array(words, dtype=np.float64)
    pairs = np.array([word.strip("()").split(",") for word in words], dtype=np.float64)
    return pairs[:, 0] + 1j * pairs[:, 1]


def _spin_components(parts: Sequence[tuple[int, Elements]], n_orb: int, path: Path) -> tuple[Spin, list[Elements]]:
    dimension = parts[0][0]
    if dimension == n_orb:
        return ("collinear" if len(parts) == 2 else "none"), [part for _, part in parts]
    if dimension != 2 * n_orb or len(parts) != 1:
        raise FileFormatError(
            f"{path.name} with {dimension} orbitals, in {len(parts)} files",
            expected=f"{n_orb} orbitals as STRU's orbital files say, or twice as many in one file (nspin 4)",
            suggestion="take STRU and the matrices from one calculation",
        )
    whole = parts[0][1]
    components: list[Elements] = []
    for up_or_down in ((0, 0), (0, 1), (1, 0), (1, 1)):
        mine = (whole.rows % 2 == up_or_down[0]) & (whole.columns % 2 == up_or_down[1])
        components.append(
            Elements(whole.images[mine], whole.rows[mine] // 2, whole.columns[mine] // 2, whole.values[mine] + 0j)
        )
    return "spinor", components
