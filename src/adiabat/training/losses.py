"""Loss terms, each a pure number: weight · mean ρ(error / scale)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from adiabat.models.model import Prediction
from adiabat.training.batches import Batch
from adiabat.training.config import TargetConfig, TargetsConfig
from adiabat.training.metrics import ErrorSums


def errors(prediction: Prediction, batch: Batch) -> dict[str, tuple[Tensor, ...]]:
    """Prediction minus label, by target, in our units; zero where there is no label.

    The energy's error is divided by the number of atoms. The Hamiltonian's comes in two parts, the (n_atoms, P, P)
    blocks of single atoms and the (n_pairs, P, P) blocks of ordered pairs.
    """
    found: dict[str, tuple[Tensor, ...]] = {}
    for target in batch.outputs:
        predicted = getattr(prediction, target)
        if target == "hamiltonian":
            found[target] = (_masked(batch, "onsite", predicted.onsite), _masked(batch, "pair", predicted.pair))
        else:
            error = _masked(batch, target, predicted)
            found[target] = (error / batch.atoms_per_structure if target == "energy" else error,)
    return found


def _masked(batch: Batch, key: str, predicted: Tensor) -> Tensor:
    difference = predicted - batch.values[key]
    mask = batch.masks.get(key)
    return difference if mask is None else torch.where(mask, difference, 0)


def total_loss(found: Mapping[str, tuple[Tensor, ...]], batch: Batch, targets: TargetsConfig) -> Tensor:
    """Sum of all loss terms of a batch, shape (), float64."""
    terms = [
        sum((_penalty(part, config) for part in found[name]), start=_zero(found[name][0]))
        * (config.weight / _n_penalties(batch.counts[name], found[name], config))
        for name, config in targets.active.items()
        if name in found
    ]
    return torch.stack(terms).sum()


def _zero(like: Tensor) -> Tensor:
    return torch.zeros((), dtype=torch.float64, device=like.device)


def _n_penalties(n_labels: int, parts: tuple[Tensor, ...], config: TargetConfig) -> float:
    """Number of values that ρ is summed over: labels, or vectors and blocks for ``norm``."""
    if config.loss != "norm" or parts[0].ndim == 1:
        return n_labels
    if len(parts) == 2:
        return sum(len(part) for part in parts)
    return n_labels / parts[0][0].numel()


def _penalty(part: Tensor, config: TargetConfig) -> Tensor:
    """Σ ρ(error / scale) over one array of errors, shape ()."""
    scaled = part / config.scale
    match config.loss:
        case "mse":
            return scaled.square().sum()
        case "mae":
            return scaled.abs().sum()
        case "norm":
            return (scaled.flatten(1).norm(dim=1) if scaled.ndim > 1 else scaled.abs()).sum()
        case "huber":
            delta = config.huber_delta
            return torch.nn.functional.huber_loss(scaled, torch.zeros_like(scaled), reduction="sum", delta=delta)


def add_errors(sums: ErrorSums, found: Mapping[str, tuple[Tensor, ...]], batch: Batch) -> None:
    """Add the errors of a batch to running sums; energies both in total and per atom."""
    for target, parts in found.items():
        if target == "energy":
            sums.add("energy", parts[0] * batch.atoms_per_structure, batch.counts[target])
            sums.add("energy_per_atom", parts[0], batch.counts[target])
        else:
            for index, part in enumerate(parts):
                sums.add(target, part, batch.counts[target] if index == 0 else 0)
