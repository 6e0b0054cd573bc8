"""The configuration of a training run: typed, frozen, documented field by field, unknown keys refused.

Every field's docstring is its description in the JSON Schema that ``adiabat schema`` prints.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from adiabat.models.config import FrozenConfig, ModelConfig

LossName = Literal["mse", "mae", "huber", "norm"]
Part = Literal["trunk", "energy_head", "operator_head"]

SPECTRAL: Final = ("eigenvalues", "wavefunctions")
"""Targets that are computed from the Hamiltonian."""


class Section(FrozenConfig):
    """A section of the configuration, whose fields are described by the text below each."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class StoreSlice(Section):
    """Frames of one dataset store, in store order."""

    path: str
    """Path of the ``.lmdb`` store, relative to the working directory."""
    frames: str = ":"
    """Python slice of the frames to take, for instance ``0:400`` or ``4::5``."""
    exclude: str | None = None
    """Python slice of frames to leave out of those, for instance ``4::5``."""
    first: int | None = Field(default=None, gt=0)
    """Keep only the first n frames of what is left."""
    fidelity: str | None = Field(default=None, min_length=1)
    """Level of theory of these labels, in the place of what the records say of themselves: their fidelity, else their
    method. Labels of several levels are told apart by ``model.fidelities``."""


def _as_slices(value: Any) -> Any:
    """Let a path, or a single slice, stand for a list of one."""
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    return [{"path": item} if isinstance(item, str) else item for item in items]


Stores = Annotated[tuple[StoreSlice, ...], BeforeValidator(_as_slices)]


class DataConfig(Section):
    """Which frames are learned from, which choose the best model, and which judge it."""

    train: Stores = Field(min_length=1)
    """Store(s) to learn from: a path, a slice, or a list of these."""
    validation: Stores = ()
    """Store(s) that choose the best model. Empty: ``n_validation`` frames are held out of ``train``."""
    test: Stores = ()
    """Store(s) scored once, at the end; nothing is ever chosen by them."""
    split: str | None = None
    """A split that ``adiabat data split`` saved, which then says which frames of ``train`` are for what."""
    n_train: int | None = Field(default=None, gt=0)
    """Number of training frames, drawn at random from ``train``; all that remain by default."""
    n_validation: int = Field(default=0, ge=0)
    """Number of frames of ``train`` held out for validation. With 0, and no store, the last EMA weights are kept."""
    split_seed: int = 0
    """Seed of that draw."""
    reference_energies: dict[str, float] | dict[str, dict[str, float]] | None = None
    """Energy of each element by its symbol [eV]; of several levels of theory, such a mapping for any fidelity. By
    default, least squares over the training energies."""
    isolated_atoms: str | None = None
    """Store of free atoms, from `adiabat label --isolated-atoms`, whose energies are the reference energies; of several
    levels of theory, of those that it has labels of."""

    @model_validator(mode="after")
    def _one_source_of_each_part(self) -> Self:
        if self.validation and self.n_validation:
            raise ValueError("give either data.validation (a store) or data.n_validation (a count), not both")
        if self.reference_energies is not None and self.isolated_atoms is not None:
            raise ValueError("give either data.reference_energies (values) or data.isolated_atoms (a store), not both")
        whole = len(self.train) == 1 and self.train[0] == StoreSlice(path=self.train[0].path)
        if self.split and not (whole and not self.validation and not self.test and self.n_train is None):
            raise ValueError("data.split divides one whole store; drop slices, other stores and n_train")
        if self.split and self.n_validation:
            raise ValueError("data.split says which frames validate; drop n_validation")
        return self


class TargetConfig(Section):
    """One learned quantity. Its loss term is weight · mean ρ(error / scale), a pure number."""

    weight: float = Field(default=1.0, gt=0)
    """Weight of the dimensionless loss term."""
    scale: float = Field(default=1.0, gt=0)
    """Error that counts as 1, in the unit stated for the target."""
    loss: LossName = "huber"
    """ρ: ``mse`` x², ``mae`` |x|, ``huber`` quadratic below ``huber_delta`` and linear above, ``norm`` the length of
    a vector (force on an atom) or the Frobenius norm of a matrix (block of H, stress)."""
    huber_delta: float = Field(default=1.0, gt=0)
    """Where Huber's loss turns linear, in multiples of ``scale``."""


