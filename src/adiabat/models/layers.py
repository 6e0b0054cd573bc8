"""Small layers that trunk and heads share: radial functions, scalar networks, linear maps of irreps."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SILU_GAIN = 1.6765
"""1/√⟨silu(x)²⟩ over a standard normal x, so that depth does not change the scale."""


class PolynomialEnvelope(nn.Module):
    """u(x) = 1 − (p+1)(p+2)/2 xᵖ + p(p+2) xᵖ⁺¹ − p(p+1)/2 xᵖ⁺² for x = r/cutoff < 1, else 0.

    Value, first and second derivative vanish at the cutoff.

    Args:
        cutoff: radius in Å.
        power: p; larger keeps the envelope near 1 for longer.

    Source: [gasteiger2020] eq. 8.
    """

    def __init__(self, cutoff: float, power: int = 6) -> None:
        super().__init__()
        self.cutoff, self.power = cutoff, power

    def forward(self, distances: Tensor) -> Tensor:
        """Envelope at each distance [Å], same shape."""
        x, p = distances / self.cutoff, self.power
        inner = 1 - x**p * ((p + 1) * (p + 2) / 2 - x * (p * (p + 2) - x * (p * (p + 1) / 2)))
        return torch.where(x < 1, inner, torch.zeros_like(x))


class BesselBasis(nn.Module):
    """Spherical Bessel functions of order zero, sin(nπ r/cutoff)/r for n = 1 … n_basis, of about unit size.

    Args:
        cutoff: radius in Å.
        n_basis: number of functions.

    Source: [gasteiger2020] eq. 7.
    """

    frequencies: Tensor

    def __init__(self, cutoff: float, n_basis: int) -> None:
        super().__init__()
        self.scale = math.sqrt(2 / cutoff) * 2
        frequencies = torch.arange(1, n_basis + 1, dtype=torch.get_default_dtype()) * (math.pi / cutoff)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, distances: Tensor) -> Tensor:
        """(…, 1) distances [Å] to (…, n_basis) values."""
        return self.scale * torch.sin(self.frequencies * distances) / distances


class ScalarNetwork(nn.Module):
    """Multilayer perceptron with SiLU between layers, that keeps unit variance at the start.

    Args:
        sizes: width of the input, of each hidden layer, and of the output.
        zero_start: start with an output of zero, for corrections to what is there already.
    """

    def __init__(self, *sizes: int, zero_start: bool = False) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.randn(a, b) / math.sqrt(a) for a, b in pairwise(sizes))
        if zero_start:
            nn.init.zeros_(self.weights[-1])

    def forward(self, x: Tensor) -> Tensor:
        """(…, sizes[0]) to (…, sizes[-1])."""
        return self.hidden(x) @ self.weights[-1]

    def hidden(self, x: Tensor) -> Tensor:
        """(…, sizes[0]) to (…, sizes[-2]), what the last layer is linear in."""
        *hidden, _ = self.weights
        for weight in hidden:
            x = functional.silu(x @ weight) * SILU_GAIN
        return x


class IrrepsLinear(nn.Module):
    """Mix the channels of each l: out[n, lm, d] = Σ_c h[n, lm, c] W[l, c, d].

    Args:
        l_max: largest l.
        channels_in: channels of the input.
        channels_out: channels of the output.
    """

    l_of_component: Tensor

    def __init__(self, l_max: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(l_max + 1, channels_in, channels_out) / math.sqrt(channels_in))
        self.register_buffer("l_of_component", l_of_component(l_max), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(n, (l_max + 1)², channels_in) to (n, (l_max + 1)², channels_out)."""
        weight = self.weight.index_select(0, self.l_of_component)
        return torch.bmm(features.transpose(0, 1), weight).transpose(0, 1)


class LevelCorrections(nn.Module):
    """What each level of theory adds to the last weights of a head; zero at the start.

    Args:
        n_levels: number of levels.
        shapes: (n_features, n_outputs) of each matrix that is corrected.
    """

    def __init__(self, n_levels: int, shapes: list[tuple[int, int]]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.zeros(n_levels, *shape) for shape in shapes)

    def forward(self, index: int, features: Tensor, level: Tensor) -> Tensor:
        """(n, …, n_outputs) features @ weights[index][level], row by row.

        Args:
            index: which matrix.
            features: (n, …, n_features).
            level: (n,) level of theory of each row.
        """
        weights = self.weights[index]
        added = features.new_zeros(*features.shape[:-1], weights.shape[-1])
        for k, weight in enumerate(weights):
            rows = (level == k).nonzero().squeeze(-1)
            if len(rows):
                added = added.index_add(0, rows, features.index_select(0, rows) @ weight)
        return added


def l_of_component(l_max: int) -> Tensor:
    """The l of each of the (l_max + 1)² components: 0, 1, 1, 1, 2, …."""
    return torch.tensor([l for l in range(l_max + 1) for _ in range(2 * l + 1)])


def pieces(n: int, size: int) -> list[slice]:
    """Slices that cover n rows, ``size`` at a time."""
    return [slice(start, start + size) for start in range(0, n, size)]


def keep_float64(module: nn.Module, cast: Callable[[], object]) -> Any:
    """Let a module be moved and cast, but keep its own buffers in float64: for values that float32 cannot hold."""
    exact = {name: buffer for name, buffer in module.named_buffers(recurse=False)}
    cast()
    for name, buffer in exact.items():
        setattr(module, name, buffer.to(getattr(module, name).device))
    return module
