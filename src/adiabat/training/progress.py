"""Where a run stands, and how it ended."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adiabat.training.schedule import Plateau


@dataclass
class Progress:
    """Where a run stands; with the tensors, all that a checkpoint holds.

    Attributes:
        step: steps taken.
        elapsed: training time in s, pauses not counted.
        best: best validation value; None before the first validation.
        best_metrics: all validation errors of the best model.
        stalled: validations since then.
        plateau: memory of the plateau schedule.
        steps_since_log: steps in the running mean of the loss.
    """

    step: int = 0
    elapsed: float = 0.0
    best: float | None = None
    best_metrics: dict[str, float] | None = None
    stalled: int = 0
    plateau: Plateau = field(default_factory=Plateau)
    steps_since_log: int = 0

    def observe(self, value: float, metrics: Mapping[str, float]) -> bool:
        """Take in a validation; returns whether it is the best so far."""
        improved = self.best is None or value < self.best
        if improved:
            self.best, self.best_metrics, self.stalled = value, dict(metrics), 0
        else:
            self.stalled += 1
        return improved

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Progress":
        """Inverse of :meth:`to_json`."""
        values: dict[str, Any] = {**data, "plateau": Plateau(**data["plateau"])}
        return cls(**values)


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        reason: ``finished``, ``early stopping``, or the signal that interrupted it.
        step: steps taken.
        minutes: training time.
        model_path: the model package; None if the run was interrupted before there was one.
        validation: errors of the saved model on the validation frames, if there are any.
        test: errors of the saved model on the test frames, if there are any and the run has ended.
    """

    reason: str
    step: int
    minutes: float
    model_path: Path | None
    validation: Mapping[str, float] | None = None
    test: Mapping[str, float] | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the run was stopped by a signal and can be resumed."""
        return self.reason.startswith("SIG")
