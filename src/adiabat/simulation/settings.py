"""What a molecular-dynamics run is asked to do."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Ensemble = Literal["nve", "langevin"]
Observable = Literal["gap", "homo", "lumo", "orbital_energies", "charges", "dipole"]

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(gt=0)]


class GateSettings(BaseModel):
    """When a run has gone where its model does not know what it does, and what happens then.

    Attributes:
        threshold: largest standard deviation of an atom's force, √(σ_x² + σ_y² + σ_z²), that is trusted [eV/Å].
        every: steps between looks; restart points are looked at too.
        action: ``stop`` ends the run with the frame saved; ``rewind`` goes back to the last restart point, draws new
            velocities and goes on, which biases the ensemble towards what the model knows.
        max_rewinds: after so many the run stops.
        drive: ``mean`` moves atoms with the mean of all members; ``central`` with the central model alone, which for
            ensembles costs a fraction, the members being asked only when the gate looks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: PositiveFloat
    every: PositiveInt = 1
    action: Literal["stop", "rewind"] = "stop"
    max_rewinds: PositiveInt = 20
    drive: Literal["mean", "central"] = "mean"


class BiasSettings(BaseModel):
    """A surface that is lower where the model is less certain: E − τ σ_E.

    Attributes:
        strength: τ, a pure number; negative keeps away from what the model does not know.
        softening: s [eV] in √(σ² + s²) − s, which is smooth where all members agree.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    strength: Annotated[float, Field(allow_inf_nan=False)]
    softening: PositiveFloat = 1e-3


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
        gate: stop or go back where the model is not sure; needs an uncertain model.
        bias: move on a surface that is lower where the model is not sure; needs an uncertain model.
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
    gate: GateSettings | None = None
    bias: BiasSettings | None = None

    @model_validator(mode="after")
    def _bias_moves_with_all_members(self) -> Self:
        if self.bias and self.gate and self.gate.drive == "central":
            raise ValueError("a bias needs all members at each step; gate.drive must be mean")
        return self

    @property
    def highest_temperature(self) -> float:
        """Temperature [K] beyond which the run stops."""
        return self.temperature_limit_K or max(10.0 * self.temperature_K, 3000.0)
