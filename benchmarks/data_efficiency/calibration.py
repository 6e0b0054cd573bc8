"""How well each kind of uncertainty is calibrated and ranks errors, with its cost.

    python benchmarks/data_efficiency/calibration.py \
        --model runs/ensemble.safetensors --model runs/last_layer.safetensors \
        --calibrate train.lmdb:450:500 --test "300 K=test.lmdb" --test "600 K=hot.lmdb:3:24" -o results/calibration

Each model predicts the held-out and the test structures once, without its calibration. The held-out ones then give each
calibration, which are all tried on the test structures. Writes a Markdown and a JSON file; ± is the standard deviation
over bootstrap draws of whole structures.
"""

import argparse
import json
import platform
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from adiabat.campaigns.evaluation import evaluate
from adiabat.campaigns.spread_scoring import held_out_samples, scored
from adiabat.cli.data_source import read_source
from adiabat.data.graph import collate
from adiabat.data.record import Record
from adiabat.uncertainty import metrics
from adiabat.uncertainty.calibrated import uncalibrated
from adiabat.uncertainty.calibration import CalibrationMethod, TargetCalibration
from adiabat.uncertainty.calibration_fit import HeldOut, fit_calibration
from adiabat.uncertainty.interface import UncertainModel
from adiabat.uncertainty.package import load_uncertain_model
from adiabat.uncertainty.scores import SpreadScores

TARGETS: Final = ("energy", "forces")
METHODS: Final[tuple[tuple[str, CalibrationMethod, bool], ...]] = (
    ("none", "none", False),
    ("scaling", "scaling", False),
    ("scaling and floor", "scaling", True),
    ("conformal", "conformal", False),
)
OUTPUTS: Final = frozenset({"energy", "forces"})
N_BOOTSTRAP: Final = 200


@dataclass(frozen=True)
class Row:
    """One model on one test set and one target, in one calibration."""

    model: str
    method: str
    n_members: int
    test: str
    target: str
    calibration: str
    fitted: Mapping[str, Any]
    mae: float
    cost: float
    scores: SpreadScores
    uncertainty: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return {**self.__dict__, "scores": self.scores.to_json()}


