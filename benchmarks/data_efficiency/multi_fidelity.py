"""Few costly labels and many cheap ones, learned in four ways: by themselves, jointly, one after the other, as a delta.

    python benchmarks/data_efficiency/multi_fidelity.py RUNS OUTPUT.json [CASE …]

RUNS holds the stores that the README of this folder says how to make. Every training that OUTPUT.json does not hold yet
is run and added to it, and a table is written beside it. A training's seed, frames and steps are in the file.
"""

import json
import platform
import resource
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from adiabat.core.atomic_file import write_atomically
from adiabat.data.difference import differences
from adiabat.data.store import DatasetStore
from adiabat.training.config_parsing import parse_config
from adiabat.training.trainer import Trainer

SURFACE: dict[str, Any] = {
    "model": {"cutoff": 5.0, "channels": 32, "l_max": 2, "layers": 2},
    "targets": {
        "energy": {"weight": 0.3, "scale": 0.112, "loss": "huber"},
        "forces": {"weight": 1.0, "scale": 1.12, "loss": "norm"},
    },
    "optimizer": {"learning_rate": 0.005, "clip_norm": 0.05},
    "training": {"batch_size": 5, "ema_decay": 0.99},
}
"""Recipe of benchmarks/foundation/ethanol_forces_50.yaml, with l_max 2 and fewer steps."""
OPERATOR: dict[str, Any] = {
    "model": {"cutoff": 5.0, "channels": 32, "l_max": 2, "layers": 2, "energy": False, "operator": {"channels": 64}},
    "targets": {"hamiltonian": {"scale": 0.001, "loss": "mae"}},
    "optimizer": {"learning_rate": 0.005, "clip_norm": 10.0},
    "training": {"batch_size": 5, "ema_decay": 0.99},
}
"""Recipe of benchmarks/foundation/water_hamiltonian.yaml, with fewer steps."""


@dataclass(frozen=True)
class Case:
    """A costly level, a cheap one, and their stores.

    Attributes:
        high: name of the costly level.
        low: of the cheap one.
        stores: train and test store of the high level, then of the low one.
        recipe: model, targets and optimizer.
        steps: of a training from random weights; fine-tuning and deltas take three quarters of them.
        budgets: numbers of high labels that all ways get.
        alone: further numbers that the high level gets by itself, to see what equals what.
        longer: numbers of high labels from which the other ways are trained three times as long as well.
        joint_from_random: also train both levels at once from random weights; else only from the cheap model.
        fine_tuning: optimizer of starts from trained weights, and of joint training from them.
        difference: optimizer of a model of the difference.
    """

    high: str
    low: str
    stores: tuple[str, str, str, str]
    recipe: dict[str, Any]
    steps: int
    budgets: tuple[int, ...] = (10, 20, 50)
    alone: tuple[int, ...] = ()
    longer: tuple[int, ...] = ()
    joint_from_random: bool = False
    fine_tuning: dict[str, Any] = field(default_factory=lambda: {"learning_rate": 0.001})
    difference: dict[str, Any] = field(default_factory=lambda: {"learning_rate": 0.002})


CASES = {
    "ethanol GFN2 → PBE": Case(
        "PBE", "GFN2", ("ethanol_ef_train", "ethanol_ef_test", "ethanol_gfn2_train", "ethanol_gfn2_test"),
        SURFACE, 2000, alone=(100, 200, 400), longer=(50,), joint_from_random=True,
    ),
    "ethanol PBE → PBE0": Case(
        "PBE0", "PBE", ("ethanol_pbe0_train", "ethanol_pbe0_test", "ethanol_ef_train", "ethanol_ef_test"),
        SURFACE, 2000,
    ),
    "water H PBE → PBE0": Case(
        "PBE0", "PBE", ("water_pbe0_train", "water_pbe0_test", "water_train", "water_test"), OPERATOR, 1500,
    ),
}  # fmt: skip


