"""Small crystals with Hamiltonians and overlaps of the Slater–Koster engine, and quick runs on them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk, graphene

from adiabat.core.operators import Spin
from adiabat.data.record import Record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.engines.tight_binding import TightBindingEngine
from adiabat.training.config import TrainConfig
from adiabat.training.config_parsing import parse_config

TARGETS = ("hamiltonian", "overlap")


def boron_nitride(seed: int = 0, size: tuple[int, int, int] = (1, 1, 1), shake: float = 0.05) -> Structure:
    """A shaken monolayer, periodic in its plane."""
    atoms = graphene("BN", a=2.5, size=size, vacuum=None)
    atoms.set_cell([*atoms.cell.array[:2], [0.0, 0.0, 12.0]])
    atoms.rattle(shake, seed=seed)
    atoms.pbc = (True, True, False)
    return Structure.from_ase(atoms)


def gallium_arsenide(seed: int = 0, shake: float = 0.08) -> Structure:
    """A shaken zincblende cell."""
    atoms = bulk("GaAs", "zincblende", a=5.65)
    atoms.rattle(shake, seed=seed)
    return Structure.from_ase(atoms)


def crystal_records(
    n: int, *, spin: Spin = "none", targets: Sequence[str] = TARGETS, cutoff: float = 4.0
) -> list[Record]:
    """Shaken layers of two atoms, each with its labels."""
    engine = TightBindingEngine(spin=spin, cutoff=cutoff)
    return [engine.label(boron_nitride(seed), targets) for seed in range(n)]


def write_store(path: Path, records: Sequence[Record]) -> Path:
    """A store of these records."""
    with DatasetStore.create(path) as store:
        store.append_many(records)
    return path


def crystal_config(store: Path, **sections: Any) -> TrainConfig:
    """A run of seconds."""
    given: dict[str, Any] = {
        "data": {"train": str(store)},
        "model": {
            "energy": False, "cutoff": 3.5, "channels": 8, "hidden": 16, "n_bessel": 6,
            "operator": {"channels": 8, "hidden": 16, "n_bessel": 6},
        },
        "schedule": {"max_steps": 60, "warmup_steps": 5},
        "training": {"batch_size": 4, "num_threads": 1, "tensorboard": False, "dtype": "float64"},
    }  # fmt: skip
    for name, section in sections.items():
        given[name] = {**given.get(name, {}), **section}
    return parse_config(given)


def perturbed(values: np.ndarray, size: float, seed: int = 0) -> np.ndarray:
    """Values with normal noise."""
    return values + size * np.random.default_rng(seed).standard_normal(values.shape)
