"""The binary records of OpenMX's ``.scfout``, versions 3.7 to 3.9, as numbers in OpenMX's units and order.

Integers and doubles follow each other without record marks. Version 3.9 added moments to the header; how many matrices
lie between S and the trailing text differs, and follows from the length of the file. Source: [ozaki2003].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import FileFormatError

_LINE: Final = 256
"""Bytes of each line of the input that is kept at the end."""

_MAX_MATRICES: Final = 200
"""Matrices that can lie between S and the trailing numbers: positions, momenta, density matrices."""


@dataclass(frozen=True, eq=False)
class Scfout:
    """What the file holds.

    Attributes:
        spin_switch: 0 without spin, 1 collinear, 3 non-collinear.
        version: ``3.7 or 3.8``, or ``3.9``.
        cell: (3, 3) Bohr.
        positions: (n_atoms, 3) Bohr.
        n_orbitals: (n_atoms,).
        pairs: (n_pairs, 5) rows (R, i, j), 0-based, in the order of the file.
        hamiltonian: flat blocks [Hartree], one array a component: 1, 2, or 4 real ones.
        imaginary: flat imaginary parts of ↑↑, ↓↓, ↑↓ [Hartree], for spin switch 3.
        overlap: flat blocks.
        chemical_potential: Hartree.
        n_electrons: valence electrons.
        input_lines: the input file.
    """

    spin_switch: int
    version: str
    cell: npt.NDArray[np.float64]
    positions: npt.NDArray[np.float64]
    n_orbitals: npt.NDArray[np.int64]
    pairs: npt.NDArray[np.int64]
    hamiltonian: list[npt.NDArray[np.float64]]
    imaginary: list[npt.NDArray[np.float64]]
    overlap: npt.NDArray[np.float64]
    chemical_potential: float
    n_electrons: float
    input_lines: list[str]

    def blocks(self, values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
        """Blocks (n_i, n_j) of one flat array, in the order of the pairs."""
        shapes = self.n_orbitals[self.pairs[:, 3:]]
        ends = np.cumsum(shapes.prod(axis=1))
        for stop, (n_i, n_j) in zip(ends, shapes, strict=True):
            yield values[stop - n_i * n_j : stop].reshape(n_i, n_j)


class _Cursor:
    """Reads one array after the other, and says where a file ends too early."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.at = path, path.read_bytes(), 0

    def integers(self, count: int) -> npt.NDArray[np.int64]:
        return np.frombuffer(self._take(4 * count), dtype="<i4").astype(np.int64)

    def doubles(self, count: int) -> npt.NDArray[np.float64]:
        return np.frombuffer(self._take(8 * count), dtype="<f8").astype(np.float64)

    def _take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if size < 0 or len(part) < size:
            raise self.damaged(f"it ends at byte {len(self.data)}, where {size} bytes from {self.at} on are expected")
        self.at += size
        return part

    def damaged(self, what: str) -> FileFormatError:
        return FileFormatError(
            f"{self.path.name}, which is no complete .scfout: {what}",
            expected="the little-endian file that OpenMX 3.7, 3.8 or 3.9 writes with HS.fileout on",
            suggestion="copy the file again; check that OpenMX finished",
        )


def read_scfout(path: Path) -> Scfout:
    """Read a file.

    Raises:
        FileFormatError: a file that is truncated, or of another version or kind.
    """
    cursor = _Cursor(path)
    n_atoms, switch, _, _, _, n_cells = cursor.integers(6).tolist()
    version, spin_switch = divmod(switch, 4)
    if n_atoms < 1 or n_cells < 0 or version not in (0, 3) or spin_switch not in (0, 1, 3):
        raise cursor.damaged(f"{n_atoms} atoms, version and spin {switch}")
    if version == 3:
        cursor.integers(1)  # highest moment of the position
    cursor.doubles(4 * (n_cells + 1))
    cells = cursor.integers(4 * (n_cells + 1)).reshape(-1, 4)[:, 1:]
    n_orbitals, n_neighbors = cursor.integers(n_atoms), cursor.integers(n_atoms) + 1
    if n_orbitals.min() < 1 or n_neighbors.min() < 1:
        raise cursor.damaged("an atom without orbitals")
    neighbors = cursor.integers(int(n_neighbors.sum())) - 1
    images = cursor.integers(int(n_neighbors.sum()))
    if neighbors.min() < 0 or neighbors.max() >= n_atoms or images.min() < 0 or images.max() > n_cells:
        raise cursor.damaged("neighbors that are not there")
    cell = cursor.doubles(12).reshape(3, 4)[:, 1:]
    cursor.doubles(12)  # reciprocal lattice
    positions = cursor.doubles(4 * n_atoms).reshape(n_atoms, 4)[:, 1:]
    centre = np.repeat(np.arange(n_atoms), n_neighbors)
    size = int((n_orbitals[centre] * n_orbitals[neighbors]).sum())
    hamiltonian = [cursor.doubles(size) for _ in range(spin_switch + 1)]
    imaginary = [cursor.doubles(size) for _ in range(3)] if spin_switch == 3 else []
    overlap = cursor.doubles(size)
    chemical_potential, n_electrons, lines = _tail(cursor, size)
    return Scfout(
        spin_switch,
        "3.9" if version == 3 else "3.7 or 3.8",
        cell,
        positions,
        n_orbitals,
        np.column_stack([cells[images], centre, neighbors]),
        hamiltonian,
        imaginary,
        overlap,
        chemical_potential,
        n_electrons,
        lines,
    )


def _tail(cursor: _Cursor, size: int) -> tuple[float, float, list[str]]:
    """Numbers and input text behind the matrices that are not read."""
    start = cursor.at
    for n_matrices in range(_MAX_MATRICES):
        cursor.at = start + 8 * size * n_matrices
        left = len(cursor.data) - cursor.at
        if left < 4 + 80 + 4:
            break
        cursor.integers(1)  # solver
        numbers, n_lines = cursor.doubles(10), int(cursor.integers(1)[0])
        if n_lines >= 0 and n_lines * _LINE == len(cursor.data) - cursor.at:
            text = [cursor.data[cursor.at + k * _LINE :][:_LINE] for k in range(n_lines)]
            lines = [line.split(b"\0")[0].decode("utf-8", errors="replace").strip() for line in text]
            return float(numbers[0]), float(numbers[8]), lines
    raise cursor.damaged("no input text where the matrices end")
