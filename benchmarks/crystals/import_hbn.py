"""Turn the project's hBN set (hbn_ham, PBE/SZVP-MOLOPT-SR, CP2K) into two dataset stores by its own split.

python benchmarks/crystals/import_hbn.py ../shared/data/hbn_ham runs
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from adiabat.core.operators import BlockOperator
from adiabat.core.units import HARTREE
from adiabat.data.record import Provenance, Record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.physics.gaussian_basis import GaussianBasis

BASIS_NAME = "SZVP-MOLOPT-SR-GTH"


def record(frames: Any, index: int, basis: GaussianBasis) -> Record:
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
    n_orbitals = basis.orbital_basis.n_orbitals(numbers)
    labels = {
        "energy": np.array(frames["E"][index]),
        "forces": frames["F"][atoms],
        "stress": frames["stress"][index],
        "hamiltonian": BlockOperator.from_blocks(pairs, frames["H"][edges] * HARTREE, n_orbitals).symmetrized(),
        "overlap": BlockOperator.from_blocks(pairs, frames["S"][edges], n_orbitals).symmetrized(),
    }
    settings = {
        "xc": "pbe",
        "basis": basis.name,
        "k_points": frames["nk"][index].tolist(),
        "gaussian_basis": basis.to_json(),
    }
    provenance = Provenance(
        "cp2k", "2023.1", f"PBE/{basis.name}", settings, f"PBE/{basis.name}", orbital_basis=basis.orbital_basis
    )
    return Record(structure, labels, provenance)


def main(source: str, directory: str) -> None:
    """Write ``hbn_train.lmdb`` and ``hbn_test.lmdb``."""
    frames = np.load(Path(source) / "hbn_pbe_szvp.npz", allow_pickle=False)
    text = (Path(source) / "BASIS_SZVP").read_text()
    basis = GaussianBasis.from_text(text, BASIS_NAME, (5, 7), {5: 3.0, 7: 5.0})
    with (
        DatasetStore.create(Path(directory) / "hbn_train.lmdb") as train,
        DatasetStore.create(Path(directory) / "hbn_test.lmdb") as test,
    ):
        for index, held_out in enumerate(frames["heldout"]):
            (test if held_out else train).append(record(frames, index, basis))


if __name__ == "__main__":
    main(*sys.argv[1:])
