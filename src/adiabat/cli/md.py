"""``adiabat md``: molecular dynamics with a model, electrons on request."""

import json
import shlex
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from adiabat.cli.output_directory import check_output_directory
from adiabat.core.errors import ConfigError, SimulationError, nearest

if TYPE_CHECKING:
    from adiabat.data.structure import Structure
    from adiabat.simulation.settings import MdSettings


GATE_CLOSED: Final = 3
"""Exit code of a run that its gate stopped."""


class EnsembleName(StrEnum):
    """Choices of ``--ensemble``."""

    NVE = "nve"
    LANGEVIN = "langevin"


class GateAction(StrEnum):
    """Choices of ``--gate-action``."""

    STOP = "stop"
    REWIND = "rewind"


class DriveName(StrEnum):
    """Choices of ``--drive``."""

    MEAN = "mean"
    CENTRAL = "central"


def md(
    model: Annotated[Path, typer.Argument(help="File of a model, or of an uncertain model.")],
    structure: Annotated[Path, typer.Argument(help="Starting structure, in any format that adiabat reads.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Run directory.")],
    ensemble: Annotated[EnsembleName, typer.Option(help="nve, or langevin (constant T).")] = EnsembleName.NVE,
    timestep: Annotated[float, typer.Option(help="Time step [fs].")] = 0.5,
    steps: Annotated[int, typer.Option(help="Number of steps.")] = 2000,
    temperature: Annotated[float, typer.Option(help="Initial velocities and thermostat [K].")] = 300.0,
    friction: Annotated[float, typer.Option(help="Langevin friction [1/fs].")] = 0.01,
    seed: Annotated[int, typer.Option(help="Of velocities and thermostat.")] = 0,
    frame: Annotated[str, typer.Option(help="Which frame of the structure file.")] = "0",
    log_every: Annotated[int, typer.Option(help="Steps between log lines.")] = 10,
    save_every: Annotated[int, typer.Option(help="Steps between trajectory frames.")] = 10,
    restart_every: Annotated[int, typer.Option(help="Steps between restart points.")] = 100,
    follow: Annotated[
        list[str] | None,
        typer.Option(help="From the predicted Hamiltonian: gap, homo, lumo, orbital_energies, charges, dipole."),
    ] = None,
    follow_every: Annotated[int, typer.Option(help="Steps between them.")] = 20,
    gate: Annotated[
        float | None,
        typer.Option(help="Largest standard deviation of an atom's force that is trusted [eV/Å]; uncertain models."),
    ] = None,
    gate_every: Annotated[int, typer.Option(help="Steps between looks at it.")] = 1,
    gate_action: Annotated[
        GateAction, typer.Option(help="Beyond it: stop, or rewind to the last restart point with new velocities.")
    ] = GateAction.STOP,
    max_rewinds: Annotated[int, typer.Option(help="After so many rewinds, stop.")] = 20,
    drive: Annotated[
        DriveName,
        typer.Option(help="With --gate: move atoms with the mean of all members, or with the central model alone."),
    ] = DriveName.MEAN,
    bias: Annotated[
        float | None, typer.Option(help="τ: move on E − τ σ_E, towards what an uncertain model does not know.")
    ] = None,
    fidelity: Annotated[
        str | None, typer.Option(help="Level of theory to predict, of a model of several. [default: its target]")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="For a model of a difference: the level that it is added to, gfn2, … or a model file."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the run directory.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ….")] = "cpu",
) -> None:
    """Run molecular dynamics, with electronic structure on request.

    Writes trajectory.xyz, log.jsonl, electrons.jsonl (with --follow) and restart.npz into the run directory. A run
    that was stopped or killed goes on, bit for bit, with the same command and --resume.

    With --gate, frames that the model is not sure of go to gated.xyz, and what was done to gate.jsonl. A run that a
    gate stopped ends with exit code 3; it goes on with --resume and a model that was trained on those frames too.
    """
    _check_gate_options(gate, gate_every, gate_action, drive)
    settings = _settings(
        ensemble=ensemble.value,
        timestep_fs=timestep,
        steps=steps,
        temperature_K=temperature,
        friction_per_fs=friction,
        seed=seed,
        log_interval=log_every,
        trajectory_interval=save_every,
        restart_interval=restart_every,
        follow=tuple(follow or ()),
        follow_interval=follow_every,
        gate=None
        if gate is None
        else {
            "threshold": gate,
            "every": gate_every,
            "action": gate_action.value,
            "max_rewinds": max_rewinds,
            "drive": drive.value,
        },
        bias=None if bias is None else {"strength": bias},
    )

    from rich.console import Console

    from adiabat.cli.levels import at_fidelity, baseline_of
    from adiabat.models.device import compute_device
    from adiabat.simulation.md import run_md
    from adiabat.uncertainty.package import load_any_model

    console = Console(stderr=True)
    check_output_directory(output)
    where = compute_device(device)
    start = _one_structure(structure, frame)
    predictor = at_fidelity(load_any_model(model), fidelity)
    below = baseline_of(baseline)
    result = run_md(predictor, start, settings, output, resume=resume, console=console, device=where, baseline=below)
    if result.rewinds:
        typer.echo(
            f"{result.rewinds} rewinds: the ensemble is biased towards what the model knows (gate.jsonl)", err=True
        )
    if result.finished:
        typer.echo(f"{result.step} steps ({result.step * timestep:g} fs) of {start.formula} in {result.directory}")
        return
    if result.gated:
        typer.echo(_gate_message(result.directory, result.step, timestep), err=True)
        raise typer.Exit(GATE_CLOSED)
    assert result.stopped_by is not None
    command = [*sys.argv[1:], *(() if resume else ("--resume",))]
    typer.echo(
        f"stopped by {signal.Signals(result.stopped_by).name} after step {result.step}; state saved. "
        f"Go on with: adiabat {shlex.join(command)}",
        err=True,
    )
    raise typer.Exit(128 + result.stopped_by)


def _gate_message(directory: Path, step: int, timestep: float) -> str:
    """What stopped the run, and what to do."""
    last = json.loads((directory / "gate.jsonl").read_text().splitlines()[-1])
    return (
        f"the gate closed at step {step} ({step * timestep:g} fs): the force on an atom is uncertain by "
        f"{last['largest_force_uncertainty']:.3g} eV/Å ({last['action']}). Label the last frame of "
        f"{directory / 'gated.xyz'}, train further on it, and go on with the new model and --resume"
    )


def _check_gate_options(gate: float | None, every: int, action: GateAction, drive: DriveName) -> None:
    """Refuse options that would do nothing.

    Raises:
        ConfigError: an option of a gate that is not there.
    """
    given = {
        "--gate-every": every != 1,
        "--gate-action": action is not GateAction.STOP,
        "--drive central": drive is not DriveName.MEAN,
    }
    if gate is None and any(given.values()):
        option = next(name for name, is_given in given.items() if is_given)
        raise ConfigError(
            f"{option} without --gate",
            expected="a threshold in eV/Å",
            suggestion="add --gate, for instance --gate 0.3, or leave the option out",
        )


def _settings(**values: Any) -> "MdSettings":
    """Validate the options.

    Raises:
        ConfigError: a value out of range.
    """
    from pydantic import ValidationError

    from adiabat.simulation.settings import MdSettings

    try:
        return MdSettings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        suggestion = "see `adiabat md --help`"
        if name.startswith("follow."):
            suggestion = nearest(str(first["input"]), ("gap", "homo", "lumo", "orbital_energies", "charges", "dipole"))
        raise ConfigError(f"{name} = {first['input']!r}", expected=first["msg"], suggestion=suggestion) from error


def _one_structure(path: Path, frame: str) -> "Structure":
    """Read one frame without its labels.

    Raises:
        SimulationError: the slice takes more than one frame.
    """
    from adiabat.data.label_keys import LABELS
    from adiabat.data.readers import ReadOptions, read_records

    records = read_records(path, options=ReadOptions(frames=frame, skip=frozenset(LABELS)))
    if len(records) != 1:
        raise SimulationError(
            f"--frame {frame}, which takes {len(records)} frames of {path.name}",
            expected="one starting structure",
            suggestion="give one index, such as --frame 0 or --frame -1",
        )
    return records[0].structure
