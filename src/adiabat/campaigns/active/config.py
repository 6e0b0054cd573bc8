"""The configuration of an active-learning campaign: where it starts, what each round does, and when it ends."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from adiabat.campaigns.exploration.config import ExploreConfig
from adiabat.campaigns.selection.config import SelectConfig
from adiabat.models.config import ModelConfig
from adiabat.training.config import (
    DataConfig,
    LoopConfig,
    OptimizerConfig,
    ScheduleConfig,
    Section,
    StoreSlice,
    TargetsConfig,
    TrainConfig,
)

UncertaintyMethod = Literal["none", "ensemble", "shallow-ensemble", "last-layer"]


def _as_paths(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Paths = Annotated[tuple[str, ...], BeforeValidator(_as_paths)]


class InitialConfig(Section):
    """Where the first labels come from."""

    n: int = Field(default=10, ge=0)
    """Start structures labelled in round 0."""
    method: Literal["random", "diverse"] = "random"
    """How they are chosen: by lot, or far from each other by their fingerprints."""
    labelled: str | None = None
    """A labelled store that is taken over as it is, before any of those."""
    same_method: bool = False
    """Take its labels although their provenance does not name the engine's settings, as imported files do not."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.n and self.labelled is None:
            raise ValueError("a campaign needs first labels: give initial.n, initial.labelled, or both")
        return self


class LabelConfig(Section):
    """The reference method, and what to do when it fails."""

    engine: str
    """Name of an engine, as for `adiabat label --engine`."""
    options: dict[str, Any] = Field(default={})
    """Its settings."""
    targets: tuple[str, ...] = Field(default=("energy", "forces"), min_length=1)
    """Labels to compute."""
    retries: tuple[dict[str, Any], ...] | None = None
    """Settings laid over ``options`` in the second, third, … attempt. They may change how a calculation converges, not
    its numbers. By default what is known to help with this engine."""
    max_attempts: int | None = Field(default=None, ge=1)
    """Attempts before a structure is set aside; one more than there are retries by default."""
    max_deaths: int = Field(default=3, ge=1)
    """Times that a structure may take its worker's process with it before it is set aside."""
    duplicate_tolerance: float = Field(default=1e-3, ge=0)
    """Largest difference of any number of two labels of one structure [eV, eV/Å, …]; beyond it both are set aside."""


class SelectionConfig(Section):
    """How many candidates are labelled in a round, and which."""

    n: int = Field(default=10, gt=0)
    """Labels a round."""
    choose: SelectConfig = SelectConfig.model_validate({})
    """How they are chosen."""


class UncertaintyConfig(Section):
    """How the model knows what it does not know."""

    method: UncertaintyMethod = "ensemble"
    """``ensemble`` trains ``members`` models of different seeds, ``shallow-ensemble`` one model with so many heads,
    ``last-layer`` one model with a posterior of its last layer; ``none`` chooses without."""
    members: int = Field(default=4, ge=2)
    """Members of an ensemble."""
    calibrate: bool = True
    """Scale the spread to the errors on the validation frames, if there are five. These chose the weights as well, so
    it comes out a little small; the order of candidates does not change."""

    @property
    def n_trainings(self) -> int:
        """Models trained in a round."""
        return self.members if self.method == "ensemble" else 1


class CampaignTraining(Section):
    """A training run without its data, which are the campaign's labels."""

    model: ModelConfig = ModelConfig.model_validate({})
    """Architecture."""
    targets: TargetsConfig | None = None
    """What to learn; everything labelled that the model has a head for, by default."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Optimizer."""
    schedule: ScheduleConfig
    """Length and learning rate of each round's training."""
    training: LoopConfig = LoopConfig()
    """Loop. The seed of member m is ``seed + m``."""
    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share of the labels that chooses the best model; at least one structure unless it is 0."""
    warm_start: bool = True
    """Begin each training with the weights of the round before."""
    uncertainty: UncertaintyConfig = UncertaintyConfig()
    """How the model knows what it does not know."""
    reference_energies: dict[str, float] | None = None
    """Energy of each element by its symbol [eV]. By default, least squares over the labels."""
    isolated_atoms: str | None = None
    """Store of free atoms, from `adiabat label --isolated-atoms`, whose energies are the reference energies."""

    def run_config(self, store: str, n_frames: int, member: int, init_model: str | None) -> TrainConfig:
        """The training run of one member on the first frames of a store.

        Args:
            store: path of the training labels.
            n_frames: how many of them there are in this round.
            member: 0-based number, which shifts the seed.
            init_model: model file whose weights to begin with; None for random ones.
        """
        n_validation = max(1, round(self.validation * n_frames)) if self.validation and n_frames > 1 else 0
        data = DataConfig(
            train=(StoreSlice(path=store, frames=f"0:{n_frames}"),),
            n_validation=n_validation,
            split_seed=self.training.seed,
            reference_energies=self.reference_energies,
            isolated_atoms=self.isolated_atoms,
        )
        training = self.training.model_copy(update={"seed": self.training.seed + member})
        if init_model is not None:
            training = training.model_copy(update={"init_model": init_model})
        heads = {"ensemble": self.uncertainty.members} if self.uncertainty.method == "shallow-ensemble" else {}
        return TrainConfig(
            data=data,
            model=self.model.model_copy(update=heads),
            targets=self.targets,
            optimizer=self.optimizer,
            schedule=self.schedule,
            training=training,
        )


class TestConfig(Section):
    """What each round's model is tested on, and never learns from."""

    __test__ = False  # not a test for pytest

    store: str | None = None
    """A labelled store."""
    share: float = Field(default=0.0, ge=0, lt=0.9)
    """Share of the campaign's own labels that is held out, every 1/share-th of them. Such a test set grows, so its
    errors compare two models, not two rounds; a store of its own is better where there is one."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.store is not None and self.share:
            raise ValueError("give either test.store (a store) or test.share (of the campaign's labels), not both")
        return self


class StopConfig(Section):
    """When the campaign ends; the first rule that holds ends it."""

    max_rounds: int = Field(default=10, ge=0)
    """Rounds after round 0, which is the one of the first labels."""
    forces: float | None = Field(default=None, gt=0)
    """Mean absolute force error on the test set [eV/Å]."""
    energy: float | None = Field(default=None, gt=0)
    """Mean absolute energy error on the test set [eV]."""
    max_labels: int | None = Field(default=None, gt=0)
    """Labels, those taken over from a store not counted; the last round chooses fewer to keep to it."""
    max_cpu_hours: float | None = Field(default=None, gt=0)
    """Time of all labels and trainings together [h]."""
    patience: int | None = Field(default=None, gt=0)
    """Rounds without gain."""
    min_gain: float = Field(default=0.02, ge=0, lt=1)
    """What counts as gain: the error of forces (or energies) is lower by this fraction than that of the model before,
    both on the test set as it is now."""
    uncertainty: float | None = Field(default=None, gt=0)
    """95th percentile of the candidates' uncertainty [eV/Å], below which nothing is left to ask."""


