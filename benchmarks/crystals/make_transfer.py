"""Label the transfer tests of the hBN set with CP2K: cells larger and more strained than any that it holds.

    nice -n 5 python benchmarks/crystals/make_transfer.py ../shared/data/hbn_ham/hbn_pbe_szvp.npz /tmp/transfer

The settings are those of the set (its README): PBE, GTH, SZVP-MOLOPT-SR, 600 Ry, electrons at 300 K, 13 Å of cell.
A held-out cell of the set is computed first and compared with what is stored, so that the settings are proven.
Writes OUTPUT/supercell.lmdb, OUTPUT/strained.lmdb and OUTPUT/reproduced.json.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from adiabat.campaigns.labelling import label_structures
from adiabat.core.operators import BlockOperator
from adiabat.core.units import BOLTZMANN, HARTREE
from adiabat.data.structure import Structure
from adiabat.engines.cp2k import Cp2kEngine

TARGETS = ["energy", "forces", "stress", "hamiltonian", "overlap", "fermi_level"]
LATTICE_CONSTANT, CELL_HEIGHT, DISPLACEMENT = 2.51, 13.0, 0.04
ROOM_TEMPERATURE = 300 * BOLTZMANN


def engine(kpoints: tuple[int, int, int]) -> Cp2kEngine:
    """The settings of the set; SCF to 1e-9, which brings H to 1e-6 eV."""
    return Cp2kEngine(kpoints=kpoints, smearing=ROOM_TEMPERATURE, eps_scf=1e-9)


def layer(repeats: int, strain: np.ndarray, seed: int) -> Structure:
    """A displaced layer, its in-plane cell times (1 + strain)."""
    a = LATTICE_CONSTANT
    cell = np.array([[a, 0.0, 0.0], [-a / 2, a * np.sqrt(3) / 2, 0.0], [0.0, 0.0, CELL_HEIGHT]])
    origins = np.array([[i, j, 0] for i in range(repeats) for j in range(repeats)])
    fractions = (origins[:, None] + np.array([[0.0, 0.0, 0.0], [1 / 3, 2 / 3, 0.0]])).reshape(-1, 3)
    deformation = np.eye(3)
    deformation[:2, :2] += strain
    noise = DISPLACEMENT * np.random.default_rng(seed).standard_normal(fractions.shape)
    return Structure(
        np.tile(np.array([5, 7]), len(origins)),
        fractions @ cell @ deformation + noise,
        cell * np.array([[repeats], [repeats], [1]]) @ deformation,
        np.array([True, True, False]),
    )


def reproduced(data: dict[str, np.ndarray], frame: int) -> dict[str, float]:
    """Largest differences between the stored labels of a frame and ours."""
    atoms, edges = (slice(*data[name][frame : frame + 2]) for name in ("atom_ptr", "edge_ptr"))
    structure = Structure(
        data["Z"][atoms].astype(np.int64), data["pos"][atoms], data["cell"][frame], np.array([True, True, False])
    )
    labels = engine(tuple(int(n) for n in data["nk"][frame])).label(structure, TARGETS).labels
    pairs = np.concatenate([data["edge_R"][edges], data["edge_index"][edges]], axis=1)
    report = {
        "frame": frame,
        "energy_eV": abs(float(labels["energy"] - data["E"][frame])),
        "forces_eV_per_A": float(np.abs(labels["forces"] - data["F"][atoms]).max()),
        "stress_eV_per_A3": float(np.abs(labels["stress"] - data["stress"][frame]).max()),
    }
    for name, key, unit in (("hamiltonian_eV", "H", HARTREE), ("overlap", "S", 1.0)):
        ours = labels[name.split("_")[0]]
        assert isinstance(ours, BlockOperator)
        stored = BlockOperator.from_blocks(pairs, data[key][edges] * unit, ours.n_orbitals)
        report[name] = float(np.abs(ours.on_pairs(stored.pairs).values - stored.values).max())
    return report


def main() -> None:
    """Prove the settings, then label."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--frame", type=int, default=60, help="held-out frame of the set to reproduce")
    arguments = parser.parse_args()
    arguments.output.mkdir(exist_ok=True)
    with np.load(arguments.data, allow_pickle=False) as file:
        data = {name: file[name] for name in file}
    report = reproduced(data, arguments.frame)
    print(json.dumps(report, indent=2), flush=True)
    (arguments.output / "reproduced.json").write_text(json.dumps(report, indent=2) + "\n")
    six_percent = np.array([[0.06, 0.0], [0.0, 0.0]])
    for name, structure, kpoints in (
        ("strained", layer(2, six_percent, seed=1), (3, 3, 1)),
        ("supercell", layer(4, np.zeros((2, 2)), seed=2), (2, 2, 1)),
    ):
        store = arguments.output / f"{name}.lmdb"
        result = label_structures([structure], engine(kpoints), store, targets=TARGETS, source="make_transfer.py")
        print(name, structure.n_atoms, "atoms:", result.n_labelled + result.n_skipped, "labelled", result.failures)


if __name__ == "__main__":
    main()
