"""Labels needed for a force error on rMD17 ethanol: by chance, by diversity, by variance alone, by active learning.

    python active_learning.py POOL.lmdb TEST.lmdb --work runs/active -o ../results/active_learning

All strategies start from the same 10 random frames of the pool, train the same recipe, and are tested on the same
frames. What they do not share is the choice. Results are written after each training; the same command goes on.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from adiabat.campaigns.selection import SelectConfig, select
from adiabat.data.store import DatasetStore
from adiabat.models.package import load_model
from adiabat.training.config_parsing import parse_config
from adiabat.training.trainer import Trainer

START = 10
TARGET = 40.0
SIZES = {"random": (30, 48), "active": (10, 24, 36, 46), "variance": (24, 36, 46), "diversity": (30, 48, 56)}
"""Training-set sizes of each strategy, about where its error crosses the target."""
POOL_LOOKED_AT = 300
"""Candidates that the variance designs choose among, drawn at random from the pool: their cost is a pass each."""


def recipe(train: Path, test: Path, steps: int, seed: int) -> dict[str, object]:
    """benchmarks/foundation/ethanol_forces_50.yaml with l_max 2 and fewer steps."""
    return {
        "data": {"train": str(train), "test": str(test)},
        "model": {"cutoff": 5.0, "channels": 32, "l_max": 2, "layers": 2},
        "targets": {
            "energy": {"weight": 0.3, "scale": 0.112, "loss": "huber"},
            "forces": {"weight": 1.0, "scale": 1.12, "loss": "norm"},
        },
        "optimizer": {"learning_rate": 0.005, "clip_norm": 0.05},
        "schedule": {"max_steps": steps, "kind": "cosine", "final_factor": 0.001},
        "training": {"batch_size": 5, "ema_decay": 0.99, "num_threads": 1, "seed": seed, "tensorboard": False},
    }


class Study:
    """Choices, trainings and results of one seed.

    Args:
        pool: frames to choose from, labels looked at only where chosen.
        test: store to score on.
        work: folder of runs.
        seed: of the first frames, of chance, and of the weights.
        steps: of each training.
    """

    def __init__(self, pool: DatasetStore, test: Path, work: Path, seed: int, steps: int) -> None:
        self.pool, self.test, self.work, self.seed, self.steps = pool, test, work, seed, steps
        self.structures = [record.structure for record in pool]
        self.order = np.random.default_rng(seed).permutation(len(pool)).tolist()

    def run(self, strategy: str, results: dict[str, dict[str, object]], save: Callable[[], None]) -> None:
        """Choose and train at each size; what is in ``results`` already is not done again."""
        chosen = self.order[:START]
        model_path: Path | None = None
        for size in SIZES[strategy]:
            name = f"seed{self.seed}/{strategy}/{size}"
            if name in results:
                chosen = [int(index) for index in results[name]["chosen"]]
            else:
                began = time.process_time()
                chosen = self.extended(strategy, chosen, size, model_path)
                selection = time.process_time() - began
                results[name] = self.train(strategy, chosen) | {"selection_cpu_s": selection, "chosen": chosen}
                save()
                print(name, f"{results[name]['forces_mae']:.1f} meV/Å", flush=True)
            model_path = self.folder(strategy, size) / "run" / "model.safetensors"

    def extended(self, strategy: str, chosen: list[int], size: int, model_path: Path | None) -> list[int]:
        """The frames chosen so far and those that the strategy adds."""
        if strategy == "random":
            return self.order[:size]
        if size == len(chosen):
            return chosen
        free = [index for index in self.order if index not in set(chosen)]
        method = "diversity" if strategy == "diversity" else "variance"
        if method == "variance":
            free = free[:POOL_LOOKED_AT]
        model = load_model(model_path) if strategy == "active" and model_path is not None else None
        config = SelectConfig.model_validate({"method": method, "n_features": 200 if model is None else 48})
        picked = select(
            [self.structures[i] for i in free], [self.structures[i] for i in chosen], config, size - len(chosen),
            model=model, seed=self.seed,
        )  # fmt: skip
        return [*chosen, *(free[index] for index in picked)]

    def folder(self, strategy: str, size: int) -> Path:
        """Where a training keeps its files."""
        return self.work / f"seed{self.seed}" / f"{strategy}_{size}"

    def train(self, strategy: str, chosen: list[int]) -> dict[str, object]:
        """Train on the chosen frames and score."""
        folder = self.folder(strategy, len(chosen))
        store_path = folder / "train.lmdb"
        if not store_path.exists():
            with DatasetStore.create(store_path) as store:
                store.append_many(self.pool[index] for index in chosen)
        began = time.process_time()
        run = folder / "run"
        config = parse_config(recipe(store_path, self.test, self.steps, self.seed))
        resume = (run / "checkpoint.safetensors").exists()
        result = Trainer(config, run).fit(resume=resume)
        assert result.test is not None, result.reason
        return {
            "forces_mae": result.test["forces_mae"],
            "energy_mae": result.test["energy_mae"],
            "training_cpu_s": time.process_time() - began,
        }


def labels_needed(points: dict[int, float], target: float = TARGET) -> tuple[float, bool] | None:
    """N at which the error is the target, on straight lines in ln N and ln error; and whether the points enclose it."""
    if len(points) < 2:
        return None
    sizes = sorted(points)
    pairs = list(pairwise(sizes))
    a, b = next((pair for pair in pairs if points[pair[1]] <= target), pairs[-1])
    slope = np.log(points[b] / points[a]) / np.log(b / a)
    if slope >= 0:
        return None
    return float(a * (target / points[a]) ** (1 / slope)), points[b] <= target <= points[a]


def table(results: dict[str, dict[str, object]], seeds: list[int]) -> str:
    """Errors and labels needed, in Markdown."""
    sizes = sorted({int(name.split("/")[2]) for name in results})
    lines = ["| strategy | seed | " + " | ".join(f"N = {n}" for n in sizes) + " | labels for 40 meV/Å |"]
    lines.append("|---" * (len(sizes) + 3) + "|")
    for strategy in SIZES:
        for seed in seeds:
            own = {
                int(name.split("/")[2]): float(str(value["forces_mae"]))
                for name, value in results.items()
                if name.startswith(f"seed{seed}/{strategy}/")
            }
            if not own:
                continue
            found = labels_needed(own)
            needed = "" if found is None else f"{found[0]:.1f}{'' if found[1] else ' (extrapolated)'}"
            row = " | ".join(f"{own[n]:.1f}" if n in own else "" for n in sizes)
            lines.append(f"| {strategy} | {seed} | {row} | {needed} |")
    return "\n".join(lines)


def main() -> None:
    """Run all seeds and strategies, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for runs")
    parser.add_argument("-o", "--output", type=Path, required=True, help="results, without .json")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = list(range(arguments.seeds))
    path = arguments.output.with_suffix(".json")
    saved = json.loads(path.read_text()) if path.exists() else {"results": {}}
    about = {"steps": arguments.steps, "adiabat": version("adiabat"), "torch": torch.__version__,
             "machine": platform.machine(), "python": platform.python_version()}  # fmt: skip

    def save() -> None:
        path.write_text(json.dumps({"about": about, "results": saved["results"]}, indent=1) + "\n")

    with DatasetStore.open(arguments.pool) as pool:
        for seed in seeds:
            study = Study(pool, arguments.test, arguments.work, seed, arguments.steps)
            for strategy in SIZES:
                study.run(strategy, saved["results"], save)
                print(table(saved["results"], seeds), flush=True)


if __name__ == "__main__":
    main()