def main() -> None:
    """Read the arguments, judge every model, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", required=True, help="name=FILE or FILE of an uncertain model")
    parser.add_argument("--calibrate", required=True, help="held-out structures, STORE[:SLICE]")
    parser.add_argument("--test", action="append", required=True, help="name=STORE[:SLICE]")
    parser.add_argument("--add", action="store_true", help="keep the other models' rows of the files that are there")
    parser.add_argument("-o", "--output", type=Path, required=True, help="path without .md and .json")
    options = parser.parse_args()
    held_out, held_out_data = read_source(options.calibrate)
    tests = {name: read_source(source) for name, source in map(named, options.test)}
    rows = rows_of(options.output.with_suffix(".json")) if options.add else []
    for name, path in map(named, options.model):
        model = uncalibrated(load_uncertain_model(path))
        rows = [row for row in rows if row.model != (name or model.method)]
        rows += judge(name or model.method, model, held_out, {test: part[0] for test, part in tests.items()})
        print(f"{name or model.method}: done", flush=True)
    results = {
        **origin(),
        "held_out": {**held_out_data, "n_structures": len(held_out)},
        "tests": {name: {**data, "n_structures": len(records)} for name, (records, data) in tests.items()},
        "rows": [row.to_json() for row in rows],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".json").write_text(json.dumps(without_paths(results), indent=1, ensure_ascii=False))
    text = markdown(results, rows)
    options.output.with_suffix(".md").write_text(text)
    print(text)


def rows_of(path: Path) -> list[Row]:
    """The rows of an earlier run with the same structures."""
    rows = json.loads(path.read_text())["rows"]
    return [Row(**{**row, "scores": SpreadScores.from_json(row["scores"])}) for row in rows]


def named(text: str) -> tuple[str, str]:
    """``name=source``, the name empty where there is none."""
    name, equals, source = text.partition("=")
    return (name, source) if equals else ("", text)


def judge(
    name: str, model: UncertainModel, held_out: Sequence[Record], tests: Mapping[str, Sequence[Record]]
) -> list[Row]:
    """Scores of one model on every test set, in every calibration."""
    cost = time_ratio(model, held_out[:10], OUTPUTS)
    known = samples(model, held_out)
    rows: list[Row] = []
    for test, records in tests.items():
        found = samples(model, records)
        for calibration_name, method, floor in METHODS:
            calibration = fit_calibration(known, method, floor=floor)
            applied = {target: apply(calibration.of(target), sample) for target, sample in found.items()}
            for target, scores in scored(applied, calibration).items():
                sample = applied[target]
                rows.append(
                    Row(
                        name, model.method, len(model.members), test, target, calibration_name,
                        fitted=calibration.of(target).model_dump(mode="json"),
                        mae=float(np.abs(sample.errors).mean()) * 1e3,
                        cost=cost,
                        scores=scores,
                        uncertainty=bootstrap(sample, calibration.of(target)),
                    )
                )  # fmt: skip
    return rows


def samples(model: UncertainModel, records: Sequence[Record]) -> dict[str, HeldOut]:
    """Errors and spreads of energies and forces."""
    surface = [replace(r, labels={k: v for k, v in r.labels.items() if k in TARGETS}) for r in records]
    return held_out_samples(evaluate(model, surface).arrays)


def apply(calibration: TargetCalibration, sample: HeldOut) -> HeldOut:
    """The sample with calibrated spreads."""
    n_atoms = torch.as_tensor(np.broadcast_to(sample.n_atoms, sample.spreads.shape).copy())
    return replace(sample, spreads=calibration.sigma(torch.as_tensor(sample.spreads), n_atoms).numpy())


def bootstrap(sample: HeldOut, calibration: TargetCalibration) -> dict[str, float | None]:
    """Standard deviations of a few scores over draws of whole structures."""
    random = np.random.default_rng(0)
    _, member = np.unique(sample.structure, return_inverse=True)
    order = np.argsort(member, kind="stable")
    values = np.split(order, np.cumsum(np.bincount(member))[:-1])
    width = calibration.half_width(0.6827)
    drawn: dict[str, list[float]] = {"rank_correlation": [], "rank_correlation_structures": [], "coverage": []}
    error_of, sigma_of = (
        metrics.grouped_root_mean_squares(part, sample.structure) for part in (sample.errors, sample.spreads)
    )
    for _ in range(N_BOOTSTRAP):
        chosen = random.integers(0, len(values), len(values))
        rows = np.concatenate([values[k] for k in chosen])
        errors, sigmas = sample.errors[rows], sample.spreads[rows]
        drawn["rank_correlation"].append(metrics.rank_correlation(errors, sigmas) or np.nan)
        drawn["rank_correlation_structures"].append(
            metrics.rank_correlation(error_of[chosen], sigma_of[chosen]) or np.nan
        )
        drawn["coverage"].append(metrics.coverage(errors, sigmas, 0.6827, width))
    return {name: float(np.std(part)) if np.isfinite(part).all() else None for name, part in drawn.items()}


def time_ratio(model: UncertainModel, records: Sequence[Record], outputs: Collection[str], repeats: int = 5) -> float:
    """Processor time with spreads over that of the central model alone; least of a few, on one batch."""
    graph = collate([model.model.graph(record.structure, outputs) for record in records])
    least = {"alone": np.inf, "with": np.inf}
    for _ in range(repeats):
        started = time.process_time()
        with torch.no_grad():
            model.model(graph, outputs)
        least["alone"] = min(least["alone"], time.process_time() - started)
        started = time.process_time()
        model.predict(graph, outputs)
        least["with"] = min(least["with"], time.process_time() - started)
    return least["with"] / least["alone"]


def origin() -> dict[str, Any]:
    """Machine, versions and commit."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    names = ("adiabat", "torch", "numpy", "scipy")
    return {
        "machine": f"{processor()}, {torch.get_num_threads()} thread",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def processor() -> str:
    """Name of the processor, without its host's."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    found = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.machine()


def without_paths(results: Mapping[str, Any]) -> dict[str, Any]:
    """The same, of files only the names."""
    text = {**results, "held_out": _named_only(results["held_out"])}
    return {**text, "tests": {name: _named_only(part) for name, part in results["tests"].items()}}


def _named_only(data: Mapping[str, Any]) -> dict[str, Any]:
    return {**data, "file": Path(data["file"]).name}


def markdown(results: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The page."""
    held_out = results["held_out"]
    software = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    parts = [
        "# Calibration of uncertainties",
        "",
        f"{results['machine']}; {software}; commit {results['commit']}; {results['date']}.",
        "",
        f"Calibrated on {held_out['n_structures']} structures that no model was trained on, though each run's best of "
        "a few checkpoints was chosen by them. ρ is Spearman's rank "
        "correlation of |error| and σ: over all values, over each atom's and over each structure's root mean squares; "
        "*ρ if right* is what normal errors of these σ would show over all values. ± is the standard deviation over "
        f"{N_BOOTSTRAP} bootstrap draws of whole structures. Cost is processor time over that of one model alone. "
        "Area is the miscalibration area (0 to 0.5). Errors, σ and CRPS in meV and meV/Å.",
    ]
    parts += ["", "## Forces in short, calibrated conformally", "", *in_short(rows)]
    for test, data in results["tests"].items():
        for target in TARGETS:
            chosen = [row for row in rows if (row.test, row.target) == (test, target)]
            if chosen:
                parts += ["", f"## {test}, {target} ({data['n_structures']} structures)", ""]
                parts += [*ranking(chosen), "", *sizes(chosen)]
    return "\n".join(parts) + "\n"


def in_short(rows: Sequence[Row]) -> list[str]:
    """One row a model and test set."""
    lines = [
        "| model | test | MAE | ρ | ρ atoms | rms error | rms σ | within 68 % | within 95 % | area | CRPS | cost |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: row.model):
        if row.target == "forces" and row.calibration == "conformal":
            scores = row.scores
            values = (
                row.model, row.test, f"{row.mae:.1f}", number(scores.rank_correlation),
                number(scores.rank_correlation_atoms), f"{scores.rmse:.1f}", f"{scores.sharpness:.1f}",
                f"{100 * scores.coverage['68.27']:.0f}", f"{100 * scores.coverage['95']:.0f}",
                f"{scores.miscalibration_area:.3f}", f"{scores.crps:.1f}", f"{row.cost:.1f} ×",
            )  # fmt: skip
            lines.append(f"| {' | '.join(values)} |")
    return lines


def ranking(rows: Sequence[Row]) -> list[str]:
    """What no calibration by a factor changes: order and cost."""
    lines = [
        "| model | members | MAE | ρ | ρ if right | ρ atoms | ρ structures | cost |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.calibration == "none":
            scores = row.scores
            values = (
                row.model, str(row.n_members), f"{row.mae:.2f}",
                with_uncertainty(scores.rank_correlation, row.uncertainty["rank_correlation"]),
                number(scores.rank_correlation_expected), number(scores.rank_correlation_atoms),
                with_uncertainty(scores.rank_correlation_structures, row.uncertainty["rank_correlation_structures"]),
                f"{row.cost:.1f} ×",
            )  # fmt: skip
            lines.append(f"| {' | '.join(values)} |")
    return lines


def sizes(rows: Sequence[Row]) -> list[str]:
    """What a calibration changes: the size of σ."""
    lines = [
        "| model | calibration | factor | rms error | rms σ | within 50 % | 68 % | 90 % | 95 % | area | ENCE | CRPS |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        scores, fitted = row.scores, row.fitted
        floor = f", floor {1e3 * fitted['floor']:.2g}" if fitted["floor"] else ""
        coverage = {level: 100 * share for level, share in scores.coverage.items()}
        unsure = row.uncertainty["coverage"]
        values = (
            row.model, row.calibration, f"{fitted['scale']:.2f}{floor}",
            f"{scores.rmse:.2f}", f"{scores.sharpness:.2f}", f"{coverage['50']:.0f}",
            f"{coverage['68.27']:.0f} ± {100 * (unsure or 0):.0f}", f"{coverage['90']:.0f}", f"{coverage['95']:.0f}",
            f"{scores.miscalibration_area:.3f}", f"{scores.ence:.2f}", f"{scores.crps:.2f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(values)} |")
    return lines


def number(value: float | None) -> str:
    """Two digits, or a dash."""
    return "–" if value is None else f"{value:.2f}"


def with_uncertainty(value: float | None, unsure: float | None) -> str:
    """Value ± its standard deviation."""
    return number(value) + ("" if unsure is None else f" ± {unsure:.2f}")


if __name__ == "__main__":
    main()
