"""Acetylacetone hotter than its training data: frames of our own dynamics, labelled by PySCF as the data set was.

    python benchmarks/data_efficiency/make_hot_acac.py ACAC_DIRECTORY RUN_DIRECTORY

RUN_DIRECTORY holds ``acac_md600*/trajectory.xyz``, dynamics of a model trained at 300 K, at 600 K until it leaves what
it knows (see README.md). Frames at 1000 K, which such a model does not survive, come from GFN2-xTB dynamics. Labels are
PBE/def2-SVP with density fitting, plus D3(BJ) by the package dftd3 (``pip install dftd3``), less the mean difference to
the data set's own energies on three of its frames. Result: ``acac_hot.lmdb``, ``config_type`` 600K and 1000K.
"""

import sys
from dataclasses import replace
from pathlib import Path

import ase
import numpy as np
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.units import Bohr, Hartree, fs
from dftd3.interface import DispersionModel, RationalDampingParam
from tblite.ase import TBLite

from adiabat.campaigns.labelling import label_structures
from adiabat.data.record import Record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.engines.registry import create_engine

N_600, N_1000, N_OFFSET = 21, 20, 3
MD_TAIL = 3
"""Last frames of a run at 600 K that are left out: there it fell apart."""


def main(acac: Path, runs: Path) -> None:
    """Make the frames, label them, and write the store."""
    known = [read(acac / "train_300K.xyz", index=index) for index in (3, 203, 403)]
    frames = {
        "300K": [_molecule(atoms) for atoms in known],
        "600K": _model_frames(runs),
        "1000K": _hot_frames(known[0]),
    }
    structures = [
        replace(Structure.from_ase(atoms), info={"config_type": name})
        for name, group in frames.items()
        for atoms in group
    ]
    engine = create_engine("pyscf", xc="pbe", basis="def2-svp", grid_level=4, density_fit=True)
    label_structures(structures, engine, runs / "acac_hot_pbe.lmdb", targets=["energy", "forces"], on_progress=print)
    with DatasetStore.open(runs / "acac_hot_pbe.lmdb") as store:
        records = [_with_dispersion(record) for record in store]
    references = {_key(atoms): float(atoms.get_potential_energy()) for atoms in known}
    offsets = [
        float(record.labels["energy"]) - references[key]
        for record in records
        if (key := _key(record.structure)) in references
    ]
    print(f"offsets to the data set's energies: {np.array(offsets)} eV")
    assert len(offsets) == N_OFFSET
    with DatasetStore.create(runs / "acac_hot.lmdb") as store:
        for record in records:
            if record.structure.info.get("config_type") != "300K":
                labels = {**record.labels, "energy": np.asarray(record.labels["energy"] - np.mean(offsets))}
                store.append(replace(record, labels=labels))


def _key(structure: Structure | ase.Atoms) -> bytes:
    return np.round(np.asarray(structure.positions), 6).tobytes()


def _molecule(atoms: ase.Atoms) -> ase.Atoms:
    return ase.Atoms(atoms.numbers, atoms.positions)


def _model_frames(runs: Path) -> list[ase.Atoms]:
    found = [
        _molecule(atoms)
        for path in sorted(runs.glob("acac_md600*/trajectory.xyz"))
        for atoms in read(path, index=":")[3:-MD_TAIL]
    ]
    return [found[i] for i in np.unique(np.linspace(0, len(found) - 1, N_600).astype(int))]


def _hot_frames(start: ase.Atoms) -> list[ase.Atoms]:
    """Every 100 fs of GFN2-xTB Langevin dynamics at 1000 K, after 500 fs."""
    atoms = _molecule(start)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    generator = np.random.default_rng(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=1000, rng=generator)
    dynamics = Langevin(atoms, 0.5 * fs, temperature_K=1000, friction=0.01 / fs, rng=generator)
    dynamics.run(1000)
    frames = []
    for _ in range(N_1000):
        dynamics.run(200)
        frames.append(_molecule(atoms))
    return frames


def _with_dispersion(record: Record) -> Record:
    structure = record.structure
    model = DispersionModel(structure.atomic_numbers, structure.positions / Bohr)
    found = model.get_dispersion(RationalDampingParam(method="pbe"), grad=True)
    labels = {
        **record.labels,
        "energy": np.asarray(record.labels["energy"] + found["energy"] * Hartree),
        "forces": record.labels["forces"] - found["gradient"] * Hartree / Bohr,
    }
    settings = {**record.provenance.settings, "dispersion": "d3bj"}
    method = f"{record.provenance.method}-D3(BJ)"
    return Record(structure, labels, replace(record.provenance, method=method, fidelity=method, settings=settings))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
