"""OpenMX: H and S of a ``.scfout``, with the shells and elements of the input that the file carries."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers as number_of_symbol

from adiabat.core.errors import BasisError, FileFormatError
from adiabat.core.operators import BlockOperator, Spin
from adiabat.core.units import BOHR, HARTREE
from adiabat.data.hamiltonian_formats.block_order import on_common_pairs, to_our_order
from adiabat.data.hamiltonian_formats.contents import Crystal, OwnEigenvalues, basis_of_atoms
from adiabat.data.hamiltonian_formats.openmx_binary import Scfout, read_scfout
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions
from adiabat.data.structure import Structure


def read_openmx(path: Path, options: HamiltonianOptions) -> Crystal:
    """Read a ``.scfout``.

    Args:
        path: the file, or a folder with one.
        options: not used: the file has its structure.

    Raises:
        FileFormatError: a file that is truncated, or an input in it without species.
        BasisError: shells that do not give the number of orbitals, or two bases for one element.
        LabelError: pairs without their reverse.
    """
    path = _find(path)
    content = read_scfout(path)
    numbers, shells, valence = _species(content, path)
    structure = Structure(numbers, content.positions * BOHR, content.cell * BOHR, np.ones(3, dtype=bool))
    basis = basis_of_atoms("openmx", structure.symbols, numbers, shells)
    if abs(sum(valence[z] for z in numbers.tolist()) - content.n_electrons) < 1e-6:
        basis = replace(basis, valence=valence)
    sequence = basis.shell_sequence(numbers)
    hamiltonian = to_our_order(_hamiltonian(content), "openmx", sequence)
    overlap = BlockOperator.from_blocks(content.pairs, list(content.blocks(content.overlap)), content.n_orbitals)
    hamiltonian, overlap = on_common_pairs(hamiltonian, to_our_order(overlap, "openmx", sequence))
    return Crystal(
        structure,
        basis,
        hamiltonian,
        overlap,
        "openmx",
        content.version,
        fermi_level=content.chemical_potential * HARTREE,
        n_electrons=content.n_electrons,
        eigenvalues=_eigenvalues(path.with_suffix(".out"), hamiltonian.spin),
    )


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*.scfout"))
    if len(found) != 1:
        raise FileFormatError(
            f"{path.name} with {len(found)} files *.scfout",
            expected="one",
            suggestion="name the file; set HS.fileout on in OpenMX's input",
        )
    return found[0]


def _hamiltonian(content: Scfout) -> BlockOperator:
    """H [eV] in OpenMX's order. Non-collinear: ↑↑ = H₀ + i h₀, ↓↓ = H₁ + i h₁, ↑↓ = H₂ + i (H₃ + h₂)."""
    parts: list[npt.NDArray[np.float64] | npt.NDArray[np.complex128]] = [*content.hamiltonian]
    spin: Spin = "none" if content.spin_switch == 0 else "collinear"
    if content.spin_switch == 3:
        spin = "spinor"
        h, g = content.hamiltonian, content.imaginary
        up_down = h[2] + 1j * (h[3] + g[2])
        parts = [h[0] + 1j * g[0], up_down, np.zeros_like(up_down), h[1] + 1j * g[1]]
    blocks = [np.stack(block) for block in zip(*(content.blocks(part * HARTREE) for part in parts), strict=True)]
    if spin == "none":
        blocks = [block[0] for block in blocks]
    operator = BlockOperator.from_blocks(content.pairs, blocks, content.n_orbitals, spin)
    if spin != "spinor":
        return operator
    # ↓↑ is not in the file: it is the adjoint of ↑↓.
    values = operator.values.copy()
    values[2] = operator.adjoint().values[2]
    return operator.with_values(values)


