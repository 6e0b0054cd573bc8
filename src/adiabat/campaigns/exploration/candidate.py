"""A structure that may be worth a label."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from adiabat.data.structure import Structure


@dataclass(frozen=True, eq=False)
class Candidate:
    """A structure that may be worth a label.

    Attributes:
        structure: nuclei, cell, charge and spin.
        source: kind of the source that made it: ``md``, ``displace``, ….
        uncertainty: largest standard deviation of an atom's force, √(σ_x² + σ_y² + σ_z²) [eV/Å]; None if no
            uncertain model was given.
        details: where exactly it comes from, as plain JSON values: start, temperature, step, ….
    """

    structure: Structure
    source: str
    uncertainty: float | None = None
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
