"""Read a crystal demo's run directory back into plain arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adiabat.core.units import MICRO_HARTREE
from adiabat.data.band_structure import BandStructure
from adiabat.data.dos_result import DensityOfStates
from adiabat.data.electronic_files import load_bands, load_dos
from adiabat.reports.results import Array, Parity
from adiabat.reports.run_directory import read_arrays, read_json, read_json_lines, read_stage_times

_TO_MILLI_EV = {"meV": 1.0, "µHa": 1000 * MICRO_HARTREE}


@dataclass(frozen=True)
class Errors:
    """Errors of one quantity, predicted − reference [meV].

    Attributes:
        mae: mean absolute.
        rmse: root mean square.
        mean: with its sign.
        largest: absolute.
        count: number of values.
    """

    mae: float
    rmse: float
    mean: float
    largest: float
    count: int


@dataclass(frozen=True, eq=False)
class TestedCell:
    """One cell that the model was not trained on.

    Attributes:
        name: what to call it.
        folder: of its bands and densities, relative to the run's directory.
        n_atoms: atoms of the cell.
        errors: by quantity.
        bands: predicted, with the reference laid over.
        dos: predicted.
        reference_dos: of the reference.
    """

    name: str
    folder: str
    n_atoms: int
    errors: Mapping[str, Errors]
    bands: BandStructure
    dos: DensityOfStates
    reference_dos: DensityOfStates


@dataclass(frozen=True, eq=False)
class LargerCell:
    """A cell that no reference was computed for.

    Attributes:
        n_atoms: atoms.
        n_orbitals: orbitals.
        predict_seconds: time for H and S.
        solve_seconds: time for the density of states.
        dos: predicted.
    """

    n_atoms: int
    n_orbitals: int
    predict_seconds: float
    solve_seconds: float
    dos: DensityOfStates


@dataclass(frozen=True, eq=False)
class CrystalDemoResults:
    """Everything that the page shows.

    Attributes:
        run: what the run was asked for, with versions and machine, as saved.
        stages: seconds by stage, in order.
        errors: by quantity, over all tested cells.
        hamiltonian: some of the matrix elements [eV].
        same_atom: which of them lie within an atom.
        energies: bands near the Fermi level [eV].
        smallest_overlap: λ_min of S(k).
        predict_seconds: mean time to predict a tested cell's H.
        steps: (n,) optimizer steps of the validations.
        validation_error: (n,) mean absolute error of H [meV].
        cells: the tested cells, the largest last.
        larger: the cell without reference.
    """

    run: dict[str, Any]
    stages: dict[str, float]
    errors: Mapping[str, Errors]
    hamiltonian: Parity
    same_atom: npt.NDArray[np.bool_]
    energies: Parity
    smallest_overlap: float
    predict_seconds: float
    steps: Array
    validation_error: Array
    cells: list[TestedCell]
    larger: LargerCell


def load_results(directory: Path) -> CrystalDemoResults:
    """Everything that the page shows.

    Args:
        directory: a finished run of ``adiabat demo-crystal``.

    Raises:
        FileFormatError: a file of the run is missing or damaged.
    """
    run = read_json(directory / "run.json")
    metrics = read_json(directory / "evaluation" / "metrics.json")
    arrays = read_arrays(directory / "evaluation" / "arrays.npz")
    lines = read_json_lines(directory / "training" / "metrics.jsonl")
    validations = [line for line in lines if line["kind"] == "validation"]
    return CrystalDemoResults(
        run=run,
        stages=read_stage_times(directory),
        errors=_errors(metrics["errors"]),
        hamiltonian=Parity(arrays["hamiltonian_reference"], arrays["hamiltonian_predicted"]),
        same_atom=arrays["hamiltonian_same_atom"],
        energies=Parity(arrays["bands_reference"], arrays["bands_predicted"]),
        smallest_overlap=float(metrics["smallest_overlap"]),
        predict_seconds=float(metrics["seconds"]["H"]),
        steps=np.array([line["step"] for line in validations], dtype=float),
        validation_error=np.array([line["hamiltonian_mae"] for line in validations]) * _TO_MILLI_EV["µHa"],
        cells=[_cell(directory, entry, metrics["groups"][entry["name"]]) for entry in run["tested"]],
        larger=_larger(directory / "larger-cell"),
    )


def _errors(metrics: Mapping[str, Any]) -> dict[str, Errors]:
    found: dict[str, Errors] = {}
    for name, values in metrics.items():
        factor = _TO_MILLI_EV[values["unit"]]
        sizes = {key: factor * values[key] for key in ("mae", "rmse", "mean", "largest")}
        found[name] = Errors(**sizes, count=values["count"])
    return found


def _cell(directory: Path, entry: Mapping[str, Any], metrics: Mapping[str, Any]) -> TestedCell:
    folder = directory / entry["folder"]
    return TestedCell(
        name=entry["name"],
        folder=entry["folder"],
        n_atoms=entry["n_atoms"],
        errors=_errors(metrics),
        bands=load_bands(folder / "bands.h5"),
        dos=load_dos(folder / "dos.h5"),
        reference_dos=load_dos(folder / "dos_reference.h5"),
    )


def _larger(folder: Path) -> LargerCell:
    times = read_json(folder / "times.json")
    return LargerCell(
        n_atoms=times["n_atoms"],
        n_orbitals=times["n_orbitals"],
        predict_seconds=times["predict"],
        solve_seconds=times["solve"],
        dos=load_dos(folder / "dos.h5"),
    )
