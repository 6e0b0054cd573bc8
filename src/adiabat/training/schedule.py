"""How far a run has come and what its learning rate is."""

import math
from dataclasses import dataclass

from adiabat.training.config import ScheduleConfig


def progress(config: ScheduleConfig, step: int, elapsed_minutes: float) -> float:
    """Fraction of the run that is done: the larger of its fractions in steps and in time; 1 or more at the end."""
    by_steps = step / config.max_steps if config.max_steps else 0.0
    by_time = elapsed_minutes / config.max_minutes if config.max_minutes else 0.0
    return max(by_steps, by_time)


@dataclass
class Plateau:
    """The one part of a schedule with a memory.

    Attributes:
        factor: learning rate over the peak rate.
        stalled: validations since the last improvement or reduction.
    """

    factor: float = 1.0
    stalled: int = 0

    def observe(self, improved: bool, config: ScheduleConfig) -> None:
        """Count a validation; reduce the rate after ``plateau_patience`` without improvement."""
        self.stalled = 0 if improved else self.stalled + 1
        if self.stalled >= config.plateau_patience:
            self.factor = max(self.factor * config.plateau_factor, config.final_factor)
            self.stalled = 0


def rate_factor(config: ScheduleConfig, step: int, done: float, plateau: Plateau) -> float:
    """Learning rate of a step over the peak rate.

    Args:
        config: shape and length.
        step: steps taken before this one.
        done: :func:`progress` before this step.
        plateau: state of the plateau schedule.
    """
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    fall = min(max((done - config.hold_fraction) / (1 - config.hold_fraction), 0.0), 1.0)
    final = config.final_factor
    match config.kind:
        case "cosine":
            factor = final + (1 - final) * (1 + math.cos(math.pi * fall)) / 2
        case "linear":
            factor = 1 - (1 - final) * fall
        case "exponential":
            factor = final**fall
        case "plateau":
            factor = plateau.factor
        case "constant":
            factor = 1.0
    return warmup * factor
