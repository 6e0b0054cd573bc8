"""Candidates drawn along the normal modes of the current model."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from adiabat.campaigns.exploration.config import NormalModesSource
from adiabat.campaigns.exploration.draft import Draft, moved
from adiabat.core.atomic_file import write_atomically
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.simulation.normal_modes import NormalModes, normal_modes
from adiabat.simulation.relaxation import relax


def from_normal_modes(
    model: Model,
    starts: Sequence[Structure],
    source: NormalModesSource,
    directory: Path,
    generator: np.random.Generator,
) -> Iterator[Draft]:
    """Harmonic thermal samples; the modes of each start are kept on disk, for they take 6 n_atoms evaluations.

    Raises:
        SimulationError: a start that does not relax.
    """
    chosen = generator.permutation(len(starts))[: source.n_starts].tolist()
    modes = {index: _modes(model, starts[index], source, directory / f"modes-{index}.npz") for index in chosen}
    for temperature in source.temperatures:
        for number in range(source.n):
            index = chosen[number % len(chosen)]
            positions = modes[index].sample(
                temperature,
                generator,
                statistics=source.statistics,
                lowest_wavenumber=source.lowest_frequency,
            )
            details = {"start": index, "number": number, "temperature_K": temperature}
            yield Draft(moved(starts[index], positions), starts[index], details)


def _modes(model: Model, start: Structure, source: NormalModesSource, path: Path) -> NormalModes:
    if path.exists():
        with np.load(path, allow_pickle=False) as saved:
            relaxed = replace(start, positions=saved["positions"])
            return NormalModes(relaxed, saved["squared_frequencies"], saved["vectors"])
    modes = normal_modes(model, relax(model, start) if source.relax else start, difference=source.difference)
    data = io.BytesIO()
    np.savez(
        data,
        positions=modes.structure.positions,
        squared_frequencies=modes.squared_frequencies,
        vectors=modes.vectors,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data.getvalue())
    return modes
