"""An engine whose process dies, refuses or answers, as the structure says; importable by worker processes."""

import os
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adiabat.core.errors import EngineError
from adiabat.data.record import Labels, Provenance
from adiabat.data.structure import Structure
from adiabat.engines.base import Engine


@dataclass(frozen=True)
class DyingEngine(Engine):
    """Energy −Z of the first atom; hydrogen kills its process, helium is refused, lithium takes its time.

    Attributes:
        seconds: how long lithium takes.
    """

    name: ClassVar[str] = "dying"

    seconds: float = 30.0

    @property
    def available(self) -> frozenset[str]:
        """Energy only."""
        return frozenset({"energy"})

    def provenance(self, structure: Structure) -> Provenance:
        """No settings."""
        return Provenance(code="dying", method="none")

    def _compute(self, structure: Structure, targets: frozenset[str]) -> Labels:
        number = int(structure.atomic_numbers[0])
        if number == 1:
            os._exit(17)
        if number == 2:
            raise EngineError("helium", expected="another element", suggestion="drop it")
        if number == 3:
            time.sleep(self.seconds)
        return {"energy": np.array(-float(number) - float(os.environ["OMP_NUM_THREADS"]) + 1)}
