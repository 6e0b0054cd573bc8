"""The Hamiltonian as a target: H, or ΔH = H − H0, in the padded blocks of the operator head."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.core.errors import LabelError, ModelError
from adiabat.core.operators import BlockOperator, find_pairs
from adiabat.data.graph import Graph
from adiabat.data.record import Record
from adiabat.data.structure import Structure
from adiabat.models.config import OperatorReference
from adiabat.models.model import Model
from adiabat.models.operator_layout import OperatorLayout, graph_pairs

_REACH_TOLERANCE: Final = 0.5
"""Å; codes drop blocks by the size of an overlap, not sharply by distance."""


@dataclass(frozen=True, eq=False)
class OperatorTargets:
    """Padded blocks of one structure, and where they hold entries.

    Attributes:
        onsite: (n_atoms, …, n_padded, n_padded) in eV, … being spin components; zero where there is no orbital.
        pair: (n_pairs, …, n_padded, n_padded), as ``onsite``.
        onsite_mask: True where both orbitals exist, of a shape that broadcasts to that of ``onsite``.
        pair_mask: as ``onsite_mask``.
        n_entries: number of entries in all, n_orb² for a molecule without spin; 0 without a label.
    """

    onsite: Tensor
    pair: Tensor
    onsite_mask: Tensor
    pair_mask: Tensor
    n_entries: int


def operator_targets(record: Record, model: Model, graph: Graph, dtype: torch.dtype) -> OperatorTargets:
    """Pack what the operator head is to give for one record.

    Pairs within the model's radius that the label lacks are taken as zero: the reference code found that their orbitals
    do not meet.

    Args:
        record: with ``hamiltonian``, and with ``h0`` where the model corrects one; without ``hamiltonian`` all is
            masked.
        model: with an operator head.
        graph: of this record alone.
        dtype: of the blocks.

    Raises:
        LabelError: H without H0, blocks that do not fit the basis, or missing pairs where there must be blocks.
        ModelError: the model has no operator head.
    """
    if model.operator_head is None:
        raise ModelError(
            "a model without an operator head, asked to learn the Hamiltonian",
            expected="a model with an operator head",
            suggestion="add `operator: {}` to the model section, or remove targets.hamiltonian",
        )
    layout = model.operator_head.layout
    numbers = record.structure.atomic_numbers
    labelled = "hamiltonian" in record.labels
    orbitals = layout.orbital_mask(numbers) if labelled else np.zeros((len(numbers), layout.n_padded), dtype=bool)
    i, j = graph.pair_index.numpy()
    onsite_mask = orbitals[:, :, None] & orbitals[:, None, :]
    pair_mask = orbitals[i][:, :, None] & orbitals[j][:, None, :]
    n_components = math.prod(layout.component_shape)
    onsite, pair = (
        np.zeros((len(mask), *layout.component_shape, *mask.shape[1:])) for mask in (onsite_mask, pair_mask)
    )
    if labelled:
        pairs = graph_pairs(graph.pair_index, graph.pair_shift)
        wanted = wanted_operator(record, model.require_operator())
        onsite, pair = layout.pack(_with_far_pairs(wanted, record, pairs), numbers, pairs)
    masks = [mask if not layout.component_shape else mask[:, None] for mask in (onsite_mask, pair_mask)]
    return OperatorTargets(
        onsite=torch.from_numpy(onsite).to(dtype),
        pair=torch.from_numpy(pair).to(dtype),
        onsite_mask=torch.from_numpy(masks[0]),
        pair_mask=torch.from_numpy(masks[1]),
        n_entries=n_components * int(onsite_mask.sum() + pair_mask.sum()),
    )


def overlap_blocks(record: Record, layout: OperatorLayout, graph: Graph, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Padded blocks of S of one record, on-site and pairs, with a spin axis as those of H have; zeros without a label.

    They are what a common shift of all energies adds to H: S to each block of ↑ and ↓, and to H₀ of spinors.

    Raises:
        LabelError: H without S.
    """
    spatial = OperatorLayout(layout.basis)
    numbers = record.structure.atomic_numbers
    pairs = graph_pairs(graph.pair_index, graph.pair_shift)
    if "hamiltonian" in record.labels:
        overlap = record.labels.get("overlap")
        if not isinstance(overlap, BlockOperator):
            raise LabelError(
                f"{record.structure.formula} with a hamiltonian label and no overlap label",
                expected="both: the shift that is removed is a multiple of the overlap",
                suggestion="label the overlap as well, or set targets.hamiltonian.remove_shift: false",
            )
        parts = spatial.pack(_with_far_pairs(overlap, record, pairs), numbers, pairs)
    else:
        parts = tuple(np.zeros((n, layout.n_padded, layout.n_padded)) for n in (len(numbers), len(pairs)))
    weights = {"none": None, "collinear": (1.0, 1.0), "spinor": (1.0, 0.0, 0.0, 0.0)}[layout.spin]
    tensors = [torch.from_numpy(part).to(dtype) for part in parts]
    if weights is not None:
        tensors = [part[:, None] * torch.tensor(weights, dtype=dtype).view(-1, 1, 1) for part in tensors]
    return tensors[0], tensors[1]


