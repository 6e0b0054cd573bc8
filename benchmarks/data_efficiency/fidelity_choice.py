"""Ethanol at two levels: PBE labels of rMD17 at 6 CPU-s each, and GFN2-xTB, whose labels are made and timed here.

    python benchmarks/data_efficiency/fidelity_choice.py TRAIN.lmdb TEST.lmdb OUTPUT.json

At equal CPU-seconds of labels, three ways to spend them: structure and level by `campaigns.fidelity_choice`, structures
by the same gain with PBE alone, and PBE of random structures. All are judged by one linear model over both levels (or
over PBE alone) on forces of other frames. Labels are forces alone; no choice sees a label before it is bought.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from scipy.linalg import solve

from adiabat.campaigns.fidelity_choice import LevelLabels, LevelModel, choose, covariance_after, learn_levels
from adiabat.data.graph import build_graph
from adiabat.data.store import DatasetStore
from adiabat.engines.registry import create_engine
from adiabat.models.config import LinearAceConfig, ModelConfig
from adiabat.models.linear_rows import RowBuilder
from adiabat.models.model import build_model
from adiabat.training.linear_hyperparameters import smoothness

LEVELS = ("gfn2", "pbe")
PBE_SECONDS = 6.0
N_CANDIDATES, N_POOL, N_TEST, N_START = 60, 30, 60, 3
N_COMBINATIONS = 200
BUDGETS = (30.0, 60.0, 120.0)
SEEDS = (0, 1, 2)


def force_rows(structures: list) -> list[np.ndarray]:
    """Rows of forces, each weight in units of its prior."""
    config = ModelConfig(family="linear-ace", linear_ace=LinearAceConfig(degrees=(10, 7, 5)))
    model = build_model(config, (1, 6, 8))
    model.trunk.n_neighbors.fill_(8.0)
    builder = RowBuilder(model)
    shape = np.tile(smoothness(model.trunk.degrees.numpy(), 1.0), 3)
    return [builder.rows(build_graph(part, config.cutoff), {"forces"}).forces * shape for part in structures]


def predict(model: LevelModel, labels: list[LevelLabels], rows: np.ndarray) -> np.ndarray:
    """Forces of the last level, in all features."""
    features = np.concatenate([part.rows for part in labels])
    sizes = [len(part.values) for part in labels]
    weights = np.concatenate([np.tile(model.coefficients(part.level), (len(part.values), 1)) for part in labels])
    noise = np.repeat([model.noise[part.level] for part in labels], sizes)
    covariance = ((weights * model.prior) @ weights.T) * (features @ features.T) + np.diag(noise)
    along = (weights * model.prior) @ model.coefficients(model.n_levels - 1)
    return rows @ (features.T @ (along * solve(covariance, np.concatenate([p.values for p in labels]), assume_a="pos")))


def one_seed(seed: int, train: str, test: str) -> list[dict]:
    """Errors at each budget, and what was bought."""
    random = np.random.default_rng(seed)
    with DatasetStore.open(train) as store:
        frames = [store[int(i)] for i in random.choice(len(store), N_CANDIDATES + N_POOL, replace=False)]
    with DatasetStore.open(test) as store:
        judged = [store[int(i)] for i in np.linspace(0, len(store) - 1, N_TEST).astype(int)]
    engine = create_engine("gfn2")
    began = time.process_time()
    cheap = [engine.label(record.structure, ["forces"]).labels["forces"] for record in frames[:N_CANDIDATES]]
    costs = {"gfn2": (time.process_time() - began) / N_CANDIDATES, "pbe": PBE_SECONDS}
    values = {
        "gfn2": [np.asarray(forces).ravel() for forces in cheap],
        "pbe": [np.asarray(record.labels["forces"]).ravel() for record in frames[:N_CANDIDATES]],
    }
    rows = force_rows([record.structure for record in frames])
    test_rows = np.concatenate(force_rows([record.structure for record in judged]))
    truth = np.concatenate([np.asarray(record.labels["forces"]).ravel() for record in judged])
    everything = np.concatenate(rows)
    _, vectors = np.linalg.eigh(everything.T @ everything)
    few = [part @ vectors[:, -N_COMBINATIONS:] for part in rows]
    pool = np.concatenate(few[N_CANDIDATES:])

    def labels(bought: list[tuple[int, str]], features: list[np.ndarray], names: tuple[str, ...]) -> list[LevelLabels]:
        return [LevelLabels(names.index(name), features[i], values[name][i]) for i, name in bought]

    def error(bought: list[tuple[int, str]], names: tuple[str, ...]) -> float:
        model = learn_levels(labels(bought[:24], few, names), len(names))
        return float(np.abs(predict(model, labels(bought, rows, names), test_rows) - truth).mean() * 1e3)

    found = []
    for names in (LEVELS, LEVELS[1:]):
        start = [(i, name) for i in range(N_START) for name in names]
        spent = sum(costs[name] for _, name in start)
        model = learn_levels(labels(start, few, names), len(names))
        covariance = covariance_after(model, N_COMBINATIONS, labels(start, few, names))
        chosen = choose(few[:N_CANDIDATES], names, costs, model, covariance, pool, max(BUDGETS) - spent, start)
        for budget in BUDGETS:
            bought, left = list(start), budget - spent
            for label in chosen:
                if costs[label[1]] > left:
                    break
                bought.append(label)
                left -= costs[label[1]]
            way = "structure and level" if len(names) > 1 else "structure, PBE only"
            counts = {name: sum(other == name for _, other in bought) for name in names}
            found.append(
                {
                    "seed": seed,
                    "way": way,
                    "budget": budget,
                    **counts,
                    "gfn2_seconds": costs["gfn2"],
                    "mae": error(bought, names),
                }
            )
    for budget in BUDGETS:
        bought = [(int(i), "pbe") for i in random.permutation(N_CANDIDATES)[: int(budget / PBE_SECONDS)]]
        mae = error(bought, LEVELS[1:])
        found.append({"seed": seed, "way": "random, PBE only", "budget": budget, "pbe": len(bought), "mae": mae})
    return found


def main(train: str, test: str, output: str) -> None:
    """Run all seeds and write what was found, with a table."""
    results = [line for seed in SEEDS for line in one_seed(seed, train, test)]
    Path(output).write_text(json.dumps(results, indent=1) + "\n")
    print("| way | " + " | ".join(f"{budget:.0f} CPU-s" for budget in BUDGETS) + " |")
    for way in dict.fromkeys(line["way"] for line in results):
        cells = []
        for budget in BUDGETS:
            own = [line for line in results if line["way"] == way and line["budget"] == budget]
            errors = [line["mae"] for line in own]
            bought = [np.mean([line.get(name, 0) for line in own]) for name in LEVELS]
            cells.append(f"{np.mean(errors):.0f} ± {np.std(errors):.0f} ({bought[0]:.0f} + {bought[1]:.0f})")
        print(f"| {way} | " + " | ".join(cells) + " |")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_utime:.0f} s of CPU time")


if __name__ == "__main__":
    main(*sys.argv[1:])
