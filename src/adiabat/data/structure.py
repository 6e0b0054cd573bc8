"""An atomic structure: what every reader produces and every model consumes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import chemical_symbols

from adiabat.core.errors import StructureError

OVERLAP_DISTANCE = 0.1
"""Å; two nuclei nearer than this are one atom written twice. The shortest bond, H₂'s, is 0.74."""


@dataclass(frozen=True, eq=False)
class Structure:
    """Nuclei, cell and electron count of one configuration.

    Attributes:
        atomic_numbers: (n_atoms,).
        positions: (n_atoms, 3) in Å.
        cell: (3, 3) in Å, rows are lattice vectors; zeros where there is none.
        pbc: (3,) whether each lattice vector is periodic.
        charge: total charge in e.
        spin: 2S, the number of unpaired electrons.
        info: free-form text and numbers from the source (``config_type``, …); never read by a model.
    """

    atomic_numbers: npt.NDArray[np.int64]
    positions: npt.NDArray[np.float64]
    cell: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((3, 3)))
    pbc: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(3, dtype=bool))
    charge: int = 0
    spin: int = 0
    info: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Check shapes, elements, finiteness, spin and the cell; distances are checked when a graph is built."""
        n_atoms = len(self.atomic_numbers)
        if n_atoms == 0:
            raise StructureError("a structure with no atoms", expected="one atom or more", suggestion="drop the frame")
        if self.positions.shape != (n_atoms, 3):
            raise StructureError(
                f"positions of shape {self.positions.shape} for {n_atoms} atoms",
                expected=f"({n_atoms}, 3)",
                suggestion="check the columns that the reader took for positions",
            )
        unknown = sorted({int(z) for z in self.atomic_numbers if not 1 <= z < len(chemical_symbols)})
        if unknown:
            raise StructureError(
                f"atomic numbers {unknown}",
                expected="elements of the periodic table (ASE reads an unknown symbol, or X, as 0)",
                suggestion="correct the symbols in the file; dummy atoms cannot be used",
            )
        if not (np.isfinite(self.positions).all() and np.isfinite(self.cell).all()):
            raise StructureError(
                "positions or a cell that are not finite numbers",
                expected="finite coordinates in Å",
                suggestion="the file is probably damaged; drop the frame",
            )
        if self.spin < 0:
            raise StructureError(
                f"{self.spin} unpaired electrons",
                expected="spin = 2S, zero or more",
                suggestion="give the number of unpaired electrons; a multiplicity 2S + 1 starts at 1",
            )
        periodic = self.cell[np.asarray(self.pbc, dtype=bool)]
        if len(periodic) and np.linalg.matrix_rank(periodic, tol=1e-6) < len(periodic):
            raise StructureError(
                f"periodic lattice vectors {periodic.tolist()} that span no volume",
                expected="linearly independent lattice vectors along periodic directions",
                suggestion="set pbc to False for a molecule, or give the cell",
            )

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.atomic_numbers)

    @property
    def symbols(self) -> list[str]:
        """Chemical symbol of each atom."""
        return [chemical_symbols[z] for z in self.atomic_numbers]

    @property
    def formula(self) -> str:
        """Empirical formula in Hill order."""
        return Atoms(numbers=self.atomic_numbers).get_chemical_formula()

    @property
    def n_electrons(self) -> int:
        """Number of electrons, core included."""
        return int(self.atomic_numbers.sum()) - self.charge

    @property
    def content_hash(self) -> str:
        """SHA-256 of what the physics depends on: nuclei, cell, periodicity, charge and spin; not ``info``."""
        digest = hashlib.sha256()
        for array, dtype in (
            (self.atomic_numbers, "<i8"),
            (self.positions, "<f8"),
            (self.cell, "<f8"),
            (self.pbc, "<i8"),
            (np.array([self.charge, self.spin]), "<i8"),
        ):
            digest.update(np.ascontiguousarray(array, dtype=dtype).tobytes())
        return digest.hexdigest()

    def pair_vectors(self, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """r_j + R·cell − r_i [Å] of pairs (n, 5) with rows (R_x, R_y, R_z, i, j): (n, 3)."""
        return self.positions[pairs[:, 4]] - self.positions[pairs[:, 3]] + pairs[:, :3] @ self.cell

    @classmethod
    def from_ase(cls, atoms: Atoms, *, charge: int | None = None, spin: int | None = None) -> "Structure":
        """Take the geometry of an ASE ``Atoms``; labels are the reader's business, not this function's.

        Args:
            atoms: its ``info`` may hold ``charge`` and ``spin`` (number of unpaired electrons).
            charge: overrides ``atoms.info['charge']``.
            spin: overrides ``atoms.info['spin']``.
        """
        plain = {
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in atoms.info.items()
            if isinstance(value, (str, bool, int, float, np.generic))
        }
        return cls(
            atomic_numbers=np.asarray(atoms.numbers, dtype=np.int64),
            positions=np.array(atoms.positions, dtype=np.float64),
            cell=np.array(atoms.cell.array, dtype=np.float64),
            pbc=np.array(atoms.pbc, dtype=bool),
            charge=int(plain.get("charge", 0)) if charge is None else charge,
            spin=int(plain.get("spin", 0)) if spin is None else spin,
            info=MappingProxyType(plain),
        )

    def to_ase(self) -> Atoms:
        """ASE ``Atoms`` with charge and spin in ``info``."""
        atoms = Atoms(numbers=self.atomic_numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)
        atoms.info.update(self.info)
        if self.charge:
            atoms.info["charge"] = self.charge
        if self.spin:
            atoms.info["spin"] = self.spin
        return atoms


def overlapping_atoms(pair: tuple[int, int], distance: float) -> StructureError:
    """Error for two nuclei at one place."""
    return StructureError(
        f"atoms {pair[0]} and {pair[1]} at a distance of {distance:.4f} Å",
        expected=f"all atoms at least {OVERLAP_DISTANCE} Å apart",
        suggestion="remove the duplicate atom, or check the cell and the periodic directions",
    )
