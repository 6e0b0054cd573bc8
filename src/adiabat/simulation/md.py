"""Molecular dynamics that can be killed at any moment and continues bit for bit.

A run is a directory: ``trajectory.xyz``, ``log.jsonl``, ``electrons.jsonl`` when something is followed, and
``restart.npz``. The texts are synced to disk before the restart point that counts their bytes is written.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from rich.console import Console

from adiabat.core.errors import SimulationError, StructureError
from adiabat.core.interruption import stop_on_signals
from adiabat.core.units import BOLTZMANN
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.simulation.calculator import AdiabatCalculator
from adiabat.simulation.md_output import ELECTRONS, LOG, TRAJECTORY, MdOutput, frame_text
from adiabat.simulation.md_progress import MdProgress
from adiabat.simulation.run_files import RestartPoint
from adiabat.simulation.settings import MdSettings

RESTART: Final = "restart.npz"
FAILED_FRAME: Final = "failed.xyz"


@dataclass(frozen=True)
class MdResult:
    """How a run ended.

    Attributes:
        directory: where its files are.
        step: steps done.
        finished: whether that is all of them.
        stopped_by: number of the signal that stopped it, or None.
    """

    directory: Path
    step: int
    finished: bool
    stopped_by: int | None


def run_md(
    model: Model,
    structure: Structure,
    settings: MdSettings,
    directory: str | Path,
    *,
    resume: bool = False,
    console: Console | None = None,
) -> MdResult:
    """Run molecular dynamics, or go on with a run that was stopped or killed.

    Args:
        model: gives energy and forces, and the Hamiltonian if ``settings.follow`` asks for it.
        structure: starting positions; velocities are drawn at ``settings.temperature_K``.
        settings: what to do; on resuming, only ``steps`` may differ from before.
        directory: made if it is not there.
        resume: continue from the restart point in ``directory``.
        console: where to show progress; nowhere by default.

    Raises:
        SimulationError: the run got too hot, lost an atom, or produced no number; or ``directory`` holds a run
            already; or on resuming, settings, structure or model are not those of before.
        ModelError: quantities of the Hamiltonian are to be followed and the model has no operator head.
    """
    if settings.follow:
        model.require_operator()
    directory = Path(directory)
    identity = _identity(model, structure, settings)
    restart = _matching_restart(directory, identity) if resume else _no_earlier_run(directory)
    run = _Run(AdiabatCalculator(model), structure, settings, directory, identity, restart)
    try:
        return run.to_the_end(console)
    finally:
        run.output.close()


def initial_momenta(
    masses: npt.NDArray[np.float64], temperature: float, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Maxwell–Boltzmann momenta with the centre of mass at rest, scaled to the temperature exactly.

    Args:
        masses: (n_atoms,) [u].
        temperature: T [K]; the kinetic energy becomes k_B T/2 for each degree of freedom.
        generator: source of randomness.

    Returns: (n_atoms, 3) momenta [√(u·eV)], ASE's unit.
    """
    mass = masses[:, None]
    momenta = np.sqrt(mass) * generator.standard_normal((len(masses), 3))
    if len(masses) > 1:
        momenta -= mass / mass.sum() * momenta.sum(axis=0)
    kinetic = 0.5 * float((momenta**2 / mass).sum())
    return momenta * np.sqrt(0.5 * free_components(len(masses)) * BOLTZMANN * temperature / kinetic)


def free_components(n_atoms: int) -> int:
    """Velocity components that are free when the centre of mass rests; a single atom keeps its three."""
    return max(3 * n_atoms - 3, 3)


