"""The hBN cell in tests/data: H and S from CP2K, and the bands that CP2K computed itself."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.core.units import HARTREE
from adiabat.data.record import Provenance, Record
from adiabat.data.structure import Structure

FILE = Path(__file__).resolve().parents[1] / "data" / "crystals" / "hbn_cell.npz"


@dataclass(frozen=True)
class OwnBands:
    """What CP2K says of the same cell: k, energies [eV], and the edges on its mesh [eV]."""

    k_frac: np.ndarray
    energies: np.ndarray
    vbm: float
    cbm: float
    mesh: tuple[int, int, int]


def hbn_record(valence: bool = True) -> Record:
    """The cell as a record; without ``valence`` it does not say how many electrons there are."""
    with np.load(FILE) as data:
        structure = Structure(data["numbers"], data["positions"], data["cell"], np.array([True, True, False]))
        pairs = data["pairs"].astype(np.int64)
        reverse = np.concatenate([-pairs[:, :3], pairs[:, [4, 3]]], axis=1)
        own = (pairs == reverse).all(axis=1)
        rows = np.concatenate([pairs, reverse[~own]])
        basis = OrbitalBasis("SZVP-MOLOPT-SR", {5: (0, 1, 2), 7: (0, 1, 2)}, {5: 3.0, 7: 5.0} if valence else None)
        n_orbitals = basis.n_orbitals(structure.atomic_numbers)
        labels = {
            name: BlockOperator.from_blocks(
                rows, np.concatenate([data[name], data[name][~own].swapaxes(1, 2)]) * unit, n_orbitals
            ).symmetrized()
            for name, unit in (("hamiltonian", HARTREE), ("overlap", 1.0))
        }
    provenance = Provenance("cp2k", "2023.1", "PBE/SZVP-MOLOPT-SR", orbital_basis=basis, source="hbn_cell.npz")
    return Record(structure, labels, provenance)


def own_bands() -> OwnBands:
    """CP2K's bands."""
    with np.load(FILE) as data:
        mesh = tuple(int(n) for n in data["mesh"])
        return OwnBands(data["bands_k"], data["bands"], float(data["vbm"]), float(data["cbm"]), mesh)