class EnergyTarget(TargetConfig):
    """Total energy; the error is divided by the number of atoms.

    Far below its scale Huber's loss is quadratic: energies lead only while they are wrong by much, then forces do.
    """

    weight: float = Field(default=0.3, gt=0)
    """Weight of the dimensionless loss term."""
    scale: float = Field(default=0.1, gt=0)
    """Error that counts as 1 [eV/atom]."""


class ForcesTarget(TargetConfig):
    """Forces.

    The defaults are those measured best on 50 frames of rMD17 ethanol (benchmarks/foundation): 29 to 41 meV/Å,
    depending on the length of the run, against 56 when the energy's scale is ten times smaller.
    """

    scale: float = Field(default=1.0, gt=0)
    """Error that counts as 1 [eV/Å]."""
    loss: LossName = "norm"
    """ρ, as for the other targets; the length of the error does not depend on the axes, as a sum over x, y, z does."""


class StressTarget(TargetConfig):
    """Stress of periodic structures."""

    scale: float = Field(default=1e-2, gt=0)
    """Error that counts as 1 [eV/Å³]."""
    loss: LossName = "norm"
    """ρ, as for the other targets."""


class HamiltonianTarget(TargetConfig):
    """Entries of the Hamiltonian in the orbital basis, every ordered atom pair."""

    scale: float = Field(default=1e-2, gt=0)
    """Error that counts as 1 [eV]."""
    loss: LossName = "mae"
    """ρ, as for the other targets."""
    space: Literal["orbitals", "irreps"] = "orbitals"
    """What ρ is summed over: entries of the blocks, or their coefficients in the frame of each bond and the irreps of
    each atom, which do not depend on the axes."""
    remove_shift: bool = False
    """Take the best multiple of S out of each structure's error first. H of a crystal is defined up to that, which is
    where the code puts the zero of the potential. Needs overlap labels."""


class SpectralTarget(TargetConfig):
    """Energies of electrons near the Fermi level, at a few k drawn for each structure."""

    scale: float = Field(default=1e-2, gt=0)
    """Error that counts as 1 [eV]."""
    loss: LossName = "mae"
    """ρ, as for the other targets."""
    remove_shift: bool = False
    """Take the mean error of each structure out first, as for the Hamiltonian."""


class SpectrumConfig(Section):
    """Where the spectrum is compared."""

    n_k: int = Field(default=2, gt=0)
    """Number of k drawn for each structure, once."""
    window: float = Field(default=5.0, gt=0)
    """Energies compared lie this near the middle of the gap, or the Fermi level, of the reference [eV]."""


