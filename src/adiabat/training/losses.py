"""Loss terms, each a pure number: weight · mean ρ(error / scale)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from adiabat.models.model import Model, Prediction
from adiabat.models.operator_layout import OperatorBlocks
from adiabat.training.batches import Batch
from adiabat.training.config import SPECTRAL, HamiltonianTarget, TargetConfig, TargetsConfig
from adiabat.training.metrics import ErrorSums


def errors(prediction: Prediction, batch: Batch) -> dict[str, tuple[Tensor, ...]]:
    """Prediction minus label, by target, in our units; zero where there is no label.

    The energy's error is divided by the number of atoms. The Hamiltonian's comes in two parts, the (n_atoms, …, P, P)
    blocks of single atoms and the (n_pairs, …, P, P) blocks of ordered pairs. Errors of the spectrum are flat.
    """
    found: dict[str, tuple[Tensor, ...]] = {}
    for target in batch.outputs:
        predicted = getattr(prediction, target)
        if target == "hamiltonian":
            parts = (_masked(batch, "onsite", predicted.onsite), _masked(batch, "pair", predicted.pair))
            found[target] = _without_shift(parts, batch) if "onsite_overlap" in batch.values else parts
        else:
            error = _masked(batch, target, predicted)
            found[target] = (error / batch.atoms_per_structure if target == "energy" else error,)
    if any(name in batch.counts for name in SPECTRAL):
        assert prediction.hamiltonian is not None
        found |= _spectral_errors(prediction.hamiltonian, batch)
    return found


def _masked(batch: Batch, key: str, predicted: Tensor) -> Tensor:
    difference = predicted - batch.values[key]
    mask = batch.masks.get(key)
    return difference if mask is None else torch.where(mask, difference, 0)


def _without_shift(parts: tuple[Tensor, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
    """Errors of H less the multiple of S that makes each structure's smallest, in the sense of least squares."""
    overlaps = batch.values["onsite_overlap"], batch.values["pair_overlap"]
    of_atom = batch.graph.structure_index
    owners = of_atom, of_atom.index_select(0, batch.graph.pair_index[0])
    along, norm = (torch.zeros(batch.graph.n_structures, dtype=torch.float64, device=of_atom.device) for _ in range(2))
    for part, overlap, owner in zip(parts, overlaps, owners, strict=True):
        along = along.index_add(0, owner, (part * overlap).flatten(1).sum(1).double())
        norm = norm.index_add(0, owner, overlap.square().flatten(1).sum(1).double())
    shift = (along / norm.clamp(min=1e-12)).to(parts[0].dtype)
    left = [
        part - overlap * shift.index_select(0, owner).view(-1, *(1,) * (overlap.ndim - 1))
        for part, overlap, owner in zip(parts, overlaps, owners, strict=True)
    ]
    return left[0], left[1]


def _spectral_errors(blocks: OperatorBlocks, batch: Batch) -> dict[str, tuple[Tensor, ...]]:
    atoms = [int(n) for n in batch.atoms_per_structure.tolist()]
    found: dict[str, list[Tensor]] = {}
    for onsite, pair, spectrum in zip(
        blocks.onsite.split(atoms), blocks.pair.split(list(batch.pairs_per_structure)), batch.spectra, strict=True
    ):
        if spectrum is not None:
            for name, error in spectrum.errors(onsite, pair).items():
                found.setdefault(name, []).append(error)
    return {name: (torch.cat(parts),) for name, parts in found.items()}


def total_loss(
    found: Mapping[str, tuple[Tensor, ...]],
    batch: Batch,
    targets: TargetsConfig,
    model: Model,
    weights: Tensor | None = None,
) -> Tensor:
    """Sum of all loss terms of a batch, shape (), float64.

    Args:
        found: errors, from :func:`errors`.
        batch: that they are of.
        targets: weights, scales and penalties.
        model: for the frames of its operator's bonds.
        weights: (n_structures,) of each structure's energy, forces and stress; 1 by default.
    """
    terms = []
    for name, config in targets.active.items():
        if name in found:
            parts = found[name]
            if isinstance(config, HamiltonianTarget) and config.space == "irreps":
                parts = _coefficients(parts, batch, model)
            if weights is not None and name in ("energy", "forces", "stress"):
                own = weights.index_select(0, batch.graph.structure_index) if name == "forces" else weights
                penalties = (_penalties(parts[0], config).unsqueeze(-1).flatten(1).sum(1) * own).sum()
            else:
                penalties = sum((_penalties(part, config).sum() for part in parts), start=_zero(parts[0]))
            terms.append(penalties * (config.weight / _n_penalties(batch.counts[name], parts, config)))
    return torch.stack(terms).sum()


def _coefficients(parts: tuple[Tensor, ...], batch: Batch, model: Model) -> tuple[Tensor, ...]:
    """Errors of blocks as irreps of atoms and coefficients in bond frames; both changes of basis are orthogonal."""
    head = model.operator_head
    assert head is not None
    onsite, pair = parts
    return (
        onsite.flatten(1) @ head.onsite.to_block.mT,
        head.pair_coefficients(pair, model.pair_vectors(batch.graph).to(pair.dtype)),
    )


def _zero(like: Tensor) -> Tensor:
    return torch.zeros((), dtype=torch.float64, device=like.device)


def _n_penalties(n_labels: int, parts: tuple[Tensor, ...], config: TargetConfig) -> float:
    """Number of values that ρ is summed over: labels, or vectors and blocks for ``norm``."""
    if config.loss != "norm" or parts[0].ndim == 1:
        return n_labels
    if len(parts) == 2:
        return sum(len(part) for part in parts)
    return n_labels / parts[0][0].numel()


def _penalties(part: Tensor, config: TargetConfig) -> Tensor:
    """ρ(error / scale) of each value of one array of errors, or of each row for ``norm``; (n_rows, …)."""
    scaled = part / config.scale
    match config.loss:
        case "mse":
            return scaled.square()
        case "mae":
            return scaled.abs()
        case "norm":
            return scaled.flatten(1).norm(dim=1) if scaled.ndim > 1 else scaled.abs()
        case "huber":
            delta = config.huber_delta
            return torch.nn.functional.huber_loss(scaled, torch.zeros_like(scaled), reduction="none", delta=delta)


def add_errors(sums: ErrorSums, found: Mapping[str, tuple[Tensor, ...]], batch: Batch) -> None:
    """Add the errors of a batch to running sums; energies both in total and per atom."""
    for target, parts in found.items():
        if target == "energy":
            sums.add("energy", parts[0] * batch.atoms_per_structure, batch.counts[target])
            sums.add("energy_per_atom", parts[0], batch.counts[target])
        else:
            for index, part in enumerate(parts):
                sums.add(target, part, batch.counts[target] if index == 0 else 0)