class _Run:
    """One run in progress: atoms, integrator and open files."""

    def __init__(
        self,
        calculator: AdiabatCalculator,
        structure: Structure,
        settings: MdSettings,
        directory: Path,
        identity: dict[str, Any],
        restart: RestartPoint | None,
    ) -> None:
        self.settings, self.directory, self.identity = settings, directory, identity
        self.calculator = calculator
        self.step = restart.step if restart else 0
        self.generator = np.random.default_rng(settings.seed)
        self.atoms = _atoms(structure, calculator)
        if restart:
            self.atoms.set_positions(restart.positions)
            self.atoms.set_momenta(restart.momenta)
            self.generator.bit_generator.state = restart.random_state
        else:
            momenta = initial_momenta(self.atoms.get_masses(), settings.temperature_K, self.generator)
            self.atoms.set_momenta(momenta)
        # Before any file is made: a structure that the model refuses leaves nothing behind.
        self.atoms.get_forces()
        self.starts_bound = _all_have_neighbors(calculator)
        self.integrator = _integrator(self.atoms, settings, self.generator)
        directory.mkdir(parents=True, exist_ok=True)
        lengths = dict(restart.lengths) if restart else {}
        if not restart:
            # The promise to resume comes before the first output, or a kill in between would leave files without it.
            self._save(lengths)
        self.has_written = bool(lengths)
        self.output = MdOutput(directory, settings, lengths)

    def to_the_end(self, console: Console | None) -> MdResult:
        """Step until done, stopped by a signal, or broken."""
        settings = self.settings
        if not self.has_written:
            self.output.write(0, self.atoms, self.calculator, self.temperature)
            self._save(self.output.sync())
        with stop_on_signals() as stop, MdProgress(console, settings.steps, self.step) as progress:
            while self.step < settings.steps and not stop:
                self._advance()
                self.output.write(self.step, self.atoms, self.calculator, self.temperature)
                if self.step % settings.restart_interval == 0:
                    self._save(self.output.sync())
                progress.update(self.step, self.temperature)
            self._save(self.output.sync())
        return MdResult(self.directory, self.step, self.step >= settings.steps, stop.signal_number)

    @property
    def temperature(self) -> float:
        """Instantaneous temperature [K]; Langevin noise also moves the centre of mass."""
        n_atoms = len(self.atoms)
        n_free = free_components(n_atoms) if self.settings.ensemble == "nve" else 3 * n_atoms
        return 2.0 * float(self.atoms.get_kinetic_energy()) / (n_free * BOLTZMANN)

    def _advance(self) -> None:
        self.step += 1
        try:
            self.integrator.step()
        except StructureError as error:
            raise self._broken(error.got) from error
        momenta, energy = self.atoms.get_momenta(), self.calculator.results["energy"]
        if not (np.isfinite(momenta).all() and np.isfinite(energy)):
            raise self._broken("energy or forces that are not finite")
        if self.temperature > self.settings.highest_temperature:
            limit = self.settings.highest_temperature
            raise self._broken(f"a temperature of {self.temperature:.0f} K, above the limit of {limit:.0f} K")
        if self.starts_bound and not _all_have_neighbors(self.calculator):
            raise self._broken(
                f"an atom with no neighbor within {self.calculator.model.cutoff} Å, where the model ends"
            )

    def _broken(self, what: str) -> SimulationError:
        """Keep the frame and say where the run broke."""
        path = self.directory / FAILED_FRAME
        time_fs = self.step * self.settings.timestep_fs
        path.write_text(frame_text(self.atoms, self.calculator, self.step, time_fs))
        self.output.sync()
        return SimulationError(
            f"{what}, at step {self.step} ({time_fs:g} fs)",
            expected="a trajectory within what the model has learned",
            suggestion=f"look at {path}; label such structures and train again, or use a shorter time step",
        )

    def _save(self, lengths: dict[str, int]) -> None:
        RestartPoint(
            step=self.step,
            positions=self.atoms.get_positions(),
            momenta=self.atoms.get_momenta(),
            random_state=self.generator.bit_generator.state,
            lengths=lengths,
            identity=self.identity,
        ).save(self.directory / RESTART)


def _atoms(structure: Structure, calculator: AdiabatCalculator) -> Atoms:
    atoms = structure.to_ase()
    # Only what the model reads: an energy from the input file must not be repeated in every frame.
    atoms.info = {key: atoms.info[key] for key in ("charge", "spin") if key in atoms.info}
    atoms.calc = calculator
    return atoms


def _integrator(atoms: Atoms, settings: MdSettings, generator: np.random.Generator) -> VelocityVerlet | Langevin:
    timestep = settings.timestep_fs * units.fs
    if settings.ensemble == "nve":
        return VelocityVerlet(atoms, timestep=timestep)
    return Langevin(
        atoms,
        timestep=timestep,
        temperature_K=settings.temperature_K,
        friction=settings.friction_per_fs / units.fs,
        fixcm=False,
        rng=generator,
    )


def _all_have_neighbors(calculator: AdiabatCalculator) -> bool:
    assert calculator.graph is not None
    graph = calculator.graph
    return bool((torch.bincount(graph.edge_index[0], minlength=graph.n_atoms) > 0).all())


def _identity(model: Model, structure: Structure, settings: MdSettings) -> dict[str, Any]:
    """What has to be the same for a run to go on."""
    weights = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        weights.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return {
        "model": weights.hexdigest(),
        "structure": structure.content_hash,
        **settings.model_dump(mode="json", exclude={"steps"}),
    }


def _matching_restart(directory: Path, identity: dict[str, Any]) -> RestartPoint:
    restart = RestartPoint.load(directory / RESTART)
    different = [name for name, value in identity.items() if restart.identity.get(name) != value]
    if different:
        was = ", ".join(f"{name} = {restart.identity.get(name)}" for name in different)
        now = ", ".join(f"{name} = {identity[name]}" for name in different)
        raise SimulationError(
            f"{now}, to go on with a run in {directory} that had {was}",
            expected="the same settings, structure and model as before; only the number of steps may change",
            suggestion="repeat the command of the first run with --resume added, or choose another directory",
        )
    return restart


def _no_earlier_run(directory: Path) -> None:
    earlier = [name for name in (RESTART, TRAJECTORY, LOG, ELECTRONS) if (directory / name).exists()]
    if earlier:
        raise SimulationError(
            f"{directory}, which holds {', '.join(earlier)}",
            expected="a directory without an earlier run",
            suggestion="add --resume to go on with it, or choose another directory with -o",
        )