class TargetsConfig(Section):
    """What is learned. A target that is not named is not computed."""

    energy: EnergyTarget | None = None
    """Total energies [eV]."""
    forces: ForcesTarget | None = None
    """Forces [eV/Å]."""
    stress: StressTarget | None = None
    """Stress [eV/Å³]."""
    hamiltonian: HamiltonianTarget | None = None
    """Hamiltonian blocks [eV]; needs a model with an operator head."""
    eigenvalues: SpectralTarget | None = None
    """Eigenvalues of the predicted H in the states of the reference [eV]; with ``hamiltonian`` only, needs overlaps."""
    wavefunctions: SpectralTarget | None = None
    """All elements of the predicted H between the states of the reference [eV], as for ``eigenvalues``: an error counts
    as S⁻¹ carries it to the bands."""
    spectrum: SpectrumConfig = SpectrumConfig()
    """Where the last two are compared."""

    @model_validator(mode="after")
    def _any(self) -> Self:
        if not self.active:
            raise ValueError(
                f"targets names nothing to learn; give one or more of {', '.join(_target_names(type(self)))}"
            )
        if (self.eigenvalues or self.wavefunctions) and not self.hamiltonian:
            raise ValueError("targets.eigenvalues and targets.wavefunctions go with targets.hamiltonian; add it")
        return self

    @property
    def active(self) -> dict[str, TargetConfig]:
        """Targets that are learned, by name."""
        return {name: target for name in _target_names(type(self)) if (target := getattr(self, name)) is not None}

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that the active targets are made of."""
        return tuple(name for name in self.active if name not in SPECTRAL)


_NO_SCHEDULE: Final = {"max_steps": 1}
"""Stands where the linear family has no schedule."""
_READ_BY_FIT: Final = ("validation_batch_size", "seed", "dtype", "num_threads", "tensorboard", "device")


def _changed(section: Section) -> list[str]:
    """Keys whose values are not the default ones."""
    fields = type(section).model_fields
    return [key for key in fields if getattr(section, key) != fields[key].default]


def _target_names(config: type[TargetsConfig]) -> list[str]:
    return [name for name in config.model_fields if name != "spectrum"]


class OptimizerConfig(Section):
    """Adam and its step size."""

    name: Literal["adam", "adamw"] = "adam"
    """``adamw`` decouples the weight decay from the gradient."""
    learning_rate: float = Field(default=5e-3, gt=0)
    """Peak step size."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the running gradient."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the running squared gradient."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay."""
    amsgrad: bool = False
    """Keep the largest running squared gradient. The first steps' large gradients then slow all later ones down."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Clip the gradient to this norm. With losses of the default scales that acts on nearly every step, so each
    batch counts the same however large its errors: on 400 frames of ethanol, H is 55 instead of 107 µHa off after
    2000 steps. Adam is blind to a common factor, so the number itself matters little."""


class ScheduleConfig(Section):
    """How long, and how the learning rate goes.

    Progress is p = max(step / max_steps, elapsed / max_minutes). The rate is the peak rate times a linear warm-up
    (in steps) times a factor that falls from 1 at p = ``hold_fraction`` to ``final_factor`` at p = 1.
    """

    kind: Literal["cosine", "linear", "exponential", "constant", "plateau"] = "cosine"
    """Shape of the fall; ``plateau`` falls by ``plateau_factor`` when validation stalls, whatever p is."""
    max_steps: int | None = Field(default=None, gt=0)
    """End after this many steps. With this limit alone a run is reproduced bit for bit on CPU."""
    max_minutes: float | None = Field(default=None, gt=0)
    """End after this much training time, pauses not counted. The rate then follows the clock."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps of linear warm-up from zero."""
    hold_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Part of the run at the peak rate."""
    final_factor: float = Field(default=1e-2, gt=0, le=1)
    """Rate at the end, or at the bottom of a plateau schedule, over the peak rate."""
    plateau_patience: int = Field(default=10, gt=0)
    """Validations without improvement before the plateau schedule acts."""
    plateau_factor: float = Field(default=0.5, gt=0, lt=1)
    """What it multiplies the rate by."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.max_steps is None and self.max_minutes is None:
            raise ValueError("schedule needs an end: give max_steps or max_minutes")
        return self