class ClusterConfig(Section):
    """Where labels and trainings run."""

    kind: Literal["local", "slurm", "pbs", "kubernetes", "address"] = "local"
    """``local`` this machine; ``slurm`` and ``pbs`` jobs of a batch system; ``kubernetes`` pods of its dask operator;
    ``address`` a dask scheduler that runs already."""
    workers: int = Field(default=0, ge=0)
    """Number of workers. 0, with ``local`` only: in the campaign's own process, without dask."""
    cores: int = Field(default=1, gt=0)
    """Threads of a worker's one task at a time (``OMP_NUM_THREADS``)."""
    memory: str | None = None
    """Memory of a worker, ``8GB``. Batch systems need it; a local worker has no limit by default."""
    walltime: str | None = None
    """Time limit of a batch job, ``12:00:00``. Its workers are replaced when it ends."""
    queue: str | None = None
    """Partition or queue of the batch system."""
    address: str | None = None
    """Address of the scheduler, ``tcp://host:8786``, or path of its scheduler file."""
    wait: float = Field(default=600.0, gt=0)
    """Seconds to wait for a scheduler that is not there, and without any worker; batch systems and Kubernetes are
    waited for without limit."""
    options: dict[str, Any] = Field(default={})
    """Further arguments of ``LocalCluster``, ``SLURMCluster``, ``PBSCluster`` or ``KubeCluster``."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind == "address") != (self.address is not None):
            raise ValueError("cluster.address goes with `kind: address`, and that kind needs it")
        if self.kind in ("slurm", "pbs") and self.memory is None:
            raise ValueError("a batch system needs cluster.memory, for instance 4GB")
        if self.kind not in ("local", "address") and not self.workers:
            raise ValueError("cluster.workers is 0, which only `kind: local` can have; give a number")
        return self


class CampaignConfig(Section):
    """A whole campaign."""

    name: str
    """What to call it."""
    structures: Paths = Field(min_length=1)
    """Files or stores of start structures; they are copied when the campaign is made, labels in them not looked at."""
    seed: int = 0
    """Seed of every draw."""
    initial: InitialConfig = InitialConfig()
    """First labels."""
    explore: ExploreConfig = ExploreConfig()
    """How candidates are made."""
    select: SelectionConfig = SelectionConfig()
    """Which of them are labelled."""
    label: LabelConfig
    """Reference method."""
    train: CampaignTraining
    """Model and training."""
    test: TestConfig = TestConfig()
    """Test set."""
    stop: StopConfig = StopConfig()
    """End."""
    cluster: ClusterConfig = ClusterConfig()
    """Where it runs."""

    @model_validator(mode="after")
    def _can_stop(self) -> Self:
        tested = self.test.store is not None or self.test.share > 0
        if not tested and (self.stop.forces or self.stop.energy or self.stop.patience):
            raise ValueError(
                "stop.forces, stop.energy and stop.patience need a test set: give test.store or test.share"
            )
        if self.stop.uncertainty is not None and self.train.uncertainty.method == "none":
            raise ValueError("stop.uncertainty needs an uncertain model: choose another train.uncertainty.method")
        return self


FIXED: Final = ("structures", "seed", "initial", "test", "label.engine", "label.options", "label.targets")
"""Keys that may not change once a campaign is made: its labels would no longer be what they are said to be. Everything
else counts from the next run on, ``explore``, ``select`` and ``train`` from the next round on."""
