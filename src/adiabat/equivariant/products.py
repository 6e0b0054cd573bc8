"""Products of two sets of node features, channel by channel, with a free weight on every coupling path.

Where the weights may factor over l1, l2 and l3 (linear layers before and after), the products on a grid of
:mod:`adiabat.equivariant.grid_products` give the same couplings two to six times faster.
"""

from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from adiabat.equivariant.clebsch_gordan import clebsch_gordan

Path = tuple[int, int, int]
"""(l1, l2, l3): l1 of the first factor and l2 of the second couple to l3."""


class NodeProduct(nn.Module):
    """out[n, m3, c] = Σ_paths w[path, c] Σ_{m1 m2} C[m1, m2, m3] a[n, m1, c] b[n, m2, c].

    Paths are those that keep natural parity, l1 + l2 + l3 even. With independent inputs of unit variance the output
    has unit variance when the module is made.

    All products of components are formed at once and coupled by one matrix product. Of the ways measured in
    benchmarks/equivariant_products.py (gathering the nonzero coefficients, one einsum per path, one matrix per channel)
    none is faster over the whole range from 45 to 512 atoms, first and second derivatives included.

    Args:
        channels: number of channels of both factors and the result.
        l_max: largest l of both factors.
        l_max_out: largest l of the result; ``l_max`` if not given.
        n_elements: number of sets of weights; with more than one, each node picks its own by index.
        symmetric: the two factors are always the same tensor. Paths (l1, l2) and (l2, l1) are then one, and it is
            up to twice as fast.
    """

    def __init__(
        self,
        channels: int,
        l_max: int,
        l_max_out: int | None = None,
        *,
        n_elements: int = 1,
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.l_max = channels, l_max
        self.l_max_out = l_max if l_max_out is None else l_max_out
        self.n_elements, self.symmetric = n_elements, symmetric
        self.paths = product_paths(self.l_max, self.l_max_out, symmetric=symmetric)
        n_paths_to = [sum(path[2] == l3 for path in self.paths) for l3 in range(self.l_max_out + 1)]
        spread = torch.tensor([n_paths_to[l3] ** -0.5 for _, _, l3 in self.paths])
        self.weights = nn.Parameter(torch.randn(n_elements, len(self.paths), channels) * spread[:, None])

    def forward(
        self,
        a: Float[Tensor, "n irreps channels"],
        b: Float[Tensor, "n irreps channels"],
        element_index: Int[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n irreps_out channels"]:
        """Multiply two sets of node features.

        Args:
            a: (n, (l_max + 1)², channels).
            b: as ``a``; ignored if the product is symmetric, because it is ``a``.
            element_index: which set of weights each node uses; needed if there is more than one.

        Returns:
            (n, (l_max_out + 1)², channels).

        Raises:
            ValueError: there are several sets of weights and no ``element_index``.
        """
        if element_index is None and self.n_elements > 1:
            raise ValueError(f"a product with weights for {self.n_elements} elements needs element_index")
        weights = self.weights if element_index is None else self.weights.index_select(0, element_index)
        first, second, coupling, gather, path_of_row = _tables(
            self.l_max, self.l_max_out, self.symmetric, a.dtype, a.device
        )
        if self.symmetric:
            pairs = a.index_select(-2, first) * a.index_select(-2, second)
        else:
            pairs = (a.unsqueeze(-2) * b.unsqueeze(-3)).flatten(-3, -2)
        return gather @ ((coupling @ pairs) * weights.index_select(-2, path_of_row))


def node_product_reference(
    a: Float[Tensor, "n irreps channels"],
    b: Float[Tensor, "n irreps channels"],
    weights: Float[Tensor, "*n paths channels"],
    paths: list[Path],
) -> Float[Tensor, "n irreps_out channels"]:
    """The same product, one path at a time; the plain path that :class:`NodeProduct` is held against."""
    l_max_out = max(l3 for _, _, l3 in paths)
    out = a.new_zeros(*a.shape[:-2], (l_max_out + 1) ** 2, a.shape[-1])
    for index, (l1, l2, l3) in enumerate(paths):
        coupled = torch.einsum(
            "ijk,...ic,...jc->...kc",
            clebsch_gordan(l1, l2, l3).to(a),
            a[..., l1 * l1 : (l1 + 1) ** 2, :],
            b[..., l2 * l2 : (l2 + 1) ** 2, :],
        )
        out[..., l3 * l3 : (l3 + 1) ** 2, :] += weights[..., index, None, :] * coupled
    return out


def product_paths(l_max: int, l_max_out: int, *, symmetric: bool = False) -> list[Path]:
    """Every (l1, l2, l3) that obeys the triangle rule and keeps natural parity; l1 ≤ l2 only, if symmetric."""
    return [
        (l1, l2, l3)
        for l1 in range(l_max + 1)
        for l2 in range(l1 if symmetric else 0, l_max + 1)
        for l3 in range(abs(l1 - l2), min(l1 + l2, l_max_out) + 1, 2)
    ]


@cache
def _tables(
    l_max: int, l_max_out: int, symmetric: bool, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Pairs (first, second) of components, pairs → (path, m3) couplings, the sum over paths, the path of each row."""
    paths = product_paths(l_max, l_max_out, symmetric=symmetric)
    n_irreps, n_irreps_out = (l_max + 1) ** 2, (l_max_out + 1) ** 2
    couplings, outputs, path_of_row = [], [], []
    for index, (l1, l2, l3) in enumerate(paths):
        block = torch.zeros(2 * l3 + 1, n_irreps, n_irreps, dtype=torch.float64)
        block[:, l1 * l1 : (l1 + 1) ** 2, l2 * l2 : (l2 + 1) ** 2] = clebsch_gordan(l1, l2, l3).permute(2, 0, 1)
        couplings.append(block)
        outputs += range(l3 * l3, (l3 + 1) ** 2)
        path_of_row += [index] * (2 * l3 + 1)
    coupling = torch.cat(couplings)
    if symmetric:
        first, second = torch.triu_indices(n_irreps, n_irreps)
        folded = coupling[:, first, second] + coupling[:, second, first]
        coupling = torch.where(first == second, folded / 2, folded)
    else:
        first, second = torch.cartesian_prod(torch.arange(n_irreps), torch.arange(n_irreps)).unbind(-1)
        coupling = coupling.flatten(1)
    gather = nn.functional.one_hot(torch.tensor(outputs), n_irreps_out).T.contiguous()
    return (
        first.to(device),
        second.to(device),
        coupling.to(dtype=dtype, device=device),
        gather.to(dtype=dtype, device=device),
        torch.tensor(path_of_row, device=device),
    )
