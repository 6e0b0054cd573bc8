"""What a crystal demo is asked to do: every number that its result depends on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from adiabat.campaigns.crystal_demo_data import demo_engine
from adiabat.engines.base import Engine
from adiabat.engines.tight_binding import TightBindingEngine
from adiabat.models.config import ModelConfig
from adiabat.training.config import (
    DataConfig,
    HamiltonianTarget,
    LoopConfig,
    ScheduleConfig,
    StoreSlice,
    TargetsConfig,
    TrainConfig,
)

Count = Annotated[int, Field(gt=0)]

LabelSource = Literal["cp2k", "shipped", "tight-binding"]
"""Labels computed here, labels that the package brings, or those of a model that is no material."""

_ONE_IN: Final = 8
"""One training cell in so many chooses the best model instead."""


class CrystalDemoSettings(BaseModel):
    """Settings of a crystal demo; frozen, and unknown names are refused.

    Attributes:
        source: where labels come from.
        n_cells: cells to learn from and to choose by, evenly taken from the demo's 40; the held-out ones are extra.
        seed: of initial weights and order of cells.
        training_steps: optimizer steps.
        validation_interval: steps between validations.
        batch_size: cells a step.
        model: sizes of the model.
        path_points: points along the path of bands.
        dos_spacing: largest distance of k points of the density of states [1/Å].
        larger_repeats: copies of the two-atom cell along its vectors, of a cell that only the model sees;
            multiples of three fold K, where the band edges are, onto Γ.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: LabelSource
    n_cells: Annotated[int, Field(ge=2, le=40)] = 40
    seed: Annotated[int, Field(ge=0)] = 0
    training_steps: Count = 2000
    validation_interval: Count = 100
    batch_size: Count = 4
    model: ModelConfig = ModelConfig.model_validate(
        {"energy": False, "channels": 32, "l_max": 4, "operator": {"channels": 32, "hidden": 64}}
    )
    path_points: Annotated[int, Field(ge=2)] = 150
    dos_spacing: Annotated[float, Field(gt=0)] = 0.1
    larger_repeats: tuple[Count, Count] = (6, 6)

    @classmethod
    def labelled_here(cls, seed: int) -> "CrystalDemoSettings":
        """With half of the cells, which CP2K labels in a few minutes on two quiet cores."""
        return cls(source="cp2k", n_cells=20, seed=seed)

    @classmethod
    def crude(cls, seed: int) -> "CrystalDemoSettings":
        """The same chain in half a minute: labels of a Slater–Koster model, few cells, a small model."""
        return cls(
            source="tight-binding",
            n_cells=16,
            seed=seed,
            training_steps=100,
            validation_interval=20,
            model=ModelConfig.model_validate(
                {
                    "energy": False,
                    "cutoff": 4.0,
                    "channels": 8,
                    "hidden": 16,
                    "operator": {"channels": 8, "hidden": 16},
                }
            ),
            path_points=60,
            dos_spacing=0.3,
            larger_repeats=(3, 3),
        )

    def engine(self) -> Engine:
        """Who computes the labels.

        Raises:
            EngineError: CP2K is asked for and not installed.
        """
        assert self.source != "shipped"
        return demo_engine() if self.source == "cp2k" else TightBindingEngine()

    def parts(self, splits: Sequence[str]) -> dict[str, list[int]]:
        """Which of the demo's cells each part has.

        Args:
            splits: ``train`` or ``heldout``, for each cell.

        Returns: indices of the parts ``train``, ``validation`` and ``test``.
        """
        pool = [index for index, split in enumerate(splits) if split == "train"]
        n_chosen = min(self.n_cells, len(pool))
        chosen = [pool[int(place)] for place in (np.arange(n_chosen) + 0.5) * len(pool) / n_chosen]
        # Cells of one size stand together; every eighth, the first left out, is some of each.
        validation = chosen[_ONE_IN // 2 :: _ONE_IN] or chosen[-1:]
        return {
            "train": [index for index in chosen if index not in validation],
            "validation": validation,
            "test": [index for index, split in enumerate(splits) if split == "heldout"],
        }

    def training(self, directory: Path) -> TrainConfig:
        """Configuration of the training run on the stores in ``directory``."""
        stores = {part: (StoreSlice(path=str(directory / f"{part}.lmdb")),) for part in ("train", "validation")}
        return TrainConfig(
            data=DataConfig(train=stores["train"], validation=stores["validation"]),
            model=self.model,
            targets=TargetsConfig(hamiltonian=HamiltonianTarget()),
            schedule=ScheduleConfig(max_steps=self.training_steps),
            training=LoopConfig(
                batch_size=self.batch_size,
                seed=self.seed,
                num_threads=1,
                validation_interval=self.validation_interval,
                checkpoint_interval=self.validation_interval,
                log_interval=min(50, self.validation_interval),
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return self.model_dump(mode="json")