class Bench:
    """Runs what is missing, and keeps the results.

    Args:
        runs: folder of the stores and of the trainings.
        output: results.
    """

    def __init__(self, runs: Path, output: Path) -> None:
        self.runs, self.output = runs, output
        self.results: list[dict[str, Any]] = json.loads(output.read_text()) if output.exists() else []

    def case(self, name: str) -> None:
        """All trainings of one case."""
        case = CASES[name]
        high, high_test, low, low_test = (str(self.runs / f"{store}.lmdb") for store in case.stores)
        delta, delta_test = self._difference(high, low), self._difference(high_test, low_test)
        folder = self.runs / "multi_fidelity" / name.replace(" ", "_")
        cheap = self._train(name, "low level alone", 0, {"train": low, "test": low_test}, folder / "low")
        for n in case.budgets:
            few = {"path": high, "first": n, "fidelity": case.high}
            test = {"path": high_test, "fidelity": case.high}
            both = {"train": [few, {"path": low, "fidelity": case.low}], "test": test}
            levels = {"fidelities": [case.high, case.low]}
            if case.joint_from_random:
                self._train(
                    name, "joint from random", n, both, folder / f"joint_{n}", model=levels,
                    training={"target_share": 0.25},
                )  # fmt: skip
            for suffix, place, steps in (("", "", case.steps * 3 // 4), (", longer", "_longer", case.steps * 9 // 4)):
                if suffix and n not in case.longer:
                    continue
                schedule, start = {"max_steps": steps}, {"init_model": str(cheap)}
                self._train(
                    name, f"joint{suffix}", n, both, folder / f"joint_started_{n}{place}", model=levels,
                    schedule=schedule, training=start, optimizer=case.fine_tuning,
                )  # fmt: skip
                self._train(
                    name, f"fine-tuned{suffix}", n, {"train": few, "test": test}, folder / f"tuned_{n}{place}",
                    schedule=schedule, training=start, optimizer=case.fine_tuning,
                )  # fmt: skip
                self._train(
                    name, f"delta{suffix}", n, {"train": {"path": delta, "first": n}, "test": delta_test},
                    folder / f"delta_{n}{place}", schedule=schedule, optimizer=case.difference,
                )  # fmt: skip
        for n in (*case.budgets, *case.alone):
            few = {"path": high, "first": n, "fidelity": case.high}
            data = {"train": few, "test": {"path": high_test, "fidelity": case.high}}
            self._train(name, "alone", n, data, folder / f"alone_{n}")
            self._train(name, "alone, longer", n, data, folder / f"longer_{n}", schedule={"max_steps": 3 * case.steps})

    def _difference(self, high: str, low: str) -> str:
        path = self.runs / f"delta_{Path(high).stem}.lmdb"
        if not path.exists():
            with DatasetStore.open(high) as ours, DatasetStore.open(low) as theirs:
                found = differences(ours, theirs)
            with DatasetStore.create(path) as store:
                store.append_many(found.records)
        return str(path)

    def _train(self, case: str, way: str, n: int, data: dict[str, Any], folder: Path, **sections: Any) -> Path:
        """One training, unless it is done; returns its model."""
        model = folder / "model.safetensors"
        if any((row["case"], row["way"], row["n_high"]) == (case, way, n) for row in self.results):
            return model
        recipe, steps = CASES[case].recipe, CASES[case].steps
        settings: dict[str, Any] = {**recipe, "data": data}
        settings["schedule"] = {"max_steps": steps, "kind": "cosine", "final_factor": 0.001}
        plain = {"num_threads": 1, "tensorboard": False, "checkpoint_interval": steps, "log_interval": 500}
        settings["training"] = {**recipe["training"], **plain}
        for section, values in sections.items():
            settings[section] = {**settings[section], **values}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        result = Trainer(parse_config(settings), folder).fit(resume=(folder / "checkpoint.safetensors").exists())
        row = {
            "case": case, "way": way, "n_high": n, "steps": settings["schedule"]["max_steps"],
            "cpu_seconds": round(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before, 1),
            **{key: round(value, 3) for key, value in (result.test or {}).items() if key.endswith("_mae")},
        }  # fmt: skip
        self.results.append(row)
        write_atomically(self.output, (json.dumps(self.results, indent=1) + "\n").encode())
        write_atomically(self.output.with_suffix(".md"), table(self.results).encode())
        return model


UNITS = {"forces_mae": "F, meV/Å", "energy_mae": "E, meV", "hamiltonian_mae": "H, µHa"}
WORDS = """\
Each way learns from the same first frames at the costly level, and from all frames at the cheap one (1000 of rMD17
ethanol, 240 of water). **alone**: the costly labels alone. **joint**: one model of both levels, from random weights,
or started from the model of the cheap level. **fine-tuned**: the model of the cheap level, trained on. **delta**: a
model of the difference; the cheap level is then computed at prediction, which here takes its labels. **longer**: with
three times the steps. Learning rates and the target's share were chosen on training frames 900 to 999 at 20 labels of
the first case, and used for all others.

**labels saved**: how many times more costly labels alone reach the same error, against the better of the two runs
alone, interpolated between their numbers of labels on logarithmic scales; `>` where the longest list does not reach
it. PBE0 labels end at 50; errors alone there are those of PBE within a few per cent, whose list goes on."""
ALONE = ("alone", "alone, longer")
"""The costly level by itself; labels saved are counted against the better of the two."""
WAYS = (
    *ALONE,
    "joint from random",
    *(f"{way}{longer}" for way in ("joint", "fine-tuned", "delta") for longer in ("", ", longer")),
)


def table(results: list[dict[str, Any]]) -> str:
    """Errors of every way and number of labels, and how many labels alone would give the same."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("adiabat", "torch", "tblite", "pyscf"))
    lines = [
        "# Few costly labels, many cheap ones",
        "",
        "Made by `benchmarks/data_efficiency/multi_fidelity.py`; "
        f"{platform.machine()}, one thread, {versions}. One seed.",
        "",
        WORDS,
        "",
    ]
    for case in dict.fromkeys(row["case"] for row in results):
        rows = [row for row in results if row["case"] == case]
        for key in (key for key in UNITS if key in rows[0]):
            counts = sorted({row["n_high"] for row in rows if row["n_high"]})
            found = {(row["way"], row["n_high"]): row[key] for row in rows}
            lines += [f"## {case}: MAE of {UNITS[key]}", "", "| high labels | " + " | ".join(map(str, counts)) + " |"]
            lines.append("|---|" + "---|" * len(counts))
            ways = [way for way in WAYS if any(row["way"] == way for row in rows)]
            for way in ways:
                cells = [f"{found[way, n]:.1f}" if (way, n) in found else "" for n in counts]
                lines.append(f"| {way} | " + " | ".join(cells) + " |")
            curve = [
                (n, min(found[way, n] for way in ALONE if (way, n) in found)) for n in counts if ("alone", n) in found
            ]
            for way in (way for way in ways if way not in ALONE):
                cells = [ratio(curve, n, found[way, n]) if (way, n) in found else "" for n in counts]
                lines.append(f"| {way}: labels saved, × | " + " | ".join(cells) + " |")
            lines.append("")
    return "\n".join(lines) + "\n"


def ratio(curve: list[tuple[int, float]], n: int, error: float) -> str:
    """How many times n labels alone would have this error, by log–log interpolation of their curve."""
    counts, errors = np.array([point[0] for point in curve]), np.array([point[1] for point in curve])
    if len(curve) < 2 or error > errors.max():
        return "" if len(curve) < 2 else "< 1"
    if error < errors.min():
        return f"> {counts.max() / n:.1f}"
    falling = np.minimum.accumulate(errors)
    equal = np.exp(np.interp(-np.log(error), -np.log(falling), np.log(counts)))
    return f"{equal / n:.1f}"


def main(runs: str, output: str, *cases: str) -> None:
    """Run the cases named, or all."""
    bench = Bench(Path(runs), Path(output))
    for name in cases or CASES:
        bench.case(name)
    print(table(bench.results))


if __name__ == "__main__":
    main(*sys.argv[1:])
