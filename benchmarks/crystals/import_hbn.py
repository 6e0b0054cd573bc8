"""Turn the project's hBN set (hbn_ham, PBE/SZVP-MOLOPT-SR, CP2K) into two dataset stores by its own split.

python benchmarks/crystals/import_hbn.py ../shared/data/hbn_ham runs
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.core.units import HARTREE
from adiabat.data.record import Provenance, Record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure

BASIS = OrbitalBasis("SZVP-MOLOPT-SR-GTH", {5: (0, 1, 2), 7: (0, 1, 2)}, {5: 3.0, 7: 5.0})


def record(frames: Any, index: int, gaussian_basis: dict[str, Any] | None = None) -> Record:
    """One frame with all its labels."""
    edges, atoms = slice(*frames["edge_ptr"][index : index + 2]), slice(*frames["atom_ptr"][index : index + 2])
    numbers = frames["Z"][atoms].astype(np.int64)
    structure = Structure(
        numbers,
        frames["pos"][atoms],
        frames["cell"][index],
        np.array([True, True, True]),
        info={"config_type": f"{len(numbers)} atoms", "frame": index},
    )
    pairs = np.concatenate([frames["edge_R"][edges], frames["edge_index"][edges]], axis=1).astype(np.int64)
    n_orbitals = BASIS.n_orbitals(numbers)
    labels = {
        "energy": np.array(frames["E"][index]),
        "forces": frames["F"][atoms],
        "stress": frames["stress"][index],
        "hamiltonian": BlockOperator.from_blocks(pairs, frames["H"][edges] * HARTREE, n_orbitals).symmetrized(),
        "overlap": BlockOperator.from_blocks(pairs, frames["S"][edges], n_orbitals).symmetrized(),
    }
    settings: dict[str, Any] = {"xc": "pbe", "basis": BASIS.name, "k_points": frames["nk"][index].tolist()}
    if gaussian_basis is not None:
        settings["gaussian_basis"] = gaussian_basis
    provenance = Provenance("cp2k", "2023.1", "PBE/SZVP-MOLOPT-SR-GTH", settings, orbital_basis=BASIS)
    return Record(structure, labels, provenance)


def main(source: str, directory: str) -> None:
    """Write ``hbn_train.lmdb`` and ``hbn_test.lmdb``."""
    frames = np.load(Path(source) / "hbn_pbe_szvp.npz", allow_pickle=False)
    with (
        DatasetStore.create(Path(directory) / "hbn_train.lmdb") as train,
        DatasetStore.create(Path(directory) / "hbn_test.lmdb") as test,
    ):
        for index, held_out in enumerate(frames["heldout"]):
            (test if held_out else train).append(record(frames, index))


if __name__ == "__main__":
    main(*sys.argv[1:])
