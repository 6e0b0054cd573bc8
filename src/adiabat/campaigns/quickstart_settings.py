"""What a quickstart is asked to do: every number that its result depends on."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.models.config import ModelConfig
from adiabat.simulation.settings import MdSettings
from adiabat.training.config import DataConfig, LoopConfig, OptimizerConfig, ScheduleConfig, StoreSlice, TrainConfig

Count = Annotated[int, Field(gt=0)]


class QuickstartSettings(BaseModel):
    """Settings of a quickstart; frozen, and unknown names are refused.

    The defaults fill about seven minutes on two cores.

    Attributes:
        seed: of geometries, initial weights, order of frames and velocities.
        xc: functional of the labels.
        basis: orbital basis of the labels.
        grid_level: PySCF's integration grid.
        n_train: geometries to learn from.
        n_validation: geometries that choose the best model.
        n_test: geometries that judge it.
        temperatures: T that geometries are drawn at [K].
        training_steps: optimizer steps.
        validation_interval: steps between validations.
        model: sizes of the model.
        time_step: of the dynamics [fs].
        dynamics_steps: time steps.
        start_temperature: T of the initial velocities [K]. The start is near the minimum, so vibrations keep half
            of it.
        frame_interval: time steps between saved frames, each with its electronic structure. At 2 fs there are four
            frames to a period of the O–H stretch (9 fs); much fewer would show a slow motion that is not there.
        n_checkpoints: frames of the trajectory that DFT computes as well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(ge=0)] = 0
    xc: str = "pbe"
    basis: str = "def2-svp"
    grid_level: Annotated[int, Field(ge=0, le=9)] = 5
    n_train: Count = 120
    n_validation: Count = 20
    n_test: Count = 20
    temperatures: tuple[float, ...] = (300.0, 600.0, 1000.0)
    training_steps: Count = 4000
    validation_interval: Count = 100
    model: ModelConfig = ModelConfig.model_validate({"channels": 32, "operator": {"channels": 48, "hidden": 64}})
    time_step: Annotated[float, Field(gt=0)] = 0.5
    dynamics_steps: Count = 4000
    start_temperature: Annotated[float, Field(gt=0)] = 600.0
    frame_interval: Count = 4
    n_checkpoints: Count = 5

    @classmethod
    def crude(cls, seed: int) -> "QuickstartSettings":
        """The same chain in about a minute: a minimal basis, few geometries, a short trajectory."""
        return cls(
            seed=seed,
            xc="hf",
            basis="sto-3g",
            grid_level=0,
            n_train=24,
            n_validation=6,
            n_test=6,
            training_steps=600,
            validation_interval=60,
            model=ModelConfig.model_validate(
                {"channels": 16, "order": 2, "hidden": 32, "operator": {"channels": 16, "order": 2, "hidden": 32}}
            ),
            dynamics_steps=400,
            n_checkpoints=2,
        )

    def engine(self) -> PyscfEngine:
        """The reference method."""
        return PyscfEngine(xc=self.xc, basis=self.basis, grid_level=self.grid_level)

    def training(self, directory: Path) -> TrainConfig:
        """Configuration of the training run on the stores in ``directory``."""
        stores = {part: (StoreSlice(path=str(directory / f"{part}.lmdb")),) for part in ("train", "validation")}
        return TrainConfig(
            data=DataConfig(train=stores["train"], validation=stores["validation"]),
            model=self.model,
            optimizer=OptimizerConfig(learning_rate=5e-3),
            schedule=ScheduleConfig(max_steps=self.training_steps),
            training=LoopConfig(
                batch_size=5,
                seed=self.seed,
                num_threads=1,
                validation_interval=self.validation_interval,
                checkpoint_interval=self.validation_interval,
                log_interval=min(50, self.validation_interval),
            ),
        )

    def dynamics(self) -> MdSettings:
        """Settings of the trajectory."""
        return MdSettings(
            ensemble="nve",
            timestep_fs=self.time_step,
            steps=self.dynamics_steps,
            temperature_K=self.start_temperature,
            seed=self.seed,
            log_interval=1,
            trajectory_interval=self.frame_interval,
            restart_interval=200,
        )

    def parts(self) -> dict[str, int]:
        """Number of geometries of each part."""
        return {"train": self.n_train, "validation": self.n_validation, "test": self.n_test}

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return self.model_dump(mode="json")
