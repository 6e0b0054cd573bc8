import pytest
import torch

from adiabat.equivariant.frames import (
    FrameLinear,
    bond_frame,
    bond_rotation,
    from_bond_frame,
    m_major_order,
    rotation_to_frame,
    swap_parity,
    to_bond_frame,
)
from adiabat.equivariant.harmonics import spherical_harmonics, unit_vectors

ROUNDING = 1e-14
DIRECTIONS = torch.tensor(
    [
        [0, 0, 1], [0, 0, -1], [1e-12, 0, 1], [0, 1e-12, -1], [1, 0, 0], [0, 1, 0],
        [0, 1, -1e-20], [1, 1, 1e-12], [0.3, -2.0, 0.5], [-0.1, 0.7, -3.0],
    ],
    dtype=torch.float64,
)  # fmt: skip


def test_rotation_takes_the_bond_to_z_and_is_proper() -> None:
    rotation = bond_rotation(DIRECTIONS)
    n = len(DIRECTIONS)
    along = (rotation @ unit_vectors(DIRECTIONS)[..., None])[..., 0]
    torch.testing.assert_close(along, torch.tensor([[0, 0, 1.0]]).double().expand(n, 3), atol=ROUNDING, rtol=0)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).double().expand(n, 3, 3), atol=ROUNDING, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(n).double(), atol=ROUNDING, rtol=0)


def test_derivatives_at_the_poles() -> None:
    v = torch.cat([DIRECTIONS[:4], DIRECTIONS[-2:]]).requires_grad_()
    assert torch.autograd.gradcheck(bond_rotation, v)
    assert torch.autograd.gradgradcheck(lambda v: bond_frame(v, 2), v)


def test_harmonics_of_the_bond_have_only_m_0_in_its_frame() -> None:
    harmonics = spherical_harmonics(DIRECTIONS, 4)[..., None]
    local = to_bond_frame(harmonics, bond_frame(DIRECTIONS, 4))[..., 0]
    torch.testing.assert_close(local[:, 5:], torch.zeros_like(local[:, 5:]), atol=1e-13, rtol=0)
    expected = torch.tensor([(2 * l + 1) ** 0.5 for l in range(5)]).double().expand(len(local), -1)
    torch.testing.assert_close(local[:, :5], expected, atol=1e-6, rtol=0)


def test_into_the_frame_and_back() -> None:
    features = torch.randn(10, 16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    frame = bond_frame(DIRECTIONS, 3)
    torch.testing.assert_close(from_bond_frame(to_bond_frame(features, frame), frame), features, atol=1e-13, rtol=0)


def test_m_major_order() -> None:
    assert m_major_order(2) == [0, 2, 6, 3, 7, 1, 5, 8, 4]
    assert sorted(m_major_order(4)) == list(range(25))


def test_frame_of_a_given_rotation() -> None:
    assert torch.equal(rotation_to_frame(bond_rotation(DIRECTIONS), 2), bond_frame(DIRECTIONS, 2))


@pytest.mark.parametrize(("l_max_in", "l_max_out"), [(3, 3), (2, 4), (4, 1), (0, 2), (2, 0)])
@pytest.mark.parametrize("parity", ["natural", "unnatural"])
def test_linear_shapes_and_missing_components(l_max_in: int, l_max_out: int, parity: str) -> None:
    linear = FrameLinear(5, 7, l_max_in, l_max_out, parity=parity)
    out = linear(torch.randn(2, 6, (l_max_in + 1) ** 2, 5))
    assert out.shape == (2, 6, (l_max_out + 1) ** 2, 7)
    m_of = torch.tensor(
        [0] * (l_max_out + 1) + [m for m in range(1, l_max_out + 1) for _ in range(2 * (l_max_out + 1 - m))]
    )
    absent = (m_of > l_max_in) | ((m_of == 0) & (parity == "unnatural"))
    assert out[..., absent, :].eq(0).all()
    assert out[..., ~absent, :].ne(0).all()


def test_linear_keeps_unit_variance() -> None:
    torch.manual_seed(0)
    out = FrameLinear(64, 64, 3)(torch.randn(500, 16, 64))
    # 4096 weights a part: their sample variance strays by a few per cent
    torch.testing.assert_close(out.var(dim=(0, 2)), torch.ones(16), atol=0.15, rtol=0)


def test_bias_acts_on_m_0_alone() -> None:
    linear = FrameLinear(2, 2, 2, bias=True)
    assert linear.bias is not None
    torch.nn.init.ones_(linear.bias)
    out = linear(torch.zeros(1, 9, 2))
    assert out[:, :3].eq(1).all()
    assert out[:, 3:].eq(0).all()


def test_swapping_parity_twice_changes_the_sign() -> None:
    features = torch.randn(4, 16, 2)
    twice = swap_parity(swap_parity(features, 3), 3)
    assert torch.equal(twice[:, 4:], -features[:, 4:])
    assert twice[:, :4].eq(0).all()


def test_one_weight_matrix_per_m() -> None:
    linear = FrameLinear(8, 8, 3)
    assert sum(weight.numel() for weight in linear.weights.values()) == 64 * (16 + 9 + 4 + 1)
