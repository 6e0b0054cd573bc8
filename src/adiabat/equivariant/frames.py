"""The frame of a bond, where the bond is the z axis, and mixing there.

What may happen to features in that frame is whatever commutes with C∞v: turns about the bond and reflections in planes
that hold it. By Schur's lemma that is any real matrix between all (l, channel) of one |m|, the same for +m and −m. So
a map that would need O(l⁶) Clebsch–Gordan products is one matrix product per |m|, and its entries on m = 0, 1, 2 play
the part of the σ, π, δ integrals of Slater and Koster.

Features in a bond's frame are m-major, so that each |m| is contiguous: first m = 0 with l = 0 … l_max, then for each
m ≥ 1 all +m with l = m … l_max, then all −m.

Source: [passaro2023], [slater1954].
"""

from functools import cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adiabat.equivariant.harmonics import unit_vectors
from adiabat.equivariant.wigner import wigner_d_block

Parity = Literal["natural", "unnatural"]
"""Natural: l has parity (−1)^l, as harmonics do. Unnatural: −(−1)^l, as the cross product of two vectors does."""


def bond_rotation(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Proper rotation R with R v/|v| = z, well defined and well conditioned for every direction, both poles included.

    On the upper half sphere R is the shortest rotation to the pole. On the lower half a half turn about x comes first.
    The frame therefore jumps by a turn about z where the bond crosses the equator, which a map that commutes with turns
    about z never sees. (No choice without a jump exists: a sphere cannot be combed.)

    Args:
        vectors: nonzero bond vectors, in any unit.

    Returns:
        (…, 3, 3), rows are the axes of the bond's frame.
    """
    x, y, z = unit_vectors(vectors).unbind(-1)
    flip = torch.where(z < 0, -torch.ones_like(z), torch.ones_like(z))
    y_up, z_up = flip * y, flip * z
    shrink = 1 / (1 + z_up)
    rows = [
        1 - x * x * shrink, -x * y_up * shrink * flip, -x * flip,
        -x * y_up * shrink, (1 - y_up * y_up * shrink) * flip, -y_up * flip,
        x, y, z,
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def bond_frame(vectors: Float[Tensor, "*batch 3"], l_max: int) -> Float[Tensor, "*batch m_major irreps"]:
    """Orthogonal matrix that takes (l_max + 1)² irreps to the m-major components in each bond's frame.

    Compute it once per pair; :func:`to_bond_frame` and :func:`from_bond_frame` are one batched product each.

    Args:
        vectors: nonzero bond vectors, in any unit.
        l_max: largest l.
    """
    return rotation_to_frame(bond_rotation(vectors), l_max)


def rotation_to_frame(rotation: Float[Tensor, "*batch 3 3"], l_max: int) -> Float[Tensor, "*batch m_major irreps"]:
    """:func:`bond_frame` for a rotation of one's own, which must take the bond to z."""
    order = torch.tensor(m_major_order(l_max), device=rotation.device)
    return wigner_d_block(l_max, rotation).index_select(-2, order)


def to_bond_frame(
    features: Float[Tensor, "*batch irreps channels"], frame: Float[Tensor, "*batch m_major irreps"]
) -> Float[Tensor, "*batch m_major channels"]:
    """Components in the bond's frame, m-major."""
    return frame @ features


def from_bond_frame(
    features: Float[Tensor, "*batch m_major channels"], frame: Float[Tensor, "*batch m_major irreps"]
) -> Float[Tensor, "*batch irreps channels"]:
    """Inverse of :func:`to_bond_frame`; right for features of either parity, because the frame is proper."""
    return frame.mT @ features


@cache
def m_major_order(l_max: int) -> list[int]:
    """Which irreps component (index l² + l + m) stands at each place of the m-major order."""
    order = [l * l + l for l in range(l_max + 1)]
    for m in range(1, l_max + 1):
        order += [l * l + l + m for l in range(m, l_max + 1)]
        order += [l * l + l - m for l in range(m, l_max + 1)]
    return order


def swap_parity(
    features: Float[Tensor, "*batch m_major channels"], l_max: int
) -> Float[Tensor, "*batch m_major channels"]:
    """Turn features of one parity into the other, in the bond's frame: u_{+m} = t_{−m}, u_{−m} = −t_{+m}, u_0 = 0.

    It commutes with turns about the bond and changes sign under a reflection in a plane that holds the bond.
    """
    sizes = _part_sizes(l_max)
    m0, *rest = features.split(sizes, dim=-2)
    swapped = [torch.zeros_like(m0)]
    for part in rest:
        plus, minus = part.chunk(2, dim=-2)
        swapped += [minus, -plus]
    return torch.cat(swapped, dim=-2)


class FrameLinear(nn.Module):
    """The most general linear map of natural-parity features that commutes with C∞v, in the bond's frame.

    out[±m, l', c'] = Σ_{l ≥ m, c} W_m[l, c; l', c'] in[±m, l, c], one matrix for each m ≥ 0, shared by +m and −m.
    Components with m above the smaller of the two l_max come out zero. With unit-variance input, the output has unit
    variance when the module is made.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        l_max_in: largest l of the input.
        l_max_out: largest l of the output; that of the input if not given.
        parity: of the output. The unnatural one has no m = 0 part.
        bias: add a learned constant to m = 0, which stands for a multiple of Y_l(bond).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        l_max_in: int,
        l_max_out: int | None = None,
        *,
        parity: Parity = "natural",
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.l_max_in = l_max_in
        self.l_max_out = l_max_in if l_max_out is None else l_max_out
        self.channels_in, self.channels_out = channels_in, channels_out
        self.parity: Parity = parity
        self.m_max = min(self.l_max_in, self.l_max_out)
        first_m = 0 if parity == "natural" else 1
        self.weights = nn.ParameterDict({str(m): self._initial(m) for m in range(first_m, self.m_max + 1)})
        self.bias = nn.Parameter(torch.zeros(self.l_max_out + 1, channels_out)) if bias and first_m == 0 else None

    def _initial(self, m: int) -> nn.Parameter:
        fan_in = (self.l_max_in + 1 - m) * self.channels_in
        fan_out = (self.l_max_out + 1 - m) * self.channels_out
        return nn.Parameter(torch.randn(fan_in, fan_out) / fan_in**0.5)

    def forward(
        self, features: Float[Tensor, "*batch m_major channels_in"]
    ) -> Float[Tensor, "*batch m_major channels_out"]:
        """Map (…, (l_max_in + 1)², channels_in) to (…, (l_max_out + 1)², channels_out), both m-major."""
        parts = features.split(_part_sizes(self.l_max_in), dim=-2)
        mixed = [self._mix(part, m) for m, part in enumerate(parts[: self.m_max + 1])]
        missing = sum(_part_sizes(self.l_max_out)[self.m_max + 1 :])
        if missing:
            mixed.append(features.new_zeros(*features.shape[:-2], missing, self.channels_out))
        out = torch.cat(mixed, dim=-2)
        return out if self.parity == "natural" else swap_parity(out, self.l_max_out)

    def _mix(self, part: Float[Tensor, "*batch l channels_in"], m: int) -> Float[Tensor, "*batch l channels_out"]:
        n_signs, n_l = (2 if m else 1), self.l_max_out + 1 - m
        batch = part.shape[:-2]
        if str(m) not in self.weights:
            return part.new_zeros(*batch, n_signs * n_l, self.channels_out)
        mixed = part.reshape(*batch, n_signs, -1) @ self.weights[str(m)]
        mixed = mixed.reshape(*batch, n_signs * n_l, self.channels_out)
        return mixed + self.bias if m == 0 and self.bias is not None else mixed


def _part_sizes(l_max: int) -> list[int]:
    """Number of components with each |m|, in m-major order."""
    return [(2 if m else 1) * (l_max + 1 - m) for m in range(l_max + 1)]
