"""Which structure to label next, and at which level of theory: the most knowledge of the costly level for a second.

Levels are modelled together, each as the one below times a factor plus a difference of its own [kennedy2000]:

    y_0 = φ·w_0,   y_k = ρ_k y_{k−1} + φ·w_k,      w_0 ~ N(0, v_0),  w_k ~ N(0, v_k)

which is one Bayesian linear regression over (w_0, w_1, …): a label of the lowest level has the row (φ, 0, …), one of
the level above (ρ_1 φ, φ, 0, …). Variances v, factors ρ and noise are learned from labels at hand. With Σ the
covariance of all weights, and the rows P of forces at the last level over a pool, a label with rows R lowers their mean
variance by

    gain = tr[P Σ Rᵀ (R Σ Rᵀ + noise)⁻¹ R Σ Pᵀ] / n_pool

whatever its value will be, so that labels can be chosen before they are computed: the largest gain per CPU-second
first. The marginal likelihood is that of [mackay1992].
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor

from adiabat.campaigns.selection.variance import VarianceDesign
from adiabat.core.errors import ConfigError, LabelError

Array = npt.NDArray[np.float64]

_RANGES: Final = {"prior": (-12.0, 12.0), "factor": (-3.0, 3.0), "noise": (-4.0, 1.0)}
"""Of natural logarithms, about the labels' own size; what a linear model leaves is never less than 2 % of it."""
_MAX_ITERATIONS: Final = 60


@dataclass(frozen=True, eq=False)
class LevelLabels:
    """Labels of one structure at one level.

    Attributes:
        level: number of the level, 0 the cheapest.
        rows: (n, n_features) what the labels are linear in, weights of unit prior variance.
        values: (n,) labels.
    """

    level: int
    rows: Array
    values: Array


@dataclass(frozen=True, eq=False)
class LevelModel:
    """How the levels hang together.

    Attributes:
        prior: (n_levels,) v_k, variance of a weight of the lowest level and of each difference.
        factors: (n_levels,) ρ_k; the first is 1.
        noise: (n_levels,) variance of a label about the model.
    """

    prior: Array
    factors: Array
    noise: Array

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return len(self.prior)

    def coefficients(self, level: int) -> Array:
        """(n_levels,) by which φ is multiplied for each block of weights in a row of a level."""
        found = np.zeros(self.n_levels)
        for block in range(level + 1):
            found[block] = np.prod(self.factors[block + 1 : level + 1])
        return found

    def rows(self, level: int, features: Array) -> Array:
        """(n, n_levels · n_features) rows of labels at a level."""
        return np.asarray(np.kron(self.coefficients(level), features), dtype=np.float64)


def learn_levels(labels: Sequence[LevelLabels], n_levels: int) -> LevelModel:
    """Variances, factors and noise of the largest marginal likelihood of all labels together.

    Args:
        labels: of every level, two structures or more of each; structures with labels of several levels tell most of
            how well one follows from the other. The time goes as the cube of their number.
        n_levels: number of levels.

    Raises:
        LabelError: a level with fewer than two labelled structures.
    """
    for level in range(n_levels):
        count = sum(part.level == level for part in labels)
        if count < 2:
            raise LabelError(
                f"{count} labelled structures of level {level}",
                expected="two or more of every level, from which their differences are learned",
                suggestion="label a few structures at that level first",
            )
    features = torch.from_numpy(np.concatenate([part.rows for part in labels]))
    values = torch.from_numpy(np.concatenate([part.values for part in labels]))
    level_of = torch.from_numpy(np.repeat([part.level for part in labels], [len(part.values) for part in labels]))
    gram = features @ features.mT
    spread = float(values.square().mean())
    start_prior = 0.5 * np.log(spread / float(gram.diagonal().mean()))
    start = [start_prior, *[start_prior - 1] * (n_levels - 1), *[1.0] * (n_levels - 1)]
    start += [0.5 * np.log(spread) - 2] * n_levels

    def objective(x: Array) -> tuple[float, Array]:
        variables = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        prior, factors, noise = variables.split([n_levels, n_levels - 1, n_levels])
        weights = _coefficients(factors).index_select(0, level_of)
        covariance = ((weights * (2 * prior).exp()) @ weights.mT) * gram
        factor = torch.linalg.cholesky(covariance + torch.diag((2 * noise).exp().index_select(0, level_of)))
        whitened = torch.linalg.solve_triangular(factor, values.unsqueeze(-1), upper=False)
        loss = (whitened.square().sum() / 2 + factor.diagonal().log().sum()) / len(values)
        loss.backward()
        assert variables.grad is not None
        return loss.item(), variables.grad.numpy()

    prior_range = tuple(start_prior + np.array(_RANGES["prior"]))
    noise_range = tuple(0.5 * np.log(spread) + np.array(_RANGES["noise"]))
    bounds = [prior_range] * n_levels + [_RANGES["factor"]] * (n_levels - 1) + [noise_range] * n_levels
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _MAX_ITERATIONS}
    ).x
    prior, factors, noise = np.split(found, [n_levels, 2 * n_levels - 1])
    return LevelModel(np.exp(2 * prior), np.concatenate([[1.0], factors]), np.exp(2 * noise))