def _species(content: Scfout, path: Path) -> tuple[npt.NDArray[np.int64], list[list[int]], dict[int, float]]:
    """Atomic number and shells of each atom, and electrons by element, from the input."""
    definitions = {words[0]: words[1] for words in _block(content.input_lines, "Definition.of.Atomic.Species")}
    atoms = _block(content.input_lines, "Atoms.SpeciesAndCoordinates")
    if len(atoms) != len(content.n_orbitals) or any(words[1] not in definitions for words in atoms):
        raise FileFormatError(
            f"{path.name} whose input lists {len(atoms)} atoms for {len(content.n_orbitals)} in its matrices",
            expected="Definition.of.Atomic.Species and Atoms.SpeciesAndCoordinates of all atoms",
            suggestion="run OpenMX with the structure written out in its input",
        )
    numbers: list[int] = []
    shells: list[list[int]] = []
    valence: dict[int, float] = {}
    for words, n_orb in zip(atoms, content.n_orbitals.tolist(), strict=True):
        name = definitions[words[1]]
        match = re.match(r"[A-Z][a-z]?", name)
        symbol = match[0] if match else ""
        if symbol not in number_of_symbol:
            raise FileFormatError(
                f"{path.name} with the basis {name}",
                expected="a basis that begins with an element, such as C6.0-s2p2d1",
                suggestion="name pseudo-atomic orbitals as OpenMX's library does",
            )
        numbers.append(number_of_symbol[symbol])
        shells.append(_shells(name, n_orb, path))
        if len(words) >= 7:
            valence[numbers[-1]] = float(words[5]) + float(words[6])
    return np.array(numbers, dtype=np.int64), shells, valence or dict.fromkeys(numbers, 0.0)


def _shells(name: str, n_orb: int, path: Path) -> list[int]:
    """Shells of ``C6.0-s2p2d1``; of two digits, as in s42 or s4>2, the second counts contracted orbitals."""
    counts = re.findall(r"([spdfg])(\d)>?(\d?)", name.rpartition("-")[2])
    shells = ["spdfg".index(l) for l, first, second in counts for _ in range(int(second or first))]
    if sum(2 * l + 1 for l in shells) != n_orb:
        raise BasisError(
            f"{path.name} with {n_orb} orbitals on an atom whose basis is {name}",
            expected=f"{sum(2 * l + 1 for l in shells)} orbitals",
            suggestion="the input in the file is not that of its matrices; run OpenMX again",
        )
    return shells


def _block(lines: list[str], name: str) -> list[list[str]]:
    """Words of the lines between ``<name`` and ``name>``."""
    found: list[list[str]] = []
    inside = False
    for line in lines:
        text = line.split("#")[0].strip()
        if text.lower().startswith(f"<{name}".lower()):
            inside = True
        elif text.lower().startswith(f"{name}>".lower()):
            inside = False
        elif inside and text:
            found.append(text.split())
    return found


def _eigenvalues(path: Path, spin: Spin) -> OwnEigenvalues | None:
    """Eigenvalues that OpenMX printed at its k-points, if its ``.out`` is there."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    points = re.split(r"^ *kloop *= *\d+ *$", text, flags=re.MULTILINE)[1:]
    k_frac: list[list[float]] = []
    energies: list[list[list[float]]] = []
    for point in points:
        k = re.search(r"k1= *(\S+) +k2= *(\S+) +k3= *(\S+)", point)
        rows = re.findall(r"^ +\d+ +(-?\d+\.\d+)(?: +(-?\d+\.\d+))? *$", point, re.MULTILINE)
        if k is None or not rows:
            continue
        columns = [[float(row[0]) for row in rows]]
        if spin == "collinear":
            columns.append([float(row[1]) for row in rows])
        k_frac.append([float(x) for x in k.groups()])
        energies.append(columns)
    if not k_frac:
        return None
    n_bands = min(len(columns[0]) for columns in energies)
    table = np.array([[column[:n_bands] for column in columns] for columns in energies])
    return OwnEigenvalues(np.array(k_frac), table.transpose(1, 0, 2) * HARTREE, path.name)
