"""What a molecular-dynamics run writes while it goes: frames, a log, the electrons that are followed, and the gate."""

import io
import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from adiabat.simulation.calculator import UNCERTAINTIES, AdiabatCalculator, largest_force_uncertainty
from adiabat.simulation.electrons import Electrons
from adiabat.simulation.run_files import AppendedFile
from adiabat.simulation.settings import MdSettings

TRAJECTORY: Final = "trajectory.xyz"
LOG: Final = "log.jsonl"
ELECTRONS: Final = "electrons.jsonl"
GATED: Final = "gated.xyz"
GATE_LOG: Final = "gate.jsonl"

LASTING: Final = frozenset({GATED, GATE_LOG})
"""Files that going back to an earlier step leaves as they are."""

_OF_ORBITALS: Final = {"gap": "gap", "homo": "homo", "lumo": "lumo", "orbital_energies": "energies"}


class MdOutput:
    """Appends to the files of one run at the intervals of its settings.

    ``trajectory.xyz`` holds frames in extended XYZ with momenta, energy and forces. Each line of ``log.jsonl``
    has step, time_fs, potential_energy, kinetic_energy, conserved_energy [eV] and temperature [K]; each line of
    ``electrons.jsonl`` has step, time_fs and the quantities followed [eV, e, e·Å]. With a model that knows its
    uncertainty, lines of the log also have energy_uncertainty [eV] and largest_force_uncertainty [eV/Å] where they were
    computed, and with a bias unbiased_energy. With a gate, ``gated.xyz`` holds the frames at which it closed, and each
    line of ``gate.jsonl`` what was done then.

    Args:
        directory: where the files are.
        settings: intervals and what to follow.
        lengths: bytes of each file to keep, by name; what lies beyond is cut off.
    """

    def __init__(self, directory: Path, settings: MdSettings, lengths: dict[str, int]) -> None:
        self.settings = settings
        names = (
            TRAJECTORY,
            LOG,
            *((ELECTRONS,) if settings.follow else ()),
            *((GATED, GATE_LOG) if settings.gate else ()),
        )
        with ExitStack() as opened:
            self.files: dict[str, AppendedFile] = {}
            for name in names:
                self.files[name] = AppendedFile(directory / name, lengths.get(name, 0))
                opened.callback(self.files[name].close)
            self._close = opened.pop_all().close

    def write(self, step: int, atoms: Atoms, calculator: AdiabatCalculator, temperature: float) -> None:
        """Write what is due at this step."""
        settings = self.settings
        if step % settings.log_interval == 0:
            self._write_line(LOG, step, self._thermodynamics(atoms, temperature) | _uncertainty(calculator))
        if step % settings.trajectory_interval == 0:
            self.files[TRAJECTORY].write(frame_text(atoms, calculator, step, step * settings.timestep_fs))
        if settings.follow and step % settings.follow_interval == 0:
            electrons = calculator.get_electrons(atoms)
            self._write_line(ELECTRONS, step, {name: _observable(electrons, name) for name in settings.follow})

    def write_gated(self, step: int, atoms: Atoms, calculator: AdiabatCalculator, decision: dict[str, Any]) -> None:
        """Write the frame at which the gate closed, and what follows from it."""
        self.files[GATED].write(frame_text(atoms, calculator, step, step * self.settings.timestep_fs))
        self._write_line(GATE_LOG, step, _uncertainty(calculator) | decision)

    def cut_back(self, lengths: Mapping[str, int]) -> None:
        """Forget what was written since, except what the gate wrote."""
        for name, file in self.files.items():
            if name not in LASTING:
                file.cut(lengths.get(name, 0))

    def sync(self) -> dict[str, int]:
        """Force everything to disk; returns the length of each file in bytes."""
        return {name: file.sync() for name, file in self.files.items()}

    def close(self) -> None:
        """Close the files."""
        self._close()

    def _write_line(self, name: str, step: int, values: dict[str, Any]) -> None:
        time = {"step": step, "time_fs": step * self.settings.timestep_fs}
        self.files[name].write(json.dumps(time | values) + "\n")

    def _thermodynamics(self, atoms: Atoms, temperature: float) -> dict[str, Any]:
        potential, kinetic = float(atoms.get_potential_energy()), float(atoms.get_kinetic_energy())
        return {
            "potential_energy": potential,
            "kinetic_energy": kinetic,
            "temperature": temperature,
            # A thermostat exchanges heat that ASE does not count, so only NVE conserves something known.
            "conserved_energy": potential + kinetic if self.settings.ensemble == "nve" else None,
        }


def frame_text(atoms: Atoms, calculator: AdiabatCalculator, step: int, time_fs: float) -> str:
    """One frame in extended XYZ, with the results that the calculator holds."""
    frame = atoms.copy()
    frame.info |= {"step": step, "time_fs": time_fs}
    named = {key: value for key, value in calculator.results.items() if key not in UNCERTAINTIES}
    for key in UNCERTAINTIES:
        if key in calculator.results:
            per_atom = key in ("forces_uncertainty", "atomic_energies_uncertainty")
            (frame.arrays if per_atom else frame.info)[key] = calculator.results[key]
    frame.calc = SinglePointCalculator(frame, **named)
    text = io.StringIO()
    ase.io.write(text, frame, format="extxyz")
    return text.getvalue()


def _uncertainty(calculator: AdiabatCalculator) -> dict[str, float]:
    """What the calculator holds of it at this step."""
    results = calculator.results
    found = {key: float(results[key]) for key in ("energy_uncertainty", "unbiased_energy") if key in results}
    if "forces_uncertainty" in results:
        found["largest_force_uncertainty"] = largest_force_uncertainty(results["forces_uncertainty"])
    return found


def _observable(electrons: Electrons, name: str) -> Any:
    owner = electrons.orbitals if name in _OF_ORBITALS else electrons
    return np.asarray(getattr(owner, _OF_ORBITALS.get(name, name))).tolist()
