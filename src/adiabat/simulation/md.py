"""Molecular dynamics that can be killed at any moment and continues bit for bit.

A run is a directory: ``trajectory.xyz``, ``log.jsonl``, ``electrons.jsonl`` when something is followed, ``gated.xyz``
and ``gate.jsonl`` when there is a gate, and ``restart.npz``. The texts are synced to disk before the restart point that
counts their bytes is written.
"""

import hashlib
from collections.abc import Mapping
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

from adiabat.core.errors import ModelError, SimulationError, StructureError
from adiabat.core.interruption import stop_on_signals
from adiabat.core.units import BOLTZMANN
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.simulation.baseline import Baseline
from adiabat.simulation.calculator import AdiabatCalculator
from adiabat.simulation.md_output import ELECTRONS, LASTING, LOG, TRAJECTORY, MdOutput, frame_text
from adiabat.simulation.md_progress import MdProgress
from adiabat.simulation.run_files import RestartPoint, TrustedState
from adiabat.simulation.settings import MdSettings
from adiabat.uncertainty.interface import UncertainModel, central_model

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
        gated: whether it stands where its gate closed; the frame is the last of ``gated.xyz``.
        rewinds: how often the gate sent it back.
    """

    directory: Path
    step: int
    finished: bool
    stopped_by: int | None
    gated: bool = False
    rewinds: int = 0


def run_md(
    model: Model | UncertainModel,
    structure: Structure,
    settings: MdSettings,
    directory: str | Path,
    *,
    resume: bool = False,
    console: Console | None = None,
    device: torch.device | str | None = None,
    baseline: Baseline | None = None,
) -> MdResult:
    """Run molecular dynamics, or go on with a run that was stopped or killed.

    Args:
        model: gives energy and forces, and the Hamiltonian if ``settings.follow`` asks for it.
        structure: starting positions; velocities are drawn at ``settings.temperature_K``.
        settings: what to do; on resuming, only ``steps`` may differ from before, and, where a gate stopped the run,
            model and gate.
        directory: made if it is not there.
        resume: continue from the restart point in ``directory``.
        console: where to show progress; nowhere by default.
        device: where to compute; by default where the model is.
        baseline: lower level of theory that the model is the difference to.

    Raises:
        SimulationError: the run got too hot, lost an atom, or produced no number; or ``directory`` holds a run
            already; or on resuming, settings, structure or model are not those of before.
        ModelError: quantities of the Hamiltonian are to be followed and the model has no operator head; or there is a
            gate or a bias, and the model does not know its uncertainty.
    """
    drive = settings.gate.drive if settings.gate else "mean"
    calculator = AdiabatCalculator(model, device=device, drive=drive, bias=settings.bias, baseline=baseline)
    if settings.follow:
        calculator.require_operator()
    if settings.gate and calculator.uncertain is None:
        raise ModelError(
            "a gate for molecular dynamics with a single model",
            expected="an uncertain model: an ensemble, or a model with a posterior",
            suggestion="give the file of an uncertain model, or leave the gate out",
        )
    directory = Path(directory)
    identity = _identity(model, structure, settings, baseline)
    restart = _matching_restart(directory, identity) if resume else _no_earlier_run(directory)
    run = _Run(calculator, structure, settings, directory, identity, restart)
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
        self.rewinds = restart.rewinds if restart else 0
        self.trusted = restart.trusted if restart else None
        # Another model is trusted at the frame where the gate closed: it has seen the label.
        self.gated = bool(restart and restart.gated and _same(restart.identity, identity))
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
        """Step until done, stopped by a signal or the gate, or broken."""
        settings = self.settings
        if not self.has_written:
            if self._uncertainty_is_too_large():
                self._stop_at_gate("the start itself is not trusted")
            else:
                self.output.write(0, self.atoms, self.calculator, self.temperature)
                self._save_trusted()
        with stop_on_signals() as stop, MdProgress(console, settings.steps, self.step) as progress:
            while self.step < settings.steps and not stop and not self.gated:
                self._advance()
                if self._uncertainty_is_too_large():
                    self._close_gate()
                    continue
                self.output.write(self.step, self.atoms, self.calculator, self.temperature)
                if self.step % settings.restart_interval == 0:
                    self._save_trusted()
                progress.update(self.step, self.temperature)
            if not self.gated:
                self._save(self.output.sync())
        finished = self.step >= settings.steps and not self.gated
        return MdResult(self.directory, self.step, finished, stop.signal_number, self.gated, self.rewinds)

    def _uncertainty_is_too_large(self) -> bool:
        gate, step = self.settings.gate, self.step
        # Restart points are looked at as well: a run goes back to none that is not trusted.
        if gate is None or (step % gate.every and step % self.settings.restart_interval):
            return False
        return not self.calculator.get_largest_force_uncertainty(self.atoms) <= gate.threshold

    def _close_gate(self) -> None:
        gate = self.settings.gate
        assert gate is not None
        if gate.action == "stop":
            self._stop_at_gate("stop")
        elif self.rewinds >= gate.max_rewinds:
            self._stop_at_gate(f"stop: {self.rewinds} rewinds are the most allowed")
        else:
            self._rewind()

    def _stop_at_gate(self, why: str) -> None:
        self.output.write(self.step, self.atoms, self.calculator, self.temperature)
        self.output.write_gated(self.step, self.atoms, self.calculator, {"action": why})
        self.gated = True
        self._save(self.output.sync())

    def _rewind(self) -> None:
        """Back to the last trusted state, with new velocities of the same temperature."""
        trusted = self.trusted
        assert trusted is not None
        self.rewinds += 1
        decision = {"action": "rewind", "to_step": trusted.step, "rewinds": self.rewinds}
        self.output.write_gated(self.step, self.atoms, self.calculator, decision)
        self.step = trusted.step
        self.atoms.set_positions(trusted.positions)
        self.atoms.set_momenta(initial_momenta(self.atoms.get_masses(), self.settings.temperature_K, self.generator))
        self.atoms.get_forces()
        lengths = self.output.sync()
        self._save({name: lengths[name] if name in LASTING else trusted.lengths[name] for name in lengths})
        self.output.cut_back(trusted.lengths)

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

    def _save_trusted(self) -> None:
        """A restart point that a closing gate comes back to."""
        lengths = self.output.sync()
        if self.settings.gate is not None:
            self.trusted = TrustedState(self.step, self.atoms.get_positions(), lengths)
        self._save(lengths)

    def _save(self, lengths: dict[str, int]) -> None:
        RestartPoint(
            step=self.step,
            positions=self.atoms.get_positions(),
            momenta=self.atoms.get_momenta(),
            random_state=self.generator.bit_generator.state,
            lengths=lengths,
            identity=self.identity,
            gated=self.gated,
            rewinds=self.rewinds,
            trusted=self.trusted,
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


def weights_hash(model: Model | UncertainModel) -> str:
    """SHA-256 of a model's weights, and of its members' if it has any."""
    weights = hashlib.sha256()
    for one in model.parts if isinstance(model, UncertainModel) else (model,):
        for name, tensor in sorted(one.state_dict().items()):
            weights.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return weights.hexdigest()


def _identity(
    model: Model | UncertainModel, structure: Structure, settings: MdSettings, baseline: Baseline | None
) -> dict[str, Any]:
    """What has to be the same for a run to go on."""
    return {
        "model": weights_hash(model),
        "structure": structure.content_hash,
        "baseline": baseline.identity if baseline else None,
        "fidelity": central_model(model).fidelity,
        **settings.model_dump(mode="json", exclude={"steps"}),
    }


def _same(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return all(before.get(name) == value for name, value in now.items())


def _matching_restart(directory: Path, identity: dict[str, Any]) -> RestartPoint:
    restart = RestartPoint.load(directory / RESTART)
    replaceable = ("model", "gate") if restart.gated else ()
    different = [
        name for name, value in identity.items() if name not in replaceable and restart.identity.get(name) != value
    ]
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