def wanted_operator(record: Record, reference: OperatorReference) -> BlockOperator:
    """What the operator head is to give for a labelled record [eV]: H, or ΔH where the reference has an H0.

    Raises:
        LabelError: there is no H0, or it has other pairs than H.
    """
    if reference.baseline == "two-center":
        hamiltonian = record.labels["hamiltonian"]
        assert isinstance(hamiltonian, BlockOperator)
        return hamiltonian
    return hamiltonian_difference(record)


def _with_far_pairs(operator: BlockOperator, record: Record, pairs: npt.NDArray[np.int64]) -> BlockOperator:
    """The operator with zero blocks for those of ``pairs`` that it lacks.

    Raises:
        LabelError: a pair is missing although another of the same elements, further apart, is there.
    """
    missing = pairs[find_pairs(operator.pairs, pairs) < 0]
    if not len(missing):
        return operator
    numbers = record.structure.atomic_numbers
    reach: dict[tuple[int, int], float] = {}
    for kind, distance in zip(
        numbers[operator.pairs[:, 3:]].tolist(), _distances(record.structure, operator.pairs), strict=True
    ):
        reach[tuple(kind)] = max(reach.get(tuple(kind), 0.0), float(distance))
    for row, kind, distance in zip(
        missing.tolist(), numbers[missing[:, 3:]].tolist(), _distances(record.structure, missing), strict=True
    ):
        if distance < reach.get(tuple(kind), 0.0) - _REACH_TOLERANCE:
            raise LabelError(
                f"a Hamiltonian without the pair (R, i, j) = {row}, whose atoms are {distance:.2f} Å apart",
                expected=f"blocks of all pairs of these elements up to {reach[tuple(kind)]:.2f} Å",
                suggestion="import the whole matrix again; if it was cut, set model.operator.pair_radius below the cut",
            )
    return operator.on_pairs(np.unique(np.concatenate([operator.pairs, pairs]), axis=0))


def _distances(structure: Structure, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.linalg.norm(structure.pair_vectors(pairs), axis=1)


def label_reach(records: Sequence[Record]) -> float:
    """Largest distance in Å between two atoms with a block of H, over all records."""
    distances = [0.0]
    for record in records:
        operator = record.labels.get("hamiltonian")
        if isinstance(operator, BlockOperator):
            distances.append(float(_distances(record.structure, operator.pairs).max(initial=0.0)))
    return max(distances)


def hamiltonian_difference(record: Record) -> BlockOperator:
    """ΔH = H − H0 [eV] of a labelled record.

    Raises:
        LabelError: there is no H0, or it has other pairs than H.
    """
    hamiltonian, h0 = record.labels["hamiltonian"], record.labels.get("h0")
    assert isinstance(hamiltonian, BlockOperator)
    if not isinstance(h0, BlockOperator) or not np.array_equal(hamiltonian.pairs, h0.pairs):
        raise LabelError(
            f"{record.structure.formula} with a hamiltonian label and "
            + ("no h0 label" if h0 is None else "an h0 label over other atom pairs"),
            expected="both, over one list of pairs: the model learns the difference",
            suggestion="label the structures with `adiabat label --engine pyscf`, which stores both",
        )
    return hamiltonian.with_values(hamiltonian.values - h0.values)
