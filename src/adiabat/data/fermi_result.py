"""A Fermi level as it is saved and printed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import FileFormatError
from adiabat.data.band_structure import BandEdges
from adiabat.data.electronic_files import edges_from_json, edges_to_json

_FORMAT: Final = "adiabat Fermi level 1"


@dataclass(frozen=True, eq=False)
class FermiResult:
    """Where the electrons of a crystal end.

    Attributes:
        fermi_level: [eV]; the middle of the gap of an insulator.
        n_electrons: of the cell.
        edges: the gap; None for a metal, or where the method does not tell.
        method: ``diagonalization``, ``states`` (exact states at Γ of a large cell) or ``kpm``.
        low: lowest level that the error of a stochastic count allows [eV].
        high: highest such level [eV].
        homo: highest occupied energy at Γ [eV], of the method ``states``.
        lumo: lowest empty energy at Γ [eV].
        states: for each spin channel the energies around the level [eV].
        smallest_overlap: λ_min of S(k), if it was computed.
        n_dropped: states dropped as linearly dependent at one k, at most.
        notes: sentences that a reader must know.
        metadata: source, structure, settings and versions, as plain JSON values.
    """

    fermi_level: float
    n_electrons: float
    edges: BandEdges | None
    method: str
    low: float | None = None
    high: float | None = None
    homo: float | None = None
    lumo: float | None = None
    states: tuple[tuple[float, ...], ...] = ()
    smallest_overlap: float | None = None
    n_dropped: int = 0
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary; energies in eV, k in fractions of the reciprocal lattice."""
        return {
            "format": _FORMAT,
            "fermi_level": self.fermi_level,
            "n_electrons": self.n_electrons,
            "edges": None if self.edges is None else edges_to_json(self.edges),
            "method": self.method,
            "low": self.low,
            "high": self.high,
            "homo": self.homo,
            "lumo": self.lumo,
            "states": [list(channel) for channel in self.states],
            "smallest_overlap": self.smallest_overlap,
            "n_dropped": self.n_dropped,
            "notes": list(self.notes),
            "metadata": dict(self.metadata),
        }

    def save(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_atomically(path, json.dumps(self.to_json(), indent=1, ensure_ascii=False).encode())

    @classmethod
    def load(cls, path: Path) -> "FermiResult":
        """Read what :meth:`save` wrote.

        Raises:
            FileFormatError: no such file, or not one of these.
        """
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if data.pop("format") != _FORMAT:
                raise KeyError("format")
            data["edges"] = None if data["edges"] is None else edges_from_json(data["edges"])
            data["notes"] = tuple(data["notes"])
            data["states"] = tuple(tuple(float(energy) for energy in channel) for channel in data["states"])
            return cls(**data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileFormatError(
                f"{path}, which cannot be read as a Fermi level ({error})",
                expected=f"JSON of the format {_FORMAT!r}",
                suggestion="write it again with 'adiabat fermi -o'",
            ) from error