def _coefficients(factors: Tensor) -> Tensor:
    """(n_levels, n_levels) by level and block; see :meth:`LevelModel.coefficients`."""
    rows = [torch.cat([factors.new_ones(1), factors.new_zeros(len(factors))])]
    for level in range(1, len(factors) + 1):
        own = torch.nn.functional.one_hot(torch.tensor(level), len(factors) + 1).to(factors.dtype)
        rows.append(rows[-1] * factors[level - 1] + own)
    return torch.stack(rows)


def covariance_after(model: LevelModel, n_features: int, labels: Iterable[LevelLabels] = ()) -> Array:
    """Σ of all weights, (n_levels · n_features,) squared, after some labels."""
    precision = np.diag(np.repeat(1 / model.prior, n_features))
    for part in labels:
        rows = model.rows(part.level, part.rows)
        precision += rows.T @ rows / model.noise[part.level]
    return np.asarray(np.linalg.inv(precision), dtype=np.float64)


def choose(
    candidates: Sequence[Array],
    levels: Sequence[str],
    costs: Mapping[str, float],
    model: LevelModel,
    covariance: Array,
    pool: Array,
    budget: float,
    taken: Iterable[tuple[int, str]] = (),
) -> list[tuple[int, str]]:
    """Labels to compute, in the order of their gain per cost, for as long as the budget lasts.

    Args:
        candidates: (n_i, n_features) rows of the labels that each structure would give.
        levels: names, the cheapest first, the last the one that is to be known.
        costs: of one label at each level [CPU-s].
        model: how the levels hang together.
        covariance: of all weights now.
        pool: (n, n_features) rows of what is to be known at the last level.
        budget: sum of costs [CPU-s].
        taken: labels that exist, which are not chosen again.

    Returns: index of the candidate and name of the level; none whose cost the rest of the budget does not cover.

    Raises:
        ConfigError: a level without a cost above zero, or another number of levels than the model has.
    """
    wrong = [level for level in levels if not costs.get(level, 0) > 0]
    if wrong or len(levels) != model.n_levels:
        raise ConfigError(
            f"levels {', '.join(levels)} with costs {dict(costs)}, for a model of {model.n_levels} levels",
            expected="a cost in CPU-seconds above zero for each level of the model",
            suggestion="take the mean times that the labels at hand were computed in",
        )
    names = list(levels)
    design = VarianceDesign(model.rows(model.n_levels - 1, pool), covariance, float(model.noise[-1]))
    rows = {
        (index, name): model.rows(level, candidate)
        for index, candidate in enumerate(candidates)
        for level, name in enumerate(names)
    }
    known = set(taken)
    left = [label for label in rows if label not in known]
    noise = dict(zip(names, model.noise.tolist(), strict=True))
    chosen: list[tuple[int, str]] = []
    while open_now := [label for label in left if costs[label[1]] <= budget]:
        gains = design.gains([rows[label] for label in open_now], [noise[name] for _, name in open_now])
        rates = gains / np.array([costs[name] for _, name in open_now])
        best = open_now[int(rates.argmax())]
        design.add(rows[best], noise[best[1]])
        chosen.append(best)
        budget -= costs[best[1]]
        left.remove(best)
    return chosen
