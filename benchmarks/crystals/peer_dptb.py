"""Train the peer DeePTB-E3 on the project's hBN set for so many CPU minutes, and score it; see README-peer.md.

It runs in DeePTB's own environment, not in adiabat's:

    OMP_NUM_THREADS=1 /tmp/venv-dptb/bin/python benchmarks/crystals/peer_dptb.py \
        ../shared/data/hbn_ham/hbn_pbe_szvp.npz /tmp/dptb-hbn --minutes 40 --save benchmarks/results

``--validate`` holds back every tenth training cell and scores on those: what settings are chosen by. Without it all 60
cells are learnt from, and the five held-out ones are looked at, once.
"""

import argparse
import contextlib
import json
import math
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dptb.data import AtomicData, AtomicDataDict
from dptb.nn.build import build_model
from dptb.nnops.trainer import Trainer
from dptb.utils.argcheck import normalize
from dptb.utils.tools import setup_seed
from hbn_evaluation import Prediction, evaluate, held_out_cells, training_cells
from peer_dptb_data import BASIS, convert, load, prediction, round_trip
from peer_result import circumstances, write_result

SETTINGS: dict[str, Any] = {
    "embedding": {
        "method": "slem",
        "r_max": {"B": 9.0, "N": 9.0},
        "irreps_hidden": "32x0e+32x1o+16x2e+8x3o+8x4e",
        "n_layers": 3,
        "n_radial_basis": 18,
        "avg_num_neighbors": 97,
        "tp_radial_emb": True,
    },
    "batch_size": 1,
    "lr": 0.005,
    "last_lr": 0.01,
    "seed": 0,
    "reach": 8.0,
}
"""DeePTB's published ones for a basis with d orbitals. ``last_lr`` is the fraction of ``lr`` at the end; beyond
``reach`` [Å] blocks are set to zero (README-peer.md, "Near the cutoff")."""


class TimeUpError(Exception):
    """The minutes are spent."""


