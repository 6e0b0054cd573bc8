"""Candidates from molecular dynamics with the current model, gated and biased if it knows its uncertainty."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from adiabat.campaigns.exploration.config import MdSource
from adiabat.campaigns.exploration.draft import Draft
from adiabat.core.errors import SimulationError
from adiabat.data.extxyz import read_frames
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.simulation.md import FAILED_FRAME, RESTART, run_md
from adiabat.simulation.md_output import GATED, TRAJECTORY
from adiabat.simulation.settings import MdSettings
from adiabat.uncertainty.interface import UncertainModel

ENDED = "ended.txt"
"""Says that a run is over, and how: it is not begun again."""


def from_dynamics(
    model: Model | UncertainModel,
    starts: Sequence[Structure],
    source: MdSource,
    directory: Path,
    generator: np.random.Generator,
    console: Console | None = None,
) -> Iterator[Draft]:
    """Frames of runs at each temperature; a run that was killed goes on from its restart point.

    A run that breaks, or that a gate ends, gives the frames until then and, from a gate, the frame at which it closed.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM; the run is saved.
        SimulationError: a folder holds the run of another model or other settings.
    """
    for temperature in source.temperatures:
        chosen = generator.permutation(len(starts))[: source.n_starts]
        for index in chosen.tolist():
            seed = int(generator.integers(2**31))
            settings = _settings(source, temperature, seed, uncertain=isinstance(model, UncertainModel))
            run = directory / f"{temperature:g}K-{index}"
            _carry_out(model, starts[index], settings, run, console)
            yield from _frames(run, starts[index], source, {"start": index, "temperature_K": temperature})


def _settings(source: MdSource, temperature: float, seed: int, *, uncertain: bool) -> MdSettings:
    return MdSettings(
        ensemble=source.ensemble,
        timestep_fs=source.timestep_fs,
        steps=source.steps,
        temperature_K=temperature,
        friction_per_fs=source.friction_per_fs,
        seed=seed,
        log_interval=source.save_interval,
        trajectory_interval=source.save_interval,
        gate=source.gate if uncertain else None,
        bias=source.bias,
    )


def _carry_out(
    model: Model | UncertainModel, start: Structure, settings: MdSettings, run: Path, console: Console | None
) -> None:
    ended = run / ENDED
    if ended.exists():
        return
    try:
        result = run_md(model, start, settings, run, resume=(run / RESTART).exists(), console=console)
    except SimulationError as error:
        if not (run / FAILED_FRAME).exists():
            raise  # no run that broke, but one that may not go on here
        ended.write_text(f"{error.got}\n", encoding="utf-8")
        return
    if result.stopped_by is not None:
        signal.raise_signal(result.stopped_by)  # whoever else waits for it is told as well
        raise KeyboardInterrupt
    ended.write_text("gate\n" if result.gated else "finished\n", encoding="utf-8")


def _frames(run: Path, start: Structure, source: MdSource, details: dict[str, float]) -> Iterator[Draft]:
    for path in (run / TRAJECTORY, run / GATED):
        for frame in read_frames(path) if path.exists() else ():
            step = int(frame.atoms.info["step"])
            # The start itself is known, and so is what stands before the first steps to skip.
            if path.name == TRAJECTORY and (step == 0 or step < source.skip_steps):
                continue
            structure = replace(start, positions=frame.atoms.get_positions(), info={})
            yield Draft(structure, start, {**details, "step": step, "gated": path.name == GATED})
