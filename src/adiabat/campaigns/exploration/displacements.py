"""Candidates that need no model: displaced atoms, strained cells, and frames of a file."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from adiabat.campaigns.exploration.config import DisplaceSource, StrainSource, TrajectorySource
from adiabat.campaigns.exploration.draft import Draft, matching_start, moved
from adiabat.core.errors import StructureError
from adiabat.data.structure import Structure
from adiabat.data.structure_source import read_structures


def displaced(starts: Sequence[Structure], source: DisplaceSource, generator: np.random.Generator) -> Iterator[Draft]:
    """Starts with every coordinate moved by a normal random number of width rms/√3."""
    for number in range(source.n):
        index = number % len(starts)
        start = starts[index]
        positions = start.positions + _noise(source.rms, start.n_atoms, generator)
        yield Draft(moved(start, positions), start, {"start": index, "number": number})


def strained(starts: Sequence[Structure], source: StrainSource, generator: np.random.Generator) -> Iterator[Draft]:
    """Periodic starts under r → r (1 + ε), ε symmetric and within the directions that are periodic.

    Raises:
        StructureError: no start is periodic.
    """
    periodic = [index for index, start in enumerate(starts) if start.pbc.any()]
    if not periodic:
        raise StructureError(
            f"a strain of {len(starts)} molecules",
            expected="at least one start with a periodic direction",
            suggestion="leave the source `strain` out, or use `displace`",
        )
    for number in range(source.n):
        index = periodic[number % len(periodic)]
        start = starts[index]
        strain = random_strain(start, source.largest, generator)
        deformation = np.eye(3) + strain
        positions = start.positions @ deformation + _noise(source.rms, start.n_atoms, generator)
        details = {"start": index, "number": number, "strain": strain.tolist()}
        yield Draft(moved(start, positions, start.cell @ deformation), start, details)


def random_strain(start: Structure, largest: float, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """(3, 3) symmetric strain that acts only along periodic directions; components even in −largest … largest."""
    raw = generator.uniform(-largest, largest, (3, 3))
    symmetric = np.triu(raw) + np.triu(raw, 1).T
    spanning, _ = np.linalg.qr(start.cell[np.asarray(start.pbc, dtype=bool)].T)
    projector = spanning @ spanning.T
    return projector @ symmetric @ projector


def from_trajectory(starts: Sequence[Structure], source: TrajectorySource) -> Iterator[Draft]:
    """Frames of a file; each is held against the start with the same atoms, or else the file's first such frame."""
    references = list(starts)
    for number, structure in enumerate(read_structures(source.path, source.frames)):
        start = matching_start(structure, references)
        if start is None:
            references.append(start := structure)
        yield Draft(replace(structure, info={}), start, {"path": source.path, "frame": number})


def _noise(rms: float, n_atoms: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    return rms / np.sqrt(3) * generator.standard_normal((n_atoms, 3))
