"""``adiabat uncertainty``: make a model that knows how far it may be off, and calibrate it."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adiabat.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from adiabat.models.model import Model
    from adiabat.uncertainty.calibration import Calibration
    from adiabat.uncertainty.interface import UncertainModel

app = typer.Typer(no_args_is_help=True, add_completion=False)


class Method(StrEnum):
    """Where the spread comes from."""

    ENSEMBLE = "ensemble"
    SHALLOW_ENSEMBLE = "shallow-ensemble"
    LAST_LAYER = "last-layer"
    LINEAR = "linear"


class How(StrEnum):
    """How a spread is made a standard deviation."""

    SCALING = "scaling"
    CONFORMAL = "conformal"
    NONE = "none"


_FRAMES = "a store or file, with a Python slice if not all frames are meant: data.lmdb:450:500"
_HOW = Annotated[How, typer.Option("--by", help="How to calibrate: by likelihood, or by quantiles of held-out errors.")]
_FLOOR = Annotated[bool, typer.Option("--floor", help="Scaling: fit an error that no spread accounts for as well.")]
_LEVELS = Annotated[str, typer.Option(help="Conformal: coverages wanted, beside one standard deviation.")]
_DEVICE = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ….")]
_DEFAULT_LEVELS = "0.5,0.9,0.95"


@app.callback()
def uncertainty() -> None:
    """Make a model that knows how far it may be off, and calibrate it."""


@app.command()
def fit(
    method: Annotated[Method, typer.Option(help="Where the spread comes from.")],
    models: Annotated[list[Path], typer.Option("--model", "-m", help="Model file; repeat for an ensemble.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the uncertain model (.safetensors).")],
    train: Annotated[
        str | None, typer.Option(help=f"The models' training set, which last-layer and linear need: {_FRAMES}.")
    ] = None,
    calibrate: Annotated[str | None, typer.Option(help=f"Held-out structures to calibrate on: {_FRAMES}.")] = None,
    by: _HOW = How.SCALING,
    floor: _FLOOR = False,
    levels: _LEVELS = _DEFAULT_LEVELS,
    draws: Annotated[int, typer.Option(help="Draws of the weights, for last-layer and linear.", min=2)] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the draws.", min=0)] = 0,
    device: _DEVICE = "cpu",
) -> None:
    """Join models, or fit a posterior to one, and calibrate the spread on structures that none was trained on.

    The file goes wherever a model file goes: evaluate, md, the ASE calculator. Without --calibrate, spreads are given
    as the method finds them. With --train, the file also tells which atoms are unlike those of the training set.
    """
    from rich.console import Console

    from adiabat.uncertainty.package import save_uncertain_model

    _check_sources(method, models, train)
    console = Console()
    model, provenance = _fitted(method, models, train, draws=draws, seed=seed, device=device)
    if calibrate is not None:
        model = _calibrated(model, calibrate, by, floor=floor, levels=levels)
        console.print(calibration_table(model.calibration))
    save_uncertain_model(model, output, provenance)
    console.print(f"{model.method} of {len(model.members)} written to {output}", highlight=False, soft_wrap=True)
    if calibrate is None:
        again = f"adiabat uncertainty calibrate {output} --data HELD_OUT"
        console.print(f"not calibrated; do so with: {again}", highlight=False, soft_wrap=True)


@app.command("calibrate")
def calibrate_file(
    path: Annotated[Path, typer.Argument(help="File of an uncertain model.")],
    data: Annotated[str, typer.Option(help=f"Held-out structures: {_FRAMES}.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; by default the file is replaced.")
    ] = None,
    by: _HOW = How.SCALING,
    floor: _FLOOR = False,
    levels: _LEVELS = _DEFAULT_LEVELS,
    device: _DEVICE = "cpu",
) -> None:
    """Calibrate an uncertain model anew; the calibration that it has is dropped."""
    from rich.console import Console

    from adiabat.models.device import compute_device
    from adiabat.uncertainty.package import inspect_uncertain_model, load_uncertain_model, save_uncertain_model

    provenance = inspect_uncertain_model(path)["provenance"]
    model = load_uncertain_model(path).to(compute_device(device))
    model = _calibrated(model, data, by, floor=floor, levels=levels)
    save_uncertain_model(model, output or path, provenance)
    console = Console()
    console.print(calibration_table(model.calibration))
    console.print(f"written to {output or path}", highlight=False, soft_wrap=True)


def _check_sources(method: Method, models: list[Path], train: str | None) -> None:
    """Refuse what cannot work before anything is loaded."""
    several = method is Method.ENSEMBLE
    if several != (len(models) > 1):
        raise ConfigError(
            f"--method {method.value} with {len(models)} model{'s' if len(models) > 1 else ''}",
            expected="two models or more" if several else "one model",
            suggestion="repeat -m for each member" if several else "--method ensemble joins several models",
        )
    if method in (Method.LAST_LAYER, Method.LINEAR) and train is None:
        raise ConfigError(
            f"--method {method.value} without --train",
            expected="the model's training set, to which the posterior is fitted",
            suggestion="give the store and frames that it was trained on: --train data.lmdb:0:450",
        )


def _fitted(
    method: Method, paths: list[Path], train: str | None, *, draws: int, seed: int, device: str
) -> "tuple[UncertainModel, dict[str, Any]]":
    from adiabat.campaigns.uncertain_models import make_uncertain, training_examples
    from adiabat.models.device import compute_device
    from adiabat.models.package import inspect_model, load_model
    from adiabat.uncertainty.last_layer_fit import LastLayerSettings

    where = compute_device(device)
    models = [load_model(path).to(where) for path in paths]
    provenance: dict[str, Any] = {
        "method": method.value,
        "models": [{"file": path.name, "content_hash": inspect_model(path)["content_hash"]} for path in paths],
    }
    examples: list[Any] = []
    if train is not None:
        from adiabat.cli.data_source import read_source

        _check_family(method, models[0])
        records, provenance["train"] = read_source(train)
        provenance["train"]["file"] = Path(provenance["train"]["file"]).name
        examples = training_examples(models[0], records, train)
    model = make_uncertain(method.value, models, examples, LastLayerSettings(n_draws=draws, seed=seed))
    if examples and method is not Method.LINEAR:
        from adiabat.uncertainty.out_of_distribution import FeatureReference

        model.out_of_distribution = FeatureReference.of(models[0], [example.graph for example in examples])
    return model, provenance


def _check_family(method: Method, model: "Model") -> None:
    linear = model.config.family == "linear-ace"
    if method in (Method.LAST_LAYER, Method.LINEAR) and linear != (method is Method.LINEAR):
        raise ConfigError(
            f"--method {method.value} for a model of family {model.config.family}",
            expected="--method linear" if linear else "--method last-layer",
            suggestion="change the method; both take the same --train",
        )


def _calibrated(model: "UncertainModel", source: str, by: How, *, floor: bool, levels: str) -> "UncertainModel":
    from rich.console import Console

    from adiabat.campaigns.calibrating import calibrate
    from adiabat.cli.data_source import read_source

    records, described = read_source(source)
    described["file"] = Path(described["file"]).name
    return calibrate(
        model, records, by.value, floor=floor, levels=_levels(levels), data=described, console=Console(stderr=True)
    )


def _levels(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"--levels {text}", expected="numbers between 0 and 1, with commas", suggestion="for instance 0.5,0.9"
        ) from error


def calibration_table(calibration: "Calibration") -> "Table":
    """One row a calibrated target."""
    from rich.table import Table

    from adiabat.campaigns.spread_table import TARGET_NAMES
    from adiabat.uncertainty.calibration import TARGETS

    table = Table(title="Calibration", title_justify="left")
    for heading in ("", "by", "σ is the spread times", "floor", "intervals, in σ", "structures", "values"):
        table.add_column(heading)
    for target in TARGETS:
        part = calibration.of(target)
        if part.method != "none":
            widths = [f"{100 * level:.3g} %: {part.half_width(level):.2f}" for level, _ in part.factors]
            floor = f"{part.floor:.3g} {_FLOOR_UNITS[target]}" if part.floor else ""
            table.add_row(
                TARGET_NAMES[target], part.method, f"{part.scale:.3f}", floor, ", ".join(widths), str(part.n_frames),
                str(part.n_values),
            )  # fmt: skip
    return table


_FLOOR_UNITS = {"energy": "eV of each atom", "forces": "eV/Å", "stress": "eV/Å³", "hamiltonian": "eV"}
