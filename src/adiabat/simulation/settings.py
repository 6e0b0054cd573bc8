"""What a molecular-dynamics run is asked to do."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Ensemble = Literal["nve", "langevin"]
Observable = Literal["gap", "homo", "lumo", "orbital_energies", "charges", "dipole"]

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(gt=0)]


class MdSettings(BaseModel):
    """Settings of a run; frozen, and unknown names are refused.

    Attributes:
        ensemble: ``nve`` (velocity Verlet) or ``langevin`` (constant temperature).
        timestep_fs: time step [fs].
        steps: number of steps.
        temperature_K: temperature [K] of the initial velocities, and of the thermostat.
        friction_per_fs: Langevin friction [1/fs].
        seed: of the initial velocities and of the thermostat's noise.
        log_interval: steps between lines of ``log.jsonl``.
        trajectory_interval: steps between frames of ``trajectory.xyz``.
        restart_interval: steps between writes of the restart file.
        follow: quantities from the predicted Hamiltonian to write to ``electrons.jsonl``.
        follow_interval: steps between them.
        temperature_limit_K: the run stops when it gets hotter than this; by default ten times
            ``temperature_K``, and at least 3000 K.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ensemble: Ensemble = "nve"
    timestep_fs: PositiveFloat = 0.5
    steps: PositiveInt = 2000
    temperature_K: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 300.0  # noqa: N815  K is kelvin
    friction_per_fs: PositiveFloat = 0.01
    seed: Annotated[int, Field(ge=0)] = 0
    log_interval: PositiveInt = 10
    trajectory_interval: PositiveInt = 10
    restart_interval: PositiveInt = 100
    follow: tuple[Observable, ...] = ()
    follow_interval: PositiveInt = 20
    temperature_limit_K: PositiveFloat | None = None  # noqa: N815

    @property
    def highest_temperature(self) -> float:
        """Temperature [K] beyond which the run stops."""
        return self.temperature_limit_K or max(10.0 * self.temperature_K, 3000.0)
