"""``adiabat data``: select, subset, duplicates, noise, influence, learning-curve."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from adiabat.campaigns.curation.learning_curve import Interval
    from adiabat.campaigns.selection import SelectConfig
    from adiabat.models.model import Model


class ModelFreeMethod(StrEnum):
    """How to choose structures without uncertainties of a model."""

    VARIANCE = "variance"
    DIVERSITY = "diversity"
    ENTROPY = "entropy"
    ENVIRONMENT = "environment"
    RANDOM = "random"


MethodOption = Annotated[
    ModelFreeMethod,
    typer.Option(help="variance: what makes all forces most certain; diversity, entropy, environment: what is new."),
]
CutoffOption = Annotated[float, typer.Option(help="Radius of the environments in Å.")]
ModelOption = Annotated[Path | None, typer.Option(help="Trained model, for its last layer; else the linear family.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
SeedOption = Annotated[int, typer.Option(help="Seed of what is drawn at random.")]


def select(
    candidates: Annotated[Path, typer.Argument(help="Structures to choose from: a file or a store.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Extended XYZ file of the chosen, best first.")],
    n: Annotated[int, typer.Option("-n", help="Number to choose.")],
    labelled: Annotated[Path | None, typer.Option(help="Store of what has labels already.")] = None,
    method: MethodOption = ModelFreeMethod.VARIANCE,
    model: ModelOption = None,
    cutoff: CutoffOption = 5.0,
    seed: SeedOption = 0,
) -> None:
    """Choose which structures to label next."""
    from ase.io import iread, write
    from rich.console import Console

    from adiabat.campaigns.selection import select as choose
    from adiabat.data.store import DatasetStore
    from adiabat.data.structure import Structure

    if candidates.is_dir():
        with DatasetStore.open(candidates) as store:
            structures = [record.structure for record in store]
    else:
        structures = [Structure.from_ase(atoms) for atoms in iread(candidates, index=":")]
    known: list[Structure] = []
    if labelled is not None:
        with DatasetStore.open(labelled) as store:
            known = [record.structure for record in store]
    chosen = choose(structures, known, _config(method, cutoff), n, model=_model(model), seed=seed)
    write(output, [structures[index].to_ase() for index in chosen], format="extxyz")
    Console().print(
        f"{n} of {len(structures)} structures written to {output}: {', '.join(map(str, chosen[:12]))}"
        f"{', …' if n > 12 else ''}",
        soft_wrap=True,
    )
    Console().print(f"next: adiabat label {output}", style="dim", soft_wrap=True)


def subset(
    path: Annotated[Path, typer.Argument(help="Store.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="name.json for a split, name.lmdb for a new store.")],
    n: Annotated[int, typer.Option("-n", help="Number of frames to keep.")],
    method: MethodOption = ModelFreeMethod.VARIANCE,
    cutoff: CutoffOption = 5.0,
    seed: SeedOption = 0,
) -> None:
    """Keep the frames that stand for all, drop the rest, and say what that leaves uncovered."""
    from rich.console import Console

    from adiabat.campaigns.curation.subset import choose_subset
    from adiabat.core.errors import FileFormatError
    from adiabat.data.store import DatasetStore

    if output.suffix not in (".json", ".lmdb"):
        raise FileFormatError(
            f"output {output.name}",
            expected="a name that ends in .json, for a split, or .lmdb, for a store",
            suggestion="-o subset.json",
        )
    with DatasetStore.open(path) as store:
        found = choose_subset(list(store), n, _config(method, cutoff), seed=seed)
        if output.suffix == ".json":
            found.split(store.content_hash).save(output)
        else:
            with DatasetStore.create(output) as kept:
                kept.append_many(store[index] for index in sorted(found.kept))
    console = Console()
    console.print(f"{n} of {found.n_frames} frames kept in {output}", soft_wrap=True)
    console.print(
        f"environments with one like them among those kept: {found.covered:.1%}; "
        f"entropy {found.entropy:.2f} of {found.entropy_of_all:.2f} nats"
    )
    if found.largest_force is not None:
        console.print(f"largest force kept: {found.largest_force:.0%} of the largest of all")


def duplicates(
    path: Annotated[Path, typer.Argument(help="Store.")],
    threshold: Annotated[
        float, typer.Option(help="Root mean square deviation in Å below which frames are one.")
    ] = 0.02,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="New store, name.lmdb, with the first frame of each group.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List frames that are in a store twice: bit for bit, or turned, moved, mirrored or renumbered."""
    from rich.console import Console

    from adiabat.campaigns.curation.duplicates import find_duplicates
    from adiabat.data.store import DatasetStore

    with DatasetStore.open(path) as store:
        found = find_duplicates([record.structure for record in store], threshold)
        if output is not None:
            surplus = set(found.surplus)
            with DatasetStore.create(output) as kept:
                kept.append_many(store[index] for index in range(len(store)) if index not in surplus)
        n_frames = len(store)
    if as_json:
        typer.echo(json.dumps({"exact": found.exact, "near": found.near, "threshold": threshold}))
        return
    console = Console()
    for group in found.near:
        kind = "equal" if group in found.exact else f"within {threshold:g} Å"
        console.print(f"{kind}: frames {', '.join(map(str, group))}")
    console.print(f"{len(found.surplus)} of {n_frames} frames are there already")


