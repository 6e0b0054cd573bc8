"""Bands and densities of states in HDF5, with everything that belongs to them."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.data.band_structure import BandComparison, BandEdges, BandStructure, ReferenceBands
from adiabat.data.dos_result import DensityOfStates
from adiabat.data.result_file import read_result, write_result

BANDS: Final = "adiabat bands"
DOS: Final = "adiabat density of states"

_UNITS: Final = {
    "k_frac": "fractions of the reciprocal lattice",
    "distances": "1/Å",
    "tick_positions": "1/Å",
    "energies": "eV",
    "grid": "eV",
    "total": "states/eV/cell",
    "projections": "states/eV/cell",
    "cell": "Å",
}
_BAND_ARRAYS: Final = (
    "k_frac",
    "distances",
    "tick_positions",
    "energies",
    "smallest_overlap",
    "n_dropped",
    "cell",
    "periodic",
)


def save_bands(bands: BandStructure, path: Path) -> None:
    """Write bands to HDF5, atomically."""

    def fill(file: Any) -> None:
        for name in _BAND_ARRAYS:
            _put(file, name, getattr(bands, name))
        file["branches"] = np.array(bands.branches, dtype=np.int64)
        file.attrs["tick_labels"] = json.dumps(bands.tick_labels)
        _put_common(file, bands)
        _put_groups(file, "weights", bands.weights)
        if bands.reference is not None:
            group = file.create_group("reference")
            _put(group, "distances", bands.reference.distances)
            _put(group, "energies", bands.reference.energies)
            group.attrs["source"] = bands.reference.source
            _put_number(group, "fermi_level", bands.reference.fermi_level)
            if bands.reference.comparison is not None:
                group.attrs["comparison"] = json.dumps(asdict(bands.reference.comparison))

    write_result(path, BANDS, fill)


def load_bands(path: Path) -> BandStructure:
    """Read bands from HDF5.

    Raises:
        FileFormatError: no such file, or it is truncated, damaged or holds something else.
        SchemaVersionError: it was written under another version.
    """
    return read_result(path, BANDS, _take_bands)


def save_dos(dos: DensityOfStates, path: Path) -> None:
    """Write a density of states to HDF5, atomically."""

    def fill(file: Any) -> None:
        _put(file, "grid", dos.grid)
        _put(file, "total", dos.total)
        file.attrs["method"], file.attrs["width"] = dos.method, dos.width
        _put_common(file, dos)
        _put_groups(file, "projections", dos.projections)

    write_result(path, DOS, fill)


def load_dos(path: Path) -> DensityOfStates:
    """Read a density of states from HDF5.

    Raises:
        FileFormatError: no such file, or it is truncated, damaged or holds something else.
        SchemaVersionError: it was written under another version.
    """
    return read_result(path, DOS, _take_dos)


def _take_bands(file: Any) -> BandStructure:
    arrays: dict[str, Any] = {name: file[name][()] for name in _BAND_ARRAYS}
    return BandStructure(
        **arrays,
        branches=tuple((int(start), int(stop)) for start, stop in file["branches"][()]),
        tick_labels=tuple(json.loads(file.attrs["tick_labels"])),
        weights=_take_groups(file, "weights"),
        reference=_take_reference(file["reference"]) if "reference" in file else None,
        **_take_common(file),
    )


def _take_reference(group: Any) -> ReferenceBands:
    comparison = None
    if "comparison" in group.attrs:
        numbers: dict[str, Any] = json.loads(group.attrs["comparison"])
        numbers["window"] = tuple(numbers["window"])
        comparison = BandComparison(**numbers)
    return ReferenceBands(
        group["distances"][()],
        group["energies"][()],
        str(group.attrs["source"]),
        _take_number(group, "fermi_level"),
        comparison,
    )


def _take_dos(file: Any) -> DensityOfStates:
    return DensityOfStates(
        grid=file["grid"][()],
        total=file["total"][()],
        method=str(file.attrs["method"]),
        width=float(file.attrs["width"]),
        projections=_take_groups(file, "projections"),
        **_take_common(file),
    )


def _put(file: Any, name: str, values: npt.NDArray[Any]) -> None:
    file[name] = values
    if name in _UNITS:
        file[name].attrs["unit"] = _UNITS[name]


def _put_common(file: Any, result: BandStructure | DensityOfStates) -> None:
    file.attrs["spin"] = result.spin
    file.attrs["notes"] = json.dumps(result.notes)
    file.attrs["metadata"] = json.dumps(dict(result.metadata), sort_keys=True)
    _put_number(file, "n_electrons", result.n_electrons)
    _put_number(file, "fermi_level", result.fermi_level)
    if result.edges is not None:
        file.attrs["edges"] = json.dumps(edges_to_json(result.edges))


def _take_common(file: Any) -> dict[str, Any]:
    return {
        "spin": str(file.attrs["spin"]),
        "notes": tuple(json.loads(file.attrs["notes"])),
        "metadata": json.loads(file.attrs["metadata"]),
        "n_electrons": _take_number(file, "n_electrons"),
        "fermi_level": _take_number(file, "fermi_level"),
        "edges": edges_from_json(json.loads(file.attrs["edges"])) if "edges" in file.attrs else None,
    }


def _put_groups(file: Any, name: str, groups: Mapping[str, npt.NDArray[np.float64]]) -> None:
    if groups:
        _put(file, name, np.stack(list(groups.values())))
        file[name].attrs["groups"] = json.dumps(list(groups))


def _take_groups(file: Any, name: str) -> dict[str, npt.NDArray[np.float64]]:
    if name not in file:
        return {}
    return dict(zip(json.loads(file[name].attrs["groups"]), file[name][()], strict=True))


def _put_number(file: Any, name: str, value: float | None) -> None:
    if value is not None:
        file.attrs[name] = value


def _take_number(file: Any, name: str) -> float | None:
    return float(file.attrs[name]) if name in file.attrs else None


def edges_to_json(edges: BandEdges) -> dict[str, Any]:
    """Plain dictionary of band edges."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(edges).items()}


def edges_from_json(data: Mapping[str, Any]) -> BandEdges:
    """Inverse of :func:`edges_to_json`."""
    values: dict[str, Any] = {**data, "channels": tuple(data["channels"])}
    for name in ("k_vbm", "k_cbm", "k_direct"):
        values[name] = np.array(data[name], dtype=np.float64)
    return BandEdges(**values)
