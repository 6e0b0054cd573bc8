"""Water molecules with labels from closed formulas: springs for energy and forces, decaying overlaps for H."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.record import Provenance, Record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.training.config import TrainConfig
from adiabat.training.config_parsing import parse_config

BASIS = OrbitalBasis("toy", {1: (0,), 8: (0, 1)})
ALL_LABELS = ("energy", "forces", "hamiltonian", "h0")
_NUMBERS = np.array([8, 1, 1], dtype=np.int64)
_GEOMETRY = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


def water_records(n: int, labels: Collection[str] = ALL_LABELS, *, seed: int = 0) -> list[Record]:
    """Distorted waters with the labels asked for."""
    random = np.random.default_rng(seed)
    return [_record(_GEOMETRY + 0.08 * random.standard_normal((3, 3)), labels) for _ in range(n)]


def write_store(path: Path, records: Collection[Record]) -> Path:
    """A new store with these records."""
    with DatasetStore.create(path) as store:
        store.append_many(records)
    return path


def tiny_config(store: Path, **sections: object) -> TrainConfig:
    """A run of a few cheap steps on a store; ``sections`` are merged into the defaults section by section."""
    settings: dict[str, dict[str, object]] = {
        "data": {"train": str(store)},
        "model": {"cutoff": 3.0, "channels": 4, "l_max": 1, "layers": 1, "order": 2, "n_bessel": 4, "hidden": 8,
                  "operator": {"channels": 4, "order": 2, "hidden": 8, "n_bessel": 4}},
        "schedule": {"max_steps": 12, "warmup_steps": 2},
        "training": {"batch_size": 3, "num_threads": 1, "validation_interval": 4, "checkpoint_interval": 4,
                     "log_interval": 3, "ema_decay": 0.9, "tensorboard": False},
    }  # fmt: skip
    for name, values in sections.items():
        if isinstance(values, dict):
            settings[name] = {**settings.get(name, {}), **values}
    return parse_config(settings)


def _record(positions: np.ndarray, labels: Collection[str]) -> Record:
    energy, forces = _springs(positions)
    hamiltonian, h0 = _matrices(positions)
    values = {
        "energy": np.array(energy),
        "forces": forces,
        "hamiltonian": BlockOperator.from_dense(hamiltonian, BASIS.n_orbitals(_NUMBERS)),
        "h0": BlockOperator.from_dense(h0, BASIS.n_orbitals(_NUMBERS)),
    }
    provenance = Provenance(
        "toy", method="toy/toy", settings={"xc": "pbe", "basis": "toy", "grid_level": 3}, orbital_basis=BASIS
    )
    return Record(Structure(_NUMBERS, positions), {name: values[name] for name in labels}, provenance)


def _springs(positions: np.ndarray) -> tuple[float, np.ndarray]:
    """E = −2000 + Σ 5 (r − 1)², eV."""
    vectors = positions[None] - positions[:, None]
    distances = np.linalg.norm(vectors, axis=-1) + np.eye(3)
    pulls = 10 * (distances - 1) / distances
    return -2000.0 + 2.5 * float(((distances - 1) ** 2).sum()), (pulls[..., None] * vectors).sum(axis=1)


def _matrices(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """H0 = diag(−20, −10, …), ΔH from exp(−r²) between s orbitals and its gradient for p on oxygen; eV."""
    h0 = np.diag([-20.0, -10.0, -10.0, -10.0, -13.0, -13.0])
    delta = np.zeros((6, 6))
    s = [0, 4, 5]
    for a in range(3):
        for b in range(a):
            vector = positions[b] - positions[a]
            decay = np.exp(-(vector @ vector))
            delta[s[a], s[b]] = decay
            if b == 0:
                delta[s[a], 1:4] = decay * vector[[1, 2, 0]]
    return h0 + delta + delta.T, h0