class TimedTrainer(Trainer):
    """DeePTB's own trainer with a clock: CPU time of the process sets the learning rate and the end.

    DeePTB schedules by epochs alone, which cannot be known to end at a given time.
    """

    def begin(self, minutes: float, wall_minutes: float, settings: dict[str, Any], log: Path) -> None:
        """Start the clocks; each epoch adds a line to ``log``."""
        self.minutes, self.wall_minutes, self.log = minutes, wall_minutes, log
        self.lr, self.last_lr = settings["lr"], settings["last_lr"]
        self.losses: list[float] = []
        self.curve: list[dict[str, float]] = []
        self.began, self.wall_began = time.process_time(), time.perf_counter()

    def spent(self) -> float:
        """CPU minutes of training so far."""
        return (time.process_time() - self.began) / 60

    def wall(self) -> float:
        """Wall minutes of training so far."""
        return (time.perf_counter() - self.wall_began) / 60

    def iteration(self, batch: Any, ref_batch: Any = None) -> torch.Tensor:
        """One step at the learning rate of this moment: half a cosine from ``lr`` to ``last_lr`` times it."""
        share = max(self.spent() / self.minutes, self.wall() / self.wall_minutes)
        if share >= 1:
            raise TimeUpError
        decay = self.last_lr + (1 - self.last_lr) * (1 + math.cos(math.pi * share)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * decay
        loss = super().iteration(batch, ref_batch)
        self.losses.append(float(loss))
        return loss

    def epoch(self) -> None:
        """One pass over the training cells, and its mean loss [eV]."""
        super().epoch()
        row = {
            "epoch": self.ep,
            "cpu_s": 60 * self.spent(),
            "loss": float(np.mean(self.losses)),
            "iterations": self.iter,
        }
        self.curve.append({name: round(value, 6) for name, value in row.items()})
        self.losses = []
        with self.log.open("a") as file:
            file.write(json.dumps(self.curve[-1]) + "\n")


def split(frames: Any, validate: bool) -> dict[str, list[int]]:
    """Frames to learn from and frames to score on."""
    training = np.flatnonzero(frames["heldout"] == 0).tolist()
    if not validate:
        return {"learn": training, "score": np.flatnonzero(frames["heldout"]).tolist()}
    return {"learn": [f for f in training if f % 10 != 4], "score": [f for f in training if f % 10 == 4]}


def options(settings: dict[str, Any]) -> dict[str, Any]:
    """DeePTB's input file, checked and completed by DeePTB."""
    loss = {"method": "hamil_abs"}
    return normalize(
        {
            "common_options": {"basis": BASIS, "device": "cpu", "dtype": "float32", "seed": settings["seed"]},
            "model_options": {
                "embedding": settings["embedding"],
                "prediction": {"method": "e3tb", "neurons": [64, 64], **settings.get("prediction", {})},
            },
            "train_options": {
                "num_epoch": 1000000,
                "batch_size": settings["batch_size"],
                "optimizer": {"type": "Adam", "lr": settings["lr"]},
                "lr_scheduler": {"type": "exp", "gamma": 1.0},
                "loss_options": {"train": loss, "validation": loss},
            },
            "data_options": {"train": {"root": ".", "prefix": "learn", "get_Hamiltonian": True}},
        }
    )


def train(
    config: dict[str, Any], settings: dict[str, Any], directory: Path, minutes: float, wall_minutes: float
) -> tuple[Any, TimedTrainer]:
    """The model after so many CPU minutes, or wall minutes where those end first, and its trainer."""
    setup_seed(seed=config["common_options"]["seed"])
    data_set = load(config, directory, "learn")
    model = build_model(model_options=config["model_options"], common_options=config["common_options"])
    data_set.E3statistics(model=model)
    trainer = TimedTrainer(
        train_options=config["train_options"],
        common_options=config["common_options"],
        model=model,
        train_datasets=data_set,
    )
    trainer.begin(minutes, wall_minutes, settings, directory / "curve.jsonl")
    with contextlib.suppress(TimeUpError):
        trainer.run(config["train_options"]["num_epoch"])
    return model, trainer


def predict(model: Any, data_set: Any, frames: list[int]) -> dict[int, Prediction]:
    """The model's H of each cell; the labels are taken away from its input."""
    model.eval()
    predictions = {}
    for frame, item in zip(frames, data_set, strict=True):
        data = AtomicData.to_AtomicDataDict(item)
        for key in (AtomicDataDict.NODE_FEATURES_KEY, AtomicDataDict.EDGE_FEATURES_KEY):
            data[key] = torch.zeros_like(data[key])
        with torch.no_grad():
            predictions[frame] = prediction(model(data), model.idp)
    return predictions


def cut(frames: Any, predictions: dict[int, Prediction], reach: float) -> dict[int, Prediction]:
    """The same with zero for pairs of atoms that are farther apart than ``reach`` [Å]."""
    near = {}
    for frame, (pairs, blocks) in predictions.items():
        positions = frames["pos"][slice(*frames["atom_ptr"][frame : frame + 2])]
        vectors = positions[pairs[:, 4]] - positions[pairs[:, 3]] + pairs[:, :3] @ frames["cell"][frame]
        near[frame] = pairs, blocks * (np.linalg.norm(vectors, axis=1) <= reach)[:, None, None]
    return near


def run(arguments: argparse.Namespace, settings: dict[str, Any]) -> dict[str, Any]:
    """Convert, check the conversion, train, score; ``rescore`` takes the model of an earlier run instead."""
    directory = arguments.directory
    if not arguments.rescore:
        shutil.rmtree(directory, ignore_errors=True)
    frames = np.load(arguments.data, allow_pickle=False)
    parts = split(frames, arguments.validate)
    for prefix, chosen in parts.items():
        convert(frames, chosen, directory, prefix)
    score = parts["score"]
    cells = training_cells(arguments.data, score) if arguments.validate else held_out_cells(arguments.data)
    config = options(settings)
    conversion = round_trip(config, directory, "score", cells)
    if arguments.rescore:
        result = json.loads((directory / "result.json").read_text())
        model = build_model(model_options=config["model_options"], common_options=config["common_options"])
        load(config, directory, "learn").E3statistics(model=model)
        model.load_state_dict(torch.load(directory / "model.pth"))
    else:
        model, trainer = train(config, settings, directory, arguments.minutes, arguments.wall_minutes)
        result = {
            "model": "DeePTB-E3 " + settings["embedding"]["method"],
            "scored_on": "training cells held back" if arguments.validate else "held-out cells",
            **circumstances(("dptb", "torch", "e3nn", "torch_scatter", "numpy")),
            "threads": arguments.threads,
            "cpu_minutes": trainer.spent(),
            "wall_minutes": trainer.wall(),
            "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
            "n_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "n_epochs": len(trainer.curve),
            "n_steps": trainer.iter - 1,
            "n_training_cells": len(parts["learn"]),
            "curve": trainer.curve[:: max(1, len(trainer.curve) // 100)],
        }
        torch.save(model.state_dict(), directory / "model.pth")
    began = time.process_time()
    predictions = predict(model, load(config, directory, "score"), score)
    return {
        **result,
        "settings": settings,
        "conversion": conversion,
        "prediction_cpu_s": time.process_time() - began,
        "errors": evaluate(cells, cut(frames, predictions, settings["reach"])),
        "errors_without_cut": evaluate(cells, predictions),
    }


def main() -> None:
    """Run, save, print the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("directory", type=Path, help="working directory; emptied first")
    parser.add_argument("--minutes", type=float, required=True, help="CPU minutes of training, all threads together")
    parser.add_argument("--wall-minutes", type=float, default=math.inf, help="end after these if they end first")
    parser.add_argument("--threads", type=int, default=1, help="set OMP_NUM_THREADS to the same")
    parser.add_argument(
        "--settings", default="{}", help="JSON that replaces entries of SETTINGS, its embedding by entry"
    )
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--rescore", action="store_true", help="score the model that the directory holds once more")
    parser.add_argument("--save", type=Path, help="directory for crystals_peer_dptb.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    changes = json.loads(arguments.settings)
    settings = {**SETTINGS, **changes, "embedding": {**SETTINGS["embedding"], **changes.get("embedding", {})}}
    result = run(arguments, settings)
    write_result(arguments.directory / "result.json", result)
    if arguments.save and not arguments.validate:
        write_result(arguments.save / "crystals_peer_dptb.json", result)
    for name in ("errors", "errors_without_cut"):
        print(name, json.dumps({key: value for key, value in result[name].items() if key != "cells"}, indent=1))


if __name__ == "__main__":
    main()