def noise(
    path: Annotated[Path, typer.Argument(help="Store of one level of theory.")],
    model: ModelOption = None,
    rate: Annotated[float, typer.Option(min=0, max=1, help="False-discovery rate.")] = 0.05,
    cutoff: CutoffOption = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Name frames whose labels the other frames do not believe; exit code 1 if there are any."""
    from rich.console import Console

    from adiabat.campaigns.curation.label_noise import find_label_noise
    from adiabat.data.store import DatasetStore

    with DatasetStore.open(path) as store:
        found = find_label_noise(list(store), _model(model), rate=rate, cutoff=cutoff)
    if as_json:
        typer.echo(json.dumps({"energy": found.energy_suspects, "forces": found.force_suspects, "rate": rate}))
        raise typer.Exit(1 if found.suspects else 0)
    console = Console()
    for index in found.energy_suspects:
        console.print(f"frame {index}: energy off by {found.energy_off[index]:+.4g} eV, {found.energy[index]:.1f} σ")
    for index in found.force_suspects:
        console.print(
            f"frame {index}: forces off by {found.forces_off[index]:.4g} eV/Å, "
            f"{found.forces[index]:.1f} times the usual"
        )
    if not found.suspects:
        console.print(f"{len(found.energy)} frames, none suspected")
        return
    console.print(f"of these, at most {rate:.0%} of each kind are expected to be good; look at each before dropping it")
    raise typer.Exit(1)


def influence(
    path: Annotated[Path, typer.Argument(help="Store that the model was trained on.")],
    target: Annotated[Path, typer.Argument(help="Store with the frame whose prediction is asked about.")],
    frame: Annotated[int, typer.Option(help="Which frame of the second store.")] = 0,
    model: ModelOption = None,
    top: Annotated[int, typer.Option(min=1, help="Number of training frames to show.")] = 10,
    cutoff: CutoffOption = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Show which training frames a prediction rests on: how far it moves if one is left out."""
    from rich.console import Console
    from rich.table import Table

    from adiabat.campaigns.curation.influence import influence_on
    from adiabat.data.store import DatasetStore

    with DatasetStore.open(path) as store, DatasetStore.open(target) as asked:
        found = influence_on(list(store), asked[frame], _model(model), cutoff=cutoff)
    if as_json:
        typer.echo(
            json.dumps({"ranking": found.ranking, "energy": _plain(found.energy), "forces": _plain(found.forces)})
        )
        return
    table = Table(title=f"frame {frame} of {target.name}, without one frame of {path.name}", title_justify="left")
    for name in ("left out", "energy [meV]", "forces [meV/Å]"):
        table.add_column(name, justify="right")
    for index in found.ranking[:top]:
        table.add_row(str(index), f"{1e3 * found.energy[index]:+.3g}", f"{1e3 * found.forces[index]:.3g}")
    Console().print(table)


def learning_curve(
    target: Annotated[float, typer.Option(help="Error that is wanted, in the unit of the points (meV/Å for runs).")],
    runs: Annotated[list[Path] | None, typer.Argument(help="Runs, or their model packages, of several sizes.")] = None,
    point: Annotated[list[str] | None, typer.Option(help="A size and its error, 40:38.5; several times.")] = None,
    quantity: Annotated[str, typer.Option(help="For runs: energy, energy_per_atom, forces, hamiltonian, …")] = "forces",
    as_json: JsonOption = False,
) -> None:
    """Say how many more labels an error needs, with an interval, or that the data cannot tell."""
    from rich.console import Console

    from adiabat.campaigns.curation.learning_curve import fit_learning_curve

    pairs = [_pair(text) for text in point or ()] + [_of_run(path, quantity) for path in runs or ()]
    curve = fit_learning_curve([size for size, _ in pairs], [error for _, error in pairs])
    needed, there = curve.labels_for(target), max(curve.n_labels)
    if as_json:
        typer.echo(json.dumps({"labels": _interval(needed), "points": pairs, "target": target}))
        return
    more = max(0.0, needed.median - there)
    Console().print(
        f"{target:g} needs about {needed.median:.0f} labels (90 %: {needed.low:.0f} to {needed.high:.0f}), "
        f"{more:.0f} more than the largest run had",
        soft_wrap=True,
    )


def _config(method: ModelFreeMethod, cutoff: float) -> "SelectConfig":
    from adiabat.campaigns.selection import SelectConfig

    return SelectConfig.model_validate({"method": method.value, "cutoff": cutoff})


def _model(path: Path | None) -> "Model | None":
    from adiabat.models.package import load_model

    return None if path is None else load_model(path)


def _pair(text: str) -> tuple[float, float]:
    from adiabat.core.errors import ConfigError

    try:
        size, error = (float(part) for part in text.split(":"))
    except ValueError:
        raise ConfigError(f"point {text!r}", expected="size:error", suggestion="--point 40:38.5") from None
    return size, error


def _of_run(path: Path, quantity: str) -> tuple[float, float]:
    from adiabat.core.errors import ConfigError
    from adiabat.models.package import inspect_model

    provenance: dict[str, Any] = inspect_model(path / "model.safetensors" if path.is_dir() else path)["provenance"]
    metrics: dict[str, dict[str, float]] = provenance.get("metrics", {})
    scores = metrics.get("test") or metrics.get("validation") or {}
    if f"{quantity}_mae" not in scores:
        known = ", ".join(name.removesuffix("_mae") for name in scores if name.endswith("_mae")) or "none"
        raise ConfigError(
            f"{path} without an error of {quantity!r}",
            expected=f"a run with test or validation errors of it; this one has {known}",
            suggestion="train with data.test or data.n_validation, or give --point N:error",
        )
    return float(provenance["n_train"]), scores[f"{quantity}_mae"]


def _interval(found: "Interval") -> dict[str, float]:
    return {"median": found.median, "low": found.low, "high": found.high}


def _plain(values: Any) -> list[float | None]:
    return [None if value != value else float(value) for value in values]
