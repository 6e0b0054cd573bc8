"""O(3), reflections included, and freedom of gauge; each law with a variant that must break it."""

from collections.abc import Callable

import pytest
import torch

from adiabat.equivariant.frames import (
    FrameLinear,
    bond_frame,
    bond_rotation,
    from_bond_frame,
    rotation_to_frame,
    swap_parity,
    to_bond_frame,
)
from adiabat.equivariant.products import NodeProduct
from adiabat.equivariant.wigner import wigner_d_block

# relative to outputs of order one; some fifty terms each
TOLERANCE = 1e-12
N, CHANNELS, L_MAX, L_MAX_OUT = 12, 4, 3, 4
BondMap = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["rotation", "reflection"])
def orthogonal(request: pytest.FixtureRequest) -> torch.Tensor:
    q = torch.linalg.qr(random(3, 3, seed=7))[0]
    return q * torch.linalg.det(q) * (1 if request.param == "rotation" else -1)


def violation(f: BondMap, orthogonal: torch.Tensor, parity: str = "natural") -> float:
    """Largest |f(Q v, D x) − (det Q) D f(v, x)|, the determinant for unnatural outputs only."""
    vectors, features = random(N, 3, seed=0), random(N, (L_MAX + 1) ** 2, CHANNELS, seed=1)
    turned = f(vectors @ orthogonal.T, wigner_d_block(L_MAX, orthogonal) @ features)
    expected = wigner_d_block(L_MAX_OUT, orthogonal) @ f(vectors, features)
    if parity == "unnatural":
        expected = expected * torch.linalg.det(orthogonal)
    return float(((turned - expected).abs().max() / expected.abs().max()).detach())


def mixed_in_frame(linear: Callable[[torch.Tensor], torch.Tensor]) -> BondMap:
    def apply(vectors: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        local = to_bond_frame(features, bond_frame(vectors, L_MAX))
        return from_bond_frame(linear(local), bond_frame(vectors, L_MAX_OUT))

    return apply


@pytest.mark.parametrize("parity", ["natural", "unnatural"])
def test_mixing_in_the_bond_frame_is_equivariant(orthogonal: torch.Tensor, parity: str) -> None:
    torch.manual_seed(0)
    linear = FrameLinear(CHANNELS, 5, L_MAX, L_MAX_OUT, parity=parity, bias=True).double()
    if linear.bias is not None:
        torch.nn.init.normal_(linear.bias)
    assert violation(mixed_in_frame(linear), orthogonal, parity) < TOLERANCE


def test_different_weights_for_plus_and_minus_m_break_it(orthogonal: torch.Tensor) -> None:
    linear = FrameLinear(CHANNELS, 5, L_MAX, L_MAX_OUT).double()

    def lopsided(local: torch.Tensor) -> torch.Tensor:
        out = linear(local)
        out[:, 5] = 0.5 * out[:, 5]  # the first of the +1 components
        return out

    assert violation(mixed_in_frame(lopsided), orthogonal) > 1e-3


def test_mixing_the_two_parities_breaks_reflections_only() -> None:
    natural = FrameLinear(CHANNELS, 5, L_MAX, L_MAX_OUT).double()

    def both(local: torch.Tensor) -> torch.Tensor:
        return natural(local) + swap_parity(natural(local), L_MAX_OUT)

    rotation = torch.linalg.qr(random(3, 3, seed=7))[0]
    rotation = rotation * torch.linalg.det(rotation)
    assert violation(mixed_in_frame(both), rotation) < TOLERANCE
    assert violation(mixed_in_frame(both), -rotation) > 1e-3


def turned_about_z(vectors: torch.Tensor) -> torch.Tensor:
    """The bond's rotation, followed by any turn or reflection that leaves z in place."""
    angle = random(len(vectors), seed=5)
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    mirror = torch.where(torch.arange(len(vectors)) % 2 == 0, 1.0, -1.0).to(angle)
    rows = [angle.cos(), -angle.sin(), zero, angle.sin() * mirror, angle.cos() * mirror, zero, zero, zero, one]
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3) @ bond_rotation(vectors)


@pytest.mark.parametrize("commutes", [True, False])
def test_the_choice_of_x_axis_in_the_bond_frame_does_not_matter(commutes: bool) -> None:
    torch.manual_seed(0)
    linear = FrameLinear(CHANNELS, CHANNELS, L_MAX).double()
    vectors, features = random(N, 3, seed=0), random(N, (L_MAX + 1) ** 2, CHANNELS, seed=1)

    def apply(frame: torch.Tensor) -> torch.Tensor:
        local = linear(to_bond_frame(features, frame))
        return from_bond_frame(local if commutes else local.relu(), frame)

    one = apply(bond_frame(vectors, L_MAX))
    other = apply(rotation_to_frame(turned_about_z(vectors), L_MAX))
    difference = ((one - other).abs().max() / one.abs().max()).detach()
    assert difference < TOLERANCE if commutes else difference > 1e-2


def test_the_frame_jump_at_the_equator_is_not_felt() -> None:
    torch.manual_seed(0)
    linear = FrameLinear(CHANNELS, CHANNELS, L_MAX).double()
    features = random(1, (L_MAX + 1) ** 2, CHANNELS, seed=1)

    def at(z: float) -> tuple[torch.Tensor, torch.Tensor]:
        frame = bond_frame(torch.tensor([[0.6, 0.8, z]], dtype=torch.float64), L_MAX)
        return frame, from_bond_frame(linear(to_bond_frame(features, frame)), frame)

    (above, out_above), (below, out_below) = at(1e-14), at(-1e-14)
    assert (above - below).abs().max() > 0.1
    torch.testing.assert_close(out_above, out_below, atol=1e-12, rtol=0)


@pytest.mark.parametrize("symmetric", [False, True])
def test_node_product_is_equivariant(orthogonal: torch.Tensor, symmetric: bool) -> None:
    torch.manual_seed(0)
    product = NodeProduct(CHANNELS, L_MAX, L_MAX_OUT, symmetric=symmetric).double()
    a = random(N, (L_MAX + 1) ** 2, CHANNELS, seed=1)
    b = a if symmetric else random(N, (L_MAX + 1) ** 2, CHANNELS, seed=2)
    d, d_out = wigner_d_block(L_MAX, orthogonal), wigner_d_block(L_MAX_OUT, orthogonal)
    turned, expected = product(d @ a, d @ b), d_out @ product(a, b)
    torch.testing.assert_close(turned, expected, atol=10 * TOLERANCE, rtol=0)


def test_a_componentwise_product_is_not(orthogonal: torch.Tensor) -> None:
    a, b = (random(N, (L_MAX + 1) ** 2, CHANNELS, seed=seed) for seed in (1, 2))
    d = wigner_d_block(L_MAX, orthogonal)
    assert ((d @ a) * (d @ b) - d @ (a * b)).abs().max() > 0.1