class LoopConfig(Section):
    """The loop itself: batches, seeds, precision, intervals."""

    batch_size: int = Field(default=5, gt=0)
    """Structures a step."""
    validation_batch_size: int = Field(default=32, gt=0)
    """Structures a batch when scoring."""
    seed: int = 0
    """Seed of the initial weights, of the order of frames, and of the heads of a shallow ensemble."""
    init_model: str | None = None
    """Model package to start from instead of random weights: all of it that fits, which is told. Sizes that the
    ``model`` section does not give are those of the package."""
    init_parts: tuple[Part, ...] = ("trunk", "energy_head", "operator_head")
    """Parts of ``init_model`` that are taken: a difference between two levels learns best over a trained trunk, with
    heads of its own."""
    init_references: Literal["refit", "keep"] = "refit"
    """Reference energies (and mean blocks of H) of ``init_model``: moved to the mean error of the package on the
    training frames, which another level of theory needs, or kept."""
    freeze: tuple[Part, ...] = ()
    """Parts whose weights stay as they are at the start: ``trunk``, ``energy_head``, ``operator_head``."""
    target_share: float | None = Field(default=None, gt=0, lt=1)
    """With ``model.fidelities``: part of the structures drawn that are of the target level. By default a half, or their
    part of the frames where that is more: few frames of the target do not drown in many of the others."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the trunk; energies are summed in float64 either way."""
    device: str = "cpu"
    """``cpu``, ``cuda`` or ``cuda:1``."""
    num_threads: int | None = Field(default=None, gt=0)
    """CPU threads; PyTorch's own choice by default. Part of what a bit-for-bit repeat must hold fixed."""
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the averaged weights, which are what is validated and saved; 0 keeps the last weights."""
    validation_interval: int = Field(default=500, gt=0)
    """Steps between validations."""
    checkpoint_interval: int = Field(default=500, gt=0)
    """Steps between checkpoints, the most that a kill can cost."""
    log_interval: int = Field(default=50, gt=0)
    """Steps between log lines."""
    patience: int | None = Field(default=None, gt=0)
    """Stop after this many validations without improvement; never by default."""
    select_by: Literal["loss", "energy", "forces", "stress", "hamiltonian", "eigenvalues", "wavefunctions"] = "loss"
    """What chooses the best model: the validation loss, or the MAE of one target."""
    tensorboard: bool = True
    """Write TensorBoard events beside ``metrics.jsonl``, where TensorBoard is installed."""


class LinearFitConfig(Section):
    """The fit of the family linear-ace: one solve instead of steps."""

    smoothness: float = Field(default=1.0, ge=0)
    """Power with which the prior of a weight falls with the degree of its feature: (1 + Σ (n + l))^−smoothness."""
    hyperparameter_rows: int = Field(default=1000, gt=0)
    """Labels, of evenly spaced structures, from which prior and noise are found; the time goes as their cube."""


class TrainConfig(Section):
    """A whole training run."""

    data: DataConfig
    """Frames."""
    model: ModelConfig = ModelConfig.model_validate({})
    """Architecture."""
    targets: TargetsConfig | None = None
    """What to learn; everything that the data holds and the model has a head for, by default."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Optimizer."""
    schedule: ScheduleConfig
    """Length and learning rate. Not for the family linear-ace, which takes no steps."""
    training: LoopConfig = LoopConfig()
    """Loop."""
    linear_fit: LinearFitConfig = LinearFitConfig()
    """The fit of the family linear-ace, in place of optimizer, schedule and loop."""

    @model_validator(mode="before")
    @classmethod
    def _no_schedule_for_a_fit(cls, data: Any) -> Any:
        """Let the linear family do without the section that all others need."""
        model = data.get("model") if isinstance(data, Mapping) else None
        family = model.get("family") if isinstance(model, Mapping) else getattr(model, "family", None)
        return {"schedule": _NO_SCHEDULE, **data} if family == "linear-ace" else data

    @model_validator(mode="after")
    def _settings_of_the_family(self) -> Self:
        """No setting is silently not read."""
        if self.model.family != "linear-ace":
            if self.linear_fit != LinearFitConfig():
                raise ValueError("linear_fit goes with model.family: linear-ace")
            return self
        unread = [f"training.{key}" for key in _changed(self.training) if key not in _READ_BY_FIT]
        unread += [f"optimizer.{key}" for key in _changed(self.optimizer)]
        unread += [] if self.schedule == ScheduleConfig.model_validate(_NO_SCHEDULE) else ["schedule"]
        for name, target in (self.targets.active if self.targets else {}).items():
            unread += [f"targets.{name}.{key}" for key in _changed(target)]
        if unread:
            raise ValueError(f"the family linear-ace is solved in one go and does not read {', '.join(unread)}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        validates = bool(self.data.validation or self.data.n_validation or self.data.split)
        if not validates and (self.training.patience is not None or self.schedule.kind == "plateau"):
            raise ValueError(
                "training.patience and the plateau schedule need validation frames: "
                "set data.n_validation or data.validation"
            )
        if self.targets and self.training.select_by not in ("loss", *self.targets.active):
            raise ValueError(
                f"training.select_by is {self.training.select_by!r}, which is not a target; "
                f"choose from loss, {', '.join(self.targets.active)}"
            )
        return self
