"""Derivatives of many numbers by the positions of a batch: one backward pass a number, or one forward pass a direction.

Both cost about as much as the forces of a plain prediction, each; the cheaper one is that of which fewer are needed.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor
from torch.func import jvp, vmap

from adiabat.core.voigt import VOIGT
from adiabat.data.graph import Graph

_DIRECTIONS_AT_ONCE: Final = 8
"""Directions whose derivatives are in memory together."""


def gradients(values: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Backward passes: the derivative of each of K numbers by each input, (K, …) each.

    On a GPU all of them are one batched pass; on a CPU a loop is no slower and takes less memory.
    """
    if values.is_cuda:
        ones = torch.eye(len(values), dtype=values.dtype, device=values.device)
        return list(torch.autograd.grad(values, list(inputs), ones, is_grads_batched=True))
    rows = [torch.autograd.grad(value, list(inputs), retain_graph=True) for value in values]
    return [torch.stack(found) for found in zip(*rows, strict=True)]


def directional_derivatives(
    function: Callable[[Tensor, Tensor], Tensor],
    positions: Tensor,
    strain: Tensor,
    of_positions: Tensor,
    of_strain: Tensor,
) -> Tensor:
    """Forward passes: the derivative of a tensor along each of n directions, (n, …).

    Args:
        function: of positions and strain.
        positions: where to differentiate.
        strain: likewise.
        of_positions: (n, n_atoms, 3).
        of_strain: (n, n_structures, 3, 3).
    """

    def along(position: Tensor, shape: Tensor) -> Tensor:
        return jvp(function, (positions, strain), (position, shape))[1]

    # Without gradients torch leaves out parts of the forward derivative; its first use compiles formulas in a way that
    # torch itself has deprecated.
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch.jit.script` is deprecated", DeprecationWarning)
        return vmap(along, chunk_size=_DIRECTIONS_AT_ONCE)(of_positions, of_strain).detach()


def coordinate_directions(graph: Graph, dtype: torch.dtype) -> Tensor:
    """Moves of atoms (n, n_atoms, 3), n three times the atoms of the largest structure.

    Number 3 a + x moves atom a of every structure along x. Structures do not interact, so that one pass gives the
    derivative of each structure's own sum; a structure with fewer atoms than a gets zeros.
    """
    local = local_atom_index(graph)
    n_largest = int(local.max()) + 1
    rows = torch.nn.functional.one_hot(local, n_largest).mT  # (n_largest, n_atoms)
    axes = torch.eye(3, dtype=dtype, device=local.device)
    return (rows[:, None, :, None] * axes[None, :, None, :]).flatten(0, 1)


def random_directions(graph: Graph, n: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Moves R of random signs (n, n_atoms, 3), of which the mean of R Rᵀ is the unit matrix in each structure.

    So (J R)(J R)ᵀ has the mean J Jᵀ for any J, at the price of n passes in the place of three an atom.
    """
    signs = torch.randint(0, 2, (n, graph.n_atoms, 3), generator=generator, dtype=torch.int64) * 2 - 1
    return signs.to(dtype).to(graph.positions.device) / n**0.5


def strain_directions(graph: Graph, dtype: torch.dtype) -> Tensor:
    """Strains (6, n_structures, 3, 3): xx, yy, zz, yz, xz, xy, symmetric, the latter with ½ on either side."""
    directions = torch.zeros(6, 3, 3, dtype=dtype, device=graph.positions.device)
    for index, (a, b) in enumerate(VOIGT):
        directions[index, a, b] += 0.5
        directions[index, b, a] += 0.5
    return directions.unsqueeze(1).expand(-1, graph.n_structures, -1, -1)


def local_atom_index(graph: Graph) -> Tensor:
    """(n_atoms,) the number of each atom within its own structure."""
    counts = torch.bincount(graph.structure_index, minlength=graph.n_structures)
    starts = counts.cumsum(0) - counts
    return torch.arange(graph.n_atoms, device=starts.device) - starts.index_select(0, graph.structure_index)
