"""With one layer a model is strictly local: a block knows nothing of atoms beyond the cutoff of both its ends."""

import numpy as np
import torch

from adiabat.core.operators import find_pairs
from adiabat.data.structure import Structure
from small_models import P_BASIS, small_config, small_model

CUTOFF = 3.5
CHAIN = np.array([6, 8, 1, 6, 8, 1, 6, 8])
ROUNDING = 1e-12


def chain(moved: float = 0.0) -> Structure:
    """Atoms 1.6 Å apart along a bent line; the last one may move."""
    steps = np.arange(len(CHAIN))
    positions = np.stack([1.6 * steps, 0.4 * np.sin(steps), 0.3 * np.cos(2 * steps)], axis=1)
    positions[-1, 1] += moved
    return Structure(CHAIN, positions)


def change_of_first_blocks(layers: int) -> float:
    """Largest relative change of blocks among the first three atoms when the last one moves."""
    model = small_model(small_config(layers=layers, cutoff=CUTOFF, pair_radius=6.0), P_BASIS, baseline="two-center")
    with torch.no_grad():
        for name, buffer in model.operator_head.onsite.linear.named_buffers():
            if name.startswith("weight"):
                buffer.normal_()
    before, after = (model.hamiltonian(chain(moved)) for moved in (0.0, 0.5))
    first = np.flatnonzero(before.pairs[:, 3:].max(axis=1) <= 2)
    partner = find_pairs(after.pairs, before.pairs[first])
    changes = [np.abs(before.block(a) - after.block(b)).max() for a, b in zip(first, partner, strict=True)]
    return float(max(changes) / max(np.abs(before.block(a)).max() for a in first))


def test_one_layer_is_strictly_local() -> None:
    """Atom 7 is 8 Å from atom 2."""
    assert change_of_first_blocks(1) < ROUNDING


def test_message_passing_reaches_further() -> None:
    """Three layers of 3.5 Å carry the news to atom 2 and its neighbors."""
    assert change_of_first_blocks(3) > 1e-9
