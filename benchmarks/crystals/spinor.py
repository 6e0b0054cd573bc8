"""Train a spinor Hamiltonian on a Slater–Koster + λ L·S model and count what is left of Kramers' theorem.

    python benchmarks/crystals/spinor.py runs

Labels are of the engine ``tight-binding`` (sp orbitals, non-orthogonal, λ = 0.3 eV), not of a DFT code: distorted
gallium arsenide, which has no inversion, so that spin splits the bands everywhere but at k = −k.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk

from adiabat.core.operators import BlockOperator
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.crystal import Crystal
from adiabat.engines.tight_binding import TightBindingEngine
from adiabat.models.package import load_model
from adiabat.training.config_parsing import parse_config
from adiabat.training.trainer import Trainer

N_TRAIN, N_TEST = 40, 10
TRIM = np.array(np.meshgrid(*[[0.0, 0.5]] * 3)).reshape(3, -1).T
"""The eight k that are their own −k."""
PATH = np.linspace(TRIM[0], [0.5, 0.25, 0.75], 20)


def structures(n: int, seed: int) -> list[Structure]:
    """Two-atom cells of GaAs, strained and shaken."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        atoms = bulk("GaAs", "zincblende", a=5.65)
        strain = np.eye(3) + 0.03 * generator.standard_normal((3, 3))
        atoms.set_cell(atoms.cell.array @ ((strain + strain.T) / 2), scale_atoms=True)
        atoms.positions += 0.08 * generator.standard_normal((2, 3))
        found.append(Structure.from_ase(atoms))
    return found


def crystal(structure: Structure, hamiltonian: BlockOperator, overlap: BlockOperator) -> Crystal:
    """H and S over the pairs of both, ready to be solved."""
    pairs = np.unique(np.concatenate([hamiltonian.pairs, overlap.pairs]), axis=0)
    h, s = hamiltonian.on_pairs(pairs), overlap.on_pairs(pairs)
    return Crystal(h, s, structure.cell, structure.pbc, 8.0)


def main(directory: str) -> None:
    """Label, train for 1500 steps, and compare bands and Kramers pairs on crystals that were not learned."""
    torch.set_num_threads(1)
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    engine = TightBindingEngine(spin="spinor", spin_orbit=0.3)
    with DatasetStore.create(path / "spinor.lmdb") as store:
        for structure in structures(N_TRAIN, 0):
            store.append(engine.label(structure, ("hamiltonian", "overlap")))
    config = parse_config(
        {
            "data": {"train": str(path / "spinor.lmdb"), "n_validation": 5},
            "model": {"energy": False, "channels": 32, "operator": {"channels": 32, "hidden": 64}},
            "schedule": {"max_steps": 1500},
            "training": {"num_threads": 1},
        }
    )
    Trainer(config, path / "spinor-run").fit()
    model = load_model(path / "spinor-run" / "model.safetensors", dtype=torch.float64)
    errors, splittings, coupling, bands = [], [], [], []
    for structure in structures(N_TEST, 1):
        labels = engine.label(structure, ("hamiltonian", "overlap")).labels
        predicted, reference = model.hamiltonian(structure), labels["hamiltonian"]
        difference = predicted.on_pairs(reference.pairs).values - reference.values
        errors.append(np.abs(difference).mean())
        coupling.append(np.abs(reference.values[1]).max())
        ours, theirs = (crystal(structure, h, labels["overlap"]) for h in (predicted, reference))
        pairs = solve_bands(ours, TRIM).energies[0]
        splittings.append(float((pairs[:, 1::2] - pairs[:, 0::2]).abs().max()))
        e, r = (solve_bands(c, PATH).energies[0] for c in (ours, theirs))
        bands.append(float((e - r)[:, :12].square().mean().sqrt()))
    result = {
        "labels": "Slater–Koster + λ L·S, λ = 0.3 eV",
        "hamiltonian_mae_meV": 1e3 * float(np.mean(errors)),
        "bands_rms_meV": 1e3 * float(np.mean(bands)),
        "largest_spin_flip_element_eV": float(np.max(coupling)),
        "largest_kramers_splitting_eV": float(np.max(splittings)),
        "n_test": N_TEST,
    }
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
