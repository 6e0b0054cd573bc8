"""``adiabat model``: look into a model file without building the model."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def model() -> None:
    """Look into a model file."""


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Model file, model.safetensors of a training run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything that the file says, as JSON.")] = False,
) -> None:
    """Print what a model is: outputs, elements, size, errors, training provenance and content hash.

    Of an uncertain model also the method, its members, and what the spread of each target was calibrated on.
    """
    from adiabat.uncertainty.package import inspect_any_model

    description = inspect_any_model(path)
    if as_json:
        typer.echo(json.dumps(description, indent=2, sort_keys=True, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=path.name, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(description):
        table.add_row(name, Text(value))
    Console().print(table)


def _rows(description: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "method" in description:
        yield from _uncertainty(description)
        sizes = {name: description[name] for name in ("n_values", "bytes")}
        yield from _architecture({**description["models"][0], **sizes})
    else:
        yield from _architecture(description)
        yield from _training(description["provenance"])
    yield from _file(description)


def _uncertainty(description: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How a spread is found, from what, and what makes it a standard deviation."""
    n_models, settings = len(description["models"]), description["settings"]
    draws = f", {settings['n_draws']} draws" if "n_draws" in settings else ""
    yield "uncertainty", f"{description['method']}: {n_models} model{'s' if n_models > 1 else ''} in the file{draws}"
    for target, part in description["calibration"].items():
        if target != "data" and part["method"] != "none":
            floor = f" and a floor of {part['floor']:.3g}" if part["floor"] else ""
            yield (
                f"σ of {target}",
                f"{part['scale']:.3g} times the spread{floor}: {part['method']}, " + (f"{part['n_frames']} structures"),
            )
    data = description["calibration"]["data"]
    if data:
        yield "calibrated on", f"{data['file']}, frames {data['frames']}"
    for model in description["provenance"].get("models", ()):
        yield "made from", f"{model['file']} {model['content_hash'][:12]}"
    train = description["provenance"].get("train")
    if train:
        yield "training set", f"{train['file']}, frames {train['frames']}"
    if "out_of_distribution" in description:
        yield "knows", "which atoms are unlike the training set's"


def _architecture(description: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from ase.data import chemical_symbols

    config, reference = description["config"], description["reference"]
    yield "predicts", "energy, forces, stress" if config["energy"] else "no energy"
    if reference is not None:
        radius = config["operator"]["pair_radius"]
        reach = "all pairs of atoms" if radius is None else f"pairs within {radius} Å"
        yield "", f"Hamiltonian at {_level(reference)}, {reach}"
    yield "elements", ", ".join(chemical_symbols[z] for z in description["atomic_numbers"])
    yield "trunk", f"{config['family']}: {_sizes(config)}, cutoff {config['cutoff']} Å"
    yield "numbers", f"{description['n_values']} in {description['dtype']}, {description['bytes'] / 1e6:.2f} MB"


def _sizes(config: Mapping[str, Any]) -> str:
    if config.get("linear_ace"):
        degrees = ", ".join(str(degree) for degree in config["linear_ace"]["degrees"])
        return f"degrees {degrees} of products of 1, 2, … sums, l ≤ {config['linear_ace']['l_max']}"
    sizes = f"{config['layers']} layers of {config['channels']} channels, l ≤ {config['l_max']}"
    return f"{sizes}, products of {config['order']}"


def _level(reference: Mapping[str, Any]) -> str:
    """Level of theory of the Hamiltonian, its spin, and where the overlap comes from."""
    if reference.get("baseline", "minao") == "minao":
        return f"{reference['xc']}/{reference['basis']}, grid {reference['grid_level']}"
    spin = "" if reference["spin"] == "none" else f", {reference['spin']} spin"
    if reference["gaussian_basis"] is not None:
        overlap = "computed"
    else:
        overlap = "from tables" if reference["tabulated_overlap"] else "not known"
    return f"{reference['method'] or reference['basis']}{spin}, overlap {overlap}"


def _training(provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the trainer wrote; a model that something else made may say less."""
    from adiabat.physics.reference_energies import ReferenceEnergies
    from adiabat.training.metrics import describe

    if "n_train" in provenance:
        yield "trained on", f"{provenance['n_train']} structures of {', '.join(provenance['methods'])}"
        yield "", f"{provenance['step']} steps, {provenance['minutes']:.1f} min"
    for part, metrics in provenance.get("metrics", {}).items():
        if metrics:  # a run without validation frames has none of them
            yield f"{part} errors", f"{describe(metrics)} ({provenance[f'n_{part}']} structures)"
    if "reference_energies" in provenance.get("statistics", {}):
        yield "energies", ReferenceEnergies.from_json(provenance["statistics"]["reference_energies"]).describe()


def _file(description: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "written by", f"adiabat {description['adiabat_version']}, schema version {description['schema_version']}"
    yield "content hash", description["content_hash"]
