"""Write tests/data/models/v<schema version>.safetensors and …-crystal.safetensors, and what they predict.

Every released version of the model format stays in the tests as a file that must load and predict the same. Run this
once when a schema version is released; files that are there are only replaced with ``--replace``, before their release.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.engines.tight_binding import TightBindingEngine
from adiabat.models.config import ModelConfig, OperatorConfig, OperatorReference
from adiabat.models.model import Model, build_model
from adiabat.models.package import SCHEMA_VERSION, save_model
from adiabat.training.config_parsing import parse_config
from adiabat.training.setup import prepare

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "data" / "models"
CONFIG = ModelConfig(
    cutoff=4.0, channels=4, l_max=2, layers=2, order=3, n_bessel=4, hidden=8,
    operator=OperatorConfig(channels=3, order=3, hidden=6, n_bessel=4, pair_radius=4.5),
)  # fmt: skip
BASIS = OrbitalBasis("fixture", {1: (0, 0, 1), 8: (0, 0, 1, 1)})
STRUCTURES = {
    "water": Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.1], [0.8, 0.1, -0.5], [-0.7, 0.2, -0.5]])),
    "crystal": Structure(
        np.array([1, 8]),
        np.array([[0.1, 0.0, 0.2], [1.4, 1.5, 1.3]]),
        np.array([[2.8, 0.3, 0.0], [0.2, 2.9, 0.4], [0.0, -0.5, 3.0]]),
        np.ones(3, dtype=bool),
    ),
}


def main() -> None:
    """Write a molecular model and one of spinors in a crystal, each with its predictions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replace", action="store_true", help="replace a file that is there")
    replace = parser.parse_args().replace
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"v{SCHEMA_VERSION}.safetensors"
    if replace or not path.exists():
        model = random_model()
        save_model(model, path, {"made_by": "scripts/make_model_fixture.py"})
        expected = {name: prediction(model, structure) for name, structure in STRUCTURES.items()}
        path.with_suffix(".json").write_text(json.dumps(expected) + "\n")
    path = FOLDER / f"v{SCHEMA_VERSION}-crystal.safetensors"
    if replace or not path.exists():
        model, structure = crystal_model(), STRUCTURES["crystal"]
        save_model(model, path, {"made_by": "scripts/make_model_fixture.py"})
        hamiltonian = model.hamiltonian(structure)
        expected = {
            "pairs": hamiltonian.pairs.tolist(),
            "hamiltonian": [hamiltonian.values.real.tolist(), hamiltonian.values.imag.tolist()],
            "overlap": model.overlap(structure).values.tolist(),
        }
        path.with_suffix(".json").write_text(json.dumps(expected) + "\n")


def crystal_model() -> Model:
    """A float64 model of spinors whose baselines and tables of S are read from labels of the Slater–Koster engine."""
    engine = TightBindingEngine(cutoff=3.2, spin="spinor")
    generator = np.random.default_rng(0)
    base = STRUCTURES["crystal"]
    shaken = [
        Structure(base.atomic_numbers, base.positions + 0.05 * generator.standard_normal((2, 3)), base.cell, base.pbc)
        for _ in range(6)
    ]
    records = [engine.label(structure, ["hamiltonian", "overlap"]) for structure in shaken]
    with tempfile.TemporaryDirectory() as folder:
        with DatasetStore.create(Path(folder) / "data.lmdb") as store:
            store.append_many(records)
        config = parse_config(
            {
                "data": {"train": str(Path(folder) / "data.lmdb")},
                "model": {
                    "energy": False, "cutoff": 3.0, "channels": 3, "l_max": 1, "n_bessel": 3, "hidden": 4,
                    "operator": {"channels": 3, "order": 2, "hidden": 4, "n_bessel": 3},
                },
                "schedule": {"max_steps": 1},
                "training": {"dtype": "float64", "seed": 1},
            }
        )  # fmt: skip
        return prepare(config).model.eval()


def random_model() -> Model:
    """A float64 model in which every weight, scale and shift is other than its default."""
    torch.manual_seed(1)
    reference = OperatorReference(xc="pbe", basis=BASIS.name, grid_level=5, orbital_basis=BASIS.to_json())
    model = build_model(CONFIG, list(BASIS.shells), reference, dtype=torch.float64)
    assert model.energy_head is not None
    assert model.operator_head is not None
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.copy_(0.1 * torch.randn_like(parameter))
        model.trunk.n_neighbors.fill_(7.5)
        model.energy_head.reference.copy_(torch.tensor([-13.6, -2043.2]))
        model.energy_head.scale.fill_(0.7)
        model.operator_head.onsite.mean[:, 0] = 0.3
        model.operator_head.onsite.scale.fill_(0.2)
        model.operator_head.pair.amplitude.fill_(1.5)
        model.operator_head.pair.decay.fill_(0.9)
    return model.eval()


def prediction(model: Model, structure: Structure) -> dict[str, Any]:
    """The structure and all that the model gives for it, as plain JSON values."""
    periodic = bool(structure.pbc.all())
    outputs = ("energy", "forces", "stress") if periodic else ("energy", "forces")
    found = model(model.graph(structure, outputs), outputs)
    return {
        "atomic_numbers": structure.atomic_numbers.tolist(),
        "positions": structure.positions.tolist(),
        "cell": structure.cell.tolist(),
        "pbc": structure.pbc.tolist(),
        "energy": found.energy.tolist(),
        "forces": found.forces.tolist(),
        "stress": found.stress.tolist() if periodic else None,
        "hamiltonian": model.delta_hamiltonian(structure).values.tolist(),
    }


if __name__ == "__main__":
    main()
