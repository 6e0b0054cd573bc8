"""The Hamiltonian as a target: ΔH = H − H0 in the padded blocks of the operator head."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adiabat.core.errors import LabelError, ModelError
from adiabat.core.operators import BlockOperator
from adiabat.data.graph import Graph
from adiabat.data.record import Record
from adiabat.models.model import Model
from adiabat.models.operator_layout import graph_pairs


@dataclass(frozen=True, eq=False)
class OperatorTargets:
    """Padded blocks of one structure, and where they hold entries.

    Attributes:
        onsite: (n_atoms, n_padded, n_padded) ΔH in eV; zero where there is no orbital.
        pair: (n_pairs, n_padded, n_padded), as ``onsite``.
        onsite_mask: True where both orbitals exist.
        pair_mask: as ``onsite_mask``.
        n_entries: number of entries in all, n_orb² for a molecule; 0 without a label.
    """

    onsite: Tensor
    pair: Tensor
    onsite_mask: Tensor
    pair_mask: Tensor
    n_entries: int


def operator_targets(record: Record, model: Model, graph: Graph, dtype: torch.dtype) -> OperatorTargets:
    """Pack ΔH of one record.

    Args:
        record: with ``hamiltonian`` and ``h0``, or without ``hamiltonian``: then all is masked.
        model: with an operator head.
        graph: of this record alone.
        dtype: of the blocks.

    Raises:
        LabelError: H without H0, or blocks that do not fit the basis or the pairs.
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
    onsite, pair = np.zeros(onsite_mask.shape), np.zeros(pair_mask.shape)
    if labelled:
        pairs = graph_pairs(graph.pair_index, graph.pair_shift)
        onsite, pair = layout.pack(hamiltonian_difference(record), numbers, pairs)
    return OperatorTargets(
        onsite=torch.from_numpy(onsite).to(dtype),
        pair=torch.from_numpy(pair).to(dtype),
        onsite_mask=torch.from_numpy(onsite_mask),
        pair_mask=torch.from_numpy(pair_mask),
        n_entries=int(onsite_mask.sum() + pair_mask.sum()),
    )


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
