"""The fit of the linear family: prior and noise from a few structures, the noise's level from others, and one solve."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from adiabat.core.errors import TrainingError
from adiabat.models.linear_ace import LinearAce, LinearEnergyHead
from adiabat.models.linear_system import KINDS, LabelledRows, LinearSystem, n_labels
from adiabat.models.model import Model
from adiabat.training.batches import Example
from adiabat.training.config import LinearFitConfig
from adiabat.training.linear_hyperparameters import Hyperparameters, find_hyperparameters, smoothness
from adiabat.training.linear_solver import RidgeSolver, Solution

Array = npt.NDArray[np.float64]
Report = Callable[[str, float], None]
"""Told what is being done, and what part of all is done; may raise to stop."""

_MIN_STRUCTURES: Final = 30
"""Structures from which prior and noise are found, of large ones with a part of their forces."""
_HELD_OUT_ROWS: Final = 600
_NOISE_FACTORS: Final = (1.0, 0.5, 0.25, 0.125, 0.0625)
_LARGEST_FACTOR: Final = 1024.0
_ROWS_SHARE, _SOLVE_SHARE = 0.7, 0.9


@dataclass(frozen=True, eq=False)
class LinearFit:
    """What a fit found, in units of the head's scale.

    Attributes:
        weights: (n_weights,).
        prior: (n_weights,) standard deviation of each weight before any label.
        noise: (3,) standard deviation of what is left of energies (over √n_atoms), forces, and stress (times v^(2/3), v
            the volume of an atom).
        summary: plain JSON values for logs and provenance.
    """

    weights: Array
    prior: Array
    noise: Array
    summary: dict[str, Any]


def fit_linear(
    model: Model, examples: Sequence[Example], settings: LinearFitConfig, report: Report, *, constants: bool = True
) -> LinearFit:
    """Fit the weights of a model of the family linear-ace, and put them and what else was found into its head.

    Args:
        model: with reference energies and scale set.
        examples: training set.
        settings: of the fit.
        report: told of the progress.
        constants: let each element have a constant beside its reference energy.
    """
    assert isinstance(model.trunk, LinearAce)
    assert isinstance(model.energy_head, LinearEnergyHead)
    n_species = len(model.atomic_numbers)
    orders = np.tile(model.trunk.orders.numpy(), n_species)
    shape = smoothness(np.tile(model.trunk.degrees.numpy(), n_species), settings.smoothness)
    if not constants:
        shape[orders == 0] = 0
    chosen = evenly_spaced(examples, settings.hyperparameter_rows)
    report(f"prior and noise from {len(chosen)} structures", 0.0)
    system = LinearSystem(model, examples)
    each = -(-settings.hyperparameter_rows // len(chosen))
    parts = [system.of(examples[index]).thinned(each, index) for index in chosen]
    found = find_hyperparameters(parts, orders, shape)
    prior = shape * found.scales[orders]
    fit = _Accumulation(system, found, report).fit(prior, set(chosen))
    head = model.energy_head
    with torch.no_grad():
        head.weights.copy_(torch.from_numpy(fit.weights).view_as(head.weights))
    head.prior.copy_(torch.from_numpy(fit.prior).view_as(head.prior))
    head.noise.copy_(torch.from_numpy(fit.noise))
    scale = float(head.scale)
    fit.summary["noise"] = {kind: float(value) * scale for kind, value in zip(KINDS[:2], fit.noise, strict=False)}
    return fit


def evenly_spaced(examples: Sequence[Example], n_rows: int) -> list[int]:
    """Indices of structures over the whole set with about so many labels together, or more if they are too few.

    A few large structures tell enough of forces, and too little of energies, of which each has one.
    """
    mean = sum(n_labels(example) for example in examples) / len(examples)
    count = min(len(examples), max(_MIN_STRUCTURES, round(n_rows / mean)))
    return np.unique(np.linspace(0, len(examples) - 1, count).round().astype(int)).tolist()


class _Accumulation:
    """The rows of all structures, some of them kept back until the noise is known."""

    def __init__(self, system: LinearSystem, found: Hyperparameters, report: Report) -> None:
        self.system, self.found, self.report = system, found, report
        self.solver = RidgeSolver(system.n_weights, system.n_rows, found.noise)

    def fit(self, prior: Array, known: set[int]) -> LinearFit:
        """Solve; ``known`` are the structures that hyperparameters were found from."""
        n_structures = len(self.system.examples)
        rest = [index for index in range(n_structures) if index not in known]
        mean = self.system.n_rows / n_structures
        count = min(len(rest) // 2, max(1, round(_HELD_OUT_ROWS / mean)))
        held = set(rest[:: max(1, len(rest) // count)][:count]) if count else set()
        kept: list[LabelledRows] = []
        for done, index in enumerate(range(n_structures)):
            part = self.system.of(self.system.examples[index])
            if index in held:
                kept.append(part)
            else:
                self.solver.add(part)
            self.report(f"rows of structure {done + 1} of {n_structures}", 0.1 + 0.6 * (done + 1) / n_structures)
        factor, spread = self._level(prior, kept) if kept else (1.0, 1.0)
        for part in kept:
            self.solver.add(part)
        self.report("weights", _SOLVE_SHARE)
        solution, factor = self._solved(prior, factor)
        summary = {
            "n_weights": self.system.n_weights,
            "n_labels": self.system.n_rows,
            "scales": self.found.scales.tolist(),
            "log_density": self.found.log_density,
            "noise_factor": factor,
            "spread_factor": spread,
        }
        return LinearFit(solution.weights, prior * spread, self.found.noise * factor * spread, summary)

    def _solved(self, prior: Array, factor: float) -> tuple[Solution, float]:
        """Solve at the factor of the noise, or at the nearest larger one at which double precision can.

        Raises:
            TrainingError: there is none.
        """
        while factor <= _LARGEST_FACTOR:
            try:
                return self.solver.solve(prior, factor), factor
            except np.linalg.LinAlgError:
                # The noise is so small beside what the prior allows that the prior is lost in rounding.
                factor *= 2
        raise TrainingError(
            f"{self.system.n_rows} labels that no level of noise makes solvable",
            expected="rows and labels that are finite and not all alike",
            suggestion="look for frames with absurd labels with `adiabat data audit`, or lower linear_ace.degrees",
        )

    def _level(self, prior: Array, held_out: Sequence[LabelledRows]) -> tuple[float, float]:
        """Factors of the noise, and of prior and noise together, from structures that are not fitted.

        Under the first they are predicted best. The second moves no weight, and makes the spread of their errors what
        it is predicted to be.
        """
        noise = self.found.noise
        best: tuple[float, float, Solution] | None = None
        for number, factor in enumerate(_NOISE_FACTORS):
            self.report(f"level of noise, attempt {number + 1}", _ROWS_SHARE + 0.03 * number)
            solution, solved_at = self._solved(prior, factor)
            if solved_at != factor and best is not None:
                break
            errors = np.concatenate([part.rows @ solution.weights - part.labels for part in held_out])
            score = _score(errors, np.concatenate([part.kinds for part in held_out]))
            if best is not None and score >= best[1]:
                break
            best = (solved_at, score, solution)
        assert best is not None
        factor, _, solution = best
        ratios = [
            np.square(part.rows @ solution.weights - part.labels)
            / (solution.variance(part.rows) + np.square(factor * noise[part.kinds]))
            for part in held_out
        ]
        return factor, float(np.mean(np.concatenate(ratios)) ** 0.5)


def _score(errors: Array, kinds: npt.NDArray[np.int64]) -> float:
    """Σ_kinds n ln(mean square error): a per cent less error of one kind counts as often as it has labels."""
    own = [errors[kinds == kind] for kind in np.unique(kinds)]
    return float(sum(len(part) * np.log(np.mean(np.square(part)) + np.finfo(np.float64).tiny) for part in own))
