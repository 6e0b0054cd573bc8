"""Turn the project's water set (h2o_ham, PBE/def2-SVP) into two dataset stores: index % 5 == 4 is the test set.

    python benchmarks/foundation/import_water.py ../shared/data/h2o_ham/h2o_pbe_def2svp.npz runs

The file has no H0, so it is computed here (one Fock build a frame, a few minutes in all).
"""

import sys
from pathlib import Path

import numpy as np

from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import reorder_matrix
from adiabat.core.units import HARTREE
from adiabat.data.record import Record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.physics.basis import orbital_basis
from adiabat.physics.h0 import superposed_density_hamiltonian


def main(source: str, directory: str) -> None:
    """Write ``water_train.lmdb`` and ``water_test.lmdb``."""
    frames = np.load(source, allow_pickle=False)
    engine = PyscfEngine(xc="pbe", basis="def2-svp", grid_level=5)
    numbers = frames["Z"].astype(np.int64)
    basis = orbital_basis(numbers.tolist(), engine.basis)
    shells, n_orbitals = basis.shell_sequence(numbers), basis.n_orbitals(numbers)

    def operator(matrix: np.ndarray) -> BlockOperator:
        return BlockOperator.from_dense(reorder_matrix(matrix, "pyscf", shells), n_orbitals)

    with (
        DatasetStore.create(Path(directory) / "water_train.lmdb") as train,
        DatasetStore.create(Path(directory) / "water_test.lmdb") as test,
    ):
        for index in range(len(frames["R"])):
            temperature = float(frames["T"][index])
            structure = Structure(numbers, frames["R"][index], info={"config_type": f"{temperature:.0f} K"})
            labels = {
                "energy": np.array(frames["E"][index]),
                "forces": frames["F"][index],
                "hamiltonian": operator(frames["H"][index] * HARTREE),
                "overlap": operator(frames["S"][index]),
                "density_matrix": operator(frames["D"][index]),
                "orbital_energies": frames["mo_energy"][index] * HARTREE,
                "h0": superposed_density_hamiltonian(structure, engine.xc, engine.basis, engine.grid_level),
            }
            (test if index % 5 == 4 else train).append(Record(structure, labels, engine.provenance(structure)))


if __name__ == "__main__":
    main(*sys.argv[1:])
