"""The posterior of the linear family: exact, for the prior and the noise that its fit found.

    Λ = diag(1/s²) + Σ_structures Σ_rows φφᵀ/σ²

over the rows of energies, forces and stress of the training set. Nothing is approximated: the model is linear in its
weights, and its rows are analytic (``models/linear_rows.py``). The same :class:`LastLayer` that stands for other
families' last layers holds it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from adiabat.core.errors import ModelError
from adiabat.core.voigt import VOIGT
from adiabat.data.graph import Graph, separate
from adiabat.models.level_statistics import LabelledGraph
from adiabat.models.linear_ace import LinearEnergyHead
from adiabat.models.linear_rows import RowBuilder
from adiabat.models.linear_system import LinearSystem, in_float64
from adiabat.models.model import Model
from adiabat.models.posterior import Posterior

_SMALLEST_PRIOR = 1e-8
"""A weight that the fit kept at zero is this certain to be zero."""
_ROWS_AT_ONCE = 1024


def linear_posterior(model: Model, examples: Sequence[LabelledGraph]) -> Posterior:
    """The posterior of a fitted model's weights, for the data it was fitted to.

    Args:
        model: of the family linear-ace, as `adiabat train` fitted it.
        examples: its training set; labels of other quantities than energies, forces and stress are left out.

    Raises:
        ModelError: the model was not fitted, so that its noise is not known.
    """
    head = model.energy_head
    if not isinstance(head, LinearEnergyHead) or not bool(head.noise.isfinite().all()):
        raise ModelError(
            "a linear model whose noise is not known",
            expected="one that `adiabat train` fitted: prior and noise are found by the fit",
            suggestion="fit it, with model.family: linear-ace",
        )
    system = LinearSystem(model, examples)
    noise = head.noise.cpu().numpy()
    precision = np.zeros((system.n_weights, system.n_weights))
    waiting: list[np.ndarray] = []
    for index, example in enumerate(examples):
        if {"energy", "forces", "stress"} & set(example.counts):
            part = system.of(example)
            waiting.append(part.rows / noise[part.kinds][:, None])
        if waiting and (sum(map(len, waiting)) >= _ROWS_AT_ONCE or index == len(examples) - 1):
            rows = np.concatenate(waiting)
            precision += rows.T @ rows
            waiting.clear()
    prior = head.prior.cpu().numpy().ravel().clip(min=_SMALLEST_PRIOR)
    precision[np.diag_indices(len(precision))] += prior**-2
    return Posterior.from_precision(torch.from_numpy(precision))


def linear_spread(model: Model, posterior: Posterior, graph: Graph, outputs: set[str]) -> dict[str, Tensor]:
    """Exact standard deviations of energies and atomic energies, and of forces and stress where asked for."""
    builder = RowBuilder(model)
    wanted = outputs & {"forces", "stress"}
    energies, atomic, forces, stress = [], [], [], []
    for own in separate(graph):
        own = in_float64(own)
        rows = builder.rows(own, wanted if bool(own.pbc.all()) else wanted - {"stress"})
        kinds = [rows.energy[None], builder.atomic_rows(own), rows.forces, rows.stress]
        asked = [kind if kind is not None else np.zeros((0, builder.n_weights)) for kind in kinds]
        # One triangular solve for all of them.
        variances = posterior.variance(torch.from_numpy(np.concatenate(asked)).to(posterior.factor.device))
        parts = variances.sqrt().cpu().split([len(kind) for kind in asked])
        energies.append(parts[0])
        atomic.append(parts[1])
        if "forces" in wanted:
            forces.append(parts[2].view(-1, 3))
        if "stress" in wanted:
            full = torch.full((1, 3, 3), torch.nan, dtype=torch.float64)
            for (a, b), value in zip(VOIGT, parts[3], strict=False):
                full[0, a, b] = full[0, b, a] = value
            stress.append(full)
    found = {"energy": energies, "atomic_energies": atomic, "forces": forces, "stress": stress}
    return {name: torch.cat(part).to(graph.positions.device) for name, part in found.items() if part}
