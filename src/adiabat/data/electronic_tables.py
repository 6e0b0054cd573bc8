"""Bands and densities of states as CSV, for spreadsheets and other programs.

Lines that start with ``#`` come first and hold what the columns do not: Fermi level, electrons, source.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import FileFormatError
from adiabat.data.band_structure import Array, BandStructure
from adiabat.data.dos_result import DensityOfStates
from adiabat.data.electronic_files import edges_from_json, edges_to_json

_HEAD: Final = "adiabat bands, CSV version 1"
_CHANNEL: Final = {1: ("",), 2: ("_up", "_down")}


def save_bands_csv(bands: BandStructure, path: Path) -> None:
    """Write bands as CSV, atomically: a line a k point, a column a band.

    Columns: ``branch``, ``label``, ``k1``, ``k2``, ``k3`` (reciprocal-lattice fractions), ``distance`` (1/Å), and
    ``E1``, ``E2``, … (eV), for collinear spins ``E1_up``, …, ``E1_down``, …. A dropped state is an empty field.
    """
    labels = {int(i): label for i, label in _labelled(bands)}
    branch_of = np.zeros(len(bands.k_frac), dtype=int)
    for number, (start, stop) in enumerate(bands.branches):
        branch_of[start:stop] = number
    rows = [
        [
            str(branch_of[k]),
            labels.get(k, ""),
            *(f"{component:.10g}" for component in bands.k_frac[k] + 0.0),
            f"{bands.distances[k]:.10g}",
            *(_energy(value) for value in bands.energies[:, k].ravel()),
        ]
        for k in range(len(bands.k_frac))
    ]
    n_channels, _, n_bands = bands.energies.shape
    columns = [f"E{band + 1}{channel}" for channel in _CHANNEL[n_channels] for band in range(n_bands)]
    head = {
        "spin": bands.spin,
        "n_electrons": bands.n_electrons,
        "fermi_level_eV": bands.fermi_level,
        "edges": None if bands.edges is None else edges_to_json(bands.edges),
        "cell": bands.cell.tolist(),
        "periodic": bands.periodic.tolist(),
        "notes": list(bands.notes),
        "metadata": dict(bands.metadata),
    }
    _write(path, _HEAD, head, ["branch", "label", "k1", "k2", "k3", "distance", *columns], rows)


def load_bands_csv(path: Path) -> BandStructure:
    """Read what :func:`save_bands_csv` wrote; weights and conditioning are in the HDF5 file only.

    Raises:
        FileFormatError: no such file, or not one of ours, or damaged, with the line.
    """
    head, columns, rows, first_line = _read(path)
    numbers = np.empty((len(rows), len(columns) - 2))
    for index, row in enumerate(rows):
        try:
            numbers[index] = [float(field) if field else np.inf for field in row[2:]]
        except ValueError as error:
            raise _damaged(path, first_line + index, str(error)) from error
    n_channels = 2 if head["spin"] == "collinear" else 1
    energies = numbers[:, 4:].reshape(len(rows), n_channels, -1).transpose(1, 0, 2)
    branch_of = np.array([int(row[0]) for row in rows])
    starts = np.flatnonzero(np.diff(branch_of, prepend=-1))
    positions, labels = _ticks(numbers[:, 3], [row[1] for row in rows])
    return BandStructure(
        k_frac=numbers[:, :3],
        distances=numbers[:, 3],
        branches=tuple(zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True)),
        tick_positions=positions,
        tick_labels=labels,
        energies=energies,
        spin=head["spin"],
        smallest_overlap=np.full(len(rows), np.nan),
        n_dropped=np.isinf(energies).sum(axis=(0, 2)),
        cell=np.array(head["cell"], dtype=np.float64),
        periodic=np.array(head["periodic"], dtype=bool),
        n_electrons=head["n_electrons"],
        fermi_level=head["fermi_level_eV"],
        edges=None if head["edges"] is None else edges_from_json(head["edges"]),
        notes=tuple(head["notes"]),
        metadata=head["metadata"],
    )


def save_dos_csv(dos: DensityOfStates, path: Path) -> None:
    """Write a density of states as CSV, atomically.

    Columns: ``energy`` (eV), ``total``, ``integrated`` (electrons), and one for each group, in states/eV/cell; for
    collinear spins each density twice, ``_up`` and ``_down``.
    """
    channels = _CHANNEL[len(dos.total)]
    densities = {"total": dos.total, **dos.projections}
    columns = ["energy", "integrated", *(f"{name}{channel}" for name in densities for channel in channels)]
    values = np.concatenate([dos.grid[None], dos.integrated[None], *densities.values()]).T
    head = {
        "unit": "energies in eV, densities in states/eV/cell",
        "method": dos.method,
        "width_eV": dos.width,
        "n_electrons": dos.n_electrons,
        "fermi_level_eV": dos.fermi_level,
        "notes": list(dos.notes),
        "metadata": dict(dos.metadata),
    }
    rows = [[f"{value:.8g}" for value in row] for row in values]
    _write(path, "adiabat density of states, CSV version 1", head, columns, rows)


def _labelled(bands: BandStructure) -> list[tuple[int, str]]:
    """The k points that have a label, with it; where the path jumps, the label of each side."""
    found: list[tuple[int, str]] = []
    for position, label in zip(bands.tick_positions, bands.tick_labels, strict=True):
        points = np.flatnonzero(np.abs(bands.distances - position) < 1e-9)
        sides = label.split("|")
        found += [(int(point), sides[min(side, len(sides) - 1)]) for side, point in enumerate(points)]
    return found


def _ticks(distances: Array, labels: Sequence[str]) -> tuple[Array, tuple[str, ...]]:
    positions: list[float] = []
    names: list[str] = []
    for distance, label in zip(distances, labels, strict=True):
        if not label:
            continue
        if positions and abs(positions[-1] - distance) < 1e-9:
            names[-1] = names[-1] if names[-1] == label else f"{names[-1]}|{label}"
        else:
            positions.append(float(distance))
            names.append(label)
    return np.array(positions), tuple(names)


def _energy(value: float) -> str:
    return f"{value:.8f}" if np.isfinite(value) else ""


def _write(path: Path, title: str, head: dict[str, Any], columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    text.write(f"# {title}\n")
    for name, value in head.items():
        text.write(f"# {name}: {json.dumps(value, ensure_ascii=False, sort_keys=True)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _read(path: Path) -> tuple[dict[str, Any], list[str], list[list[str]], int]:
    """Head, columns, rows, and the line that the rows begin on."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(
            f"{path}, which cannot be read as text ({error})",
            expected="a CSV file of bands",
            suggestion="check the path; bands.csv is written by 'adiabat bands'",
        ) from error
    if not lines or lines[0] != f"# {_HEAD}":
        raise FileFormatError(
            f"{path}, whose first line is {lines[0][:60]!r}" if lines else f"{path}, which is empty",
            expected=f"'# {_HEAD}'",
            suggestion="give bands.csv or bands.h5 of 'adiabat bands', or a store or file with a Hamiltonian",
        )
    n_head = next((k for k, line in enumerate(lines) if not line.startswith("#")), len(lines))
    head: dict[str, Any] = {}
    for number, line in enumerate(lines[1:n_head], start=2):
        name, _, text = line[2:].partition(": ")
        try:
            head[name] = json.loads(text)
        except json.JSONDecodeError as error:
            raise _damaged(path, number, str(error)) from error
    table = list(csv.reader(lines[n_head:]))
    missing = {"spin", "n_electrons", "fermi_level_eV", "edges", "cell", "periodic", "notes", "metadata"} - set(head)
    if missing or len(table) < 2 or table[0][:6] != ["branch", "label", "k1", "k2", "k3", "distance"]:
        raise _damaged(path, n_head + 1, "no table of bands" if not missing else f"no line '# {min(missing)}'")
    for number, row in enumerate(table[1:], start=n_head + 2):
        if len(row) != len(table[0]):
            raise _damaged(path, number, f"{len(row)} fields instead of {len(table[0])}")
    return head, table[0], table[1:], n_head + 2


def _damaged(path: Path, line: int, what: str) -> FileFormatError:
    return FileFormatError(
        f"line {line} of {path}: {what}",
        expected="a table of bands as 'adiabat bands' wrote it",
        suggestion="write it again; a spreadsheet may have changed it",
    )
