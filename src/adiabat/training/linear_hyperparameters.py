"""Prior and noise of a linear fit, from how well each structure is predicted by all others.

With K = Σ_ν s_ν² Φ_ν Φ_νᵀ + noise over the rows of some structures, the prediction of one structure's labels y_b from
all others, and its variance, follow from one inverse for all structures at once:

    r_b = (K⁻¹)_bb⁻¹ (K⁻¹ y)_b,    v_b = diag (K⁻¹)_bb⁻¹

What is minimized is −Σ ln N(r; 0, v), each row on its own. The marginal likelihood, which would cost the same, takes
what the model cannot describe for independent noise: on 20 frames of ethanol it drives the noise to nothing, and the
fit to errors half as large again (docs/theory/linear-ace.md).

Source: [rasmussen2006] eqs. 5.10 to 5.12, for blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor

from adiabat.models.linear_system import KINDS, LabelledRows

Array = npt.NDArray[np.float64]

_START_NOISE: Final = np.log([0.02, 0.02, 0.02])
_SCALE_RANGE: Final = (-6.0, 12.0)
_NOISE_RANGE: Final = (-9.0, 1.0)
"""Natural logarithms, in units of the typical force."""
_NOISE_OVER_FORCES: Final = 0.05
"""Noise of energies and stress is at least this part of that of forces: what a wrong force does over 0.05 Å. Thirty
energies do not tell their own noise, and taken for exact they would spoil the forces."""
_MAX_ITERATIONS: Final = 25


@dataclass(frozen=True, eq=False)
class Hyperparameters:
    """What the fit takes for granted, in units of the head's scale.

    Attributes:
        scales: (n_orders,) standard deviation s_ν of a weight of each order ν, before smoothness.
        noise: (3,) standard deviation of what is left of energies (over √n_atoms), forces and stress.
        log_density: mean logarithm of the density of a label under its prediction from the other structures.
    """

    scales: Array
    noise: Array
    log_density: float


def smoothness(degrees: Array, power: float) -> Array:
    """(1 + Σ (n + l))^−power: how much smaller a weight is expected to be, the more its feature varies."""
    return (1.0 + degrees) ** -power


def find_hyperparameters(structures: Sequence[LabelledRows], orders: Array, shape: Array) -> Hyperparameters:
    """Choose scales and noise by prediction of each structure from the others.

    Args:
        structures: two or more.
        orders: (n_weights,) ν of each weight's feature, 0 for constants.
        shape: (n_weights,) prior standard deviations before scaling.
    """
    labels = torch.from_numpy(np.concatenate([part.labels for part in structures]))
    kinds = torch.from_numpy(np.concatenate([part.kinds for part in structures]))
    sizes = [len(part) for part in structures]
    grams: list[Tensor] = []
    for order in range(int(orders.max()) + 1):
        chosen = orders == order
        rows = np.concatenate([part.rows[:, chosen] * shape[chosen] for part in structures])
        grams.append(torch.from_numpy(rows @ rows.T))
    n_orders = len(grams)
    # An order whose rows are all zero, such as bonds' sums in a fit to nothing but one-atom frames, tells nothing.
    start = np.concatenate([[_level(gram, kinds) for gram in grams], _START_NOISE])

    def objective(x: Array) -> tuple[float, Array]:
        variables = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        loss = _minus_log_density(variables, grams, labels, kinds, sizes)
        loss.backward()
        assert variables.grad is not None
        return loss.item(), variables.grad.numpy()

    bounds = [_SCALE_RANGE] * n_orders + [_NOISE_RANGE] * len(KINDS)
    found = minimize(
        objective, np.clip(start, *np.array(bounds).T), jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": _MAX_ITERATIONS, "ftol": 1e-5},
    )  # fmt: skip
    noise = np.exp(found.x[n_orders:])
    if bool((kinds == 1).any()):
        noise = np.maximum(noise, _NOISE_OVER_FORCES * noise[1])
    return Hyperparameters(np.exp(found.x[:n_orders]), noise, -float(found.fun))


def _level(gram: Tensor, kinds: Tensor) -> float:
    """Logarithm of the s that makes the prior of the forces, or of the energies where there are none, about one."""
    diagonal = gram.diagonal()
    forces = diagonal[kinds == 1]
    typical = float((forces if len(forces) and float(forces.max()) > 0 else diagonal).mean())
    return float(-0.5 * np.log(typical)) if typical > 0 else 0.0


def _minus_log_density(
    variables: Tensor, grams: Sequence[Tensor], labels: Tensor, kinds: Tensor, sizes: Sequence[int]
) -> Tensor:
    variances = (2 * variables).exp()
    covariance = sum((s * gram for s, gram in zip(variances, grams, strict=False)), torch.zeros_like(grams[0]))
    return minus_log_density(covariance, variances[len(grams) :].index_select(0, kinds), labels, sizes)


def minus_log_density(covariance: Tensor, noise: Tensor, labels: Tensor, sizes: Sequence[int]) -> Tensor:
    """Mean −ln of the density of each label under its prediction from all other structures, constants left out.

    Args:
        covariance: (n, n) of the labels under the prior, noise not counted.
        noise: (n,) variances.
        labels: (n,).
        sizes: number of labels of each structure, in order.
    """
    factor = torch.linalg.cholesky(covariance + torch.diag(noise + 1e-12 * covariance.diagonal().mean()))
    inverse = torch.cholesky_inverse(factor)
    solved = inverse @ labels
    total = labels.new_zeros(())
    start = 0
    for size in sizes:
        block = slice(start, start + size)
        own = torch.linalg.inv(inverse[block, block])
        variance = own.diagonal()
        total = total + (variance.log() + (own @ solved[block]).square() / variance).sum()
        start += size
    return total / (2 * len(labels))
