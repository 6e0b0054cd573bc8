from math import pi

import pytest
import torch

from adiabat.equivariant.harmonics import spherical_harmonics, spherical_harmonics_reference, unit_vectors

# a few roundings per l, at l = 6
ROUNDING = 1e-13
POLES_AND_AXES = torch.tensor(
    [[0, 0, 1], [0, 0, -1], [1e-9, 0, 1], [0, -1e-9, -1], [1, 0, 0], [0, 1, 0], [0.3, -0.2, 0.5]], dtype=torch.float64
)


def random_vectors(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)


def test_order_and_sign_of_p_and_d_shells() -> None:
    x, y, z = unit_vectors(random_vectors(5)).unbind(-1)
    expected = torch.stack(
        [
            torch.ones_like(x),
            y, z, x,
            3**0.5 * x * y, 3**0.5 * y * z, (3 * z * z - 1) / 2, 3**0.5 * x * z, 3**0.5 / 2 * (x * x - y * y),
        ],
        dim=-1,
    )  # fmt: skip
    ours = spherical_harmonics(random_vectors(5), 2, normalization="norm")
    torch.testing.assert_close(ours, expected, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("l_max", range(7))
def test_fast_path_is_the_reference(l_max: int) -> None:
    r = unit_vectors(random_vectors(50))
    torch.testing.assert_close(
        spherical_harmonics(r, l_max), spherical_harmonics_reference(r, l_max), atol=10 * ROUNDING, rtol=0
    )


@pytest.mark.parametrize(
    ("normalization", "squared_norm"),
    [("component", lambda l: 2 * l + 1), ("norm", lambda l: 1), ("integral", lambda l: (2 * l + 1) / (4 * pi))],
)
def test_normalizations(normalization: str, squared_norm) -> None:
    harmonics = spherical_harmonics(random_vectors(20), 6, normalization=normalization)
    for l in range(7):
        sums = harmonics[:, l * l : (l + 1) ** 2].square().sum(-1)
        torch.testing.assert_close(sums, torch.full_like(sums, squared_norm(l)), atol=10 * ROUNDING, rtol=0)


def test_solid_harmonics_scale_with_the_lth_power() -> None:
    r = random_vectors(10)
    solid, surface = spherical_harmonics(r, 6, normalize=False), spherical_harmonics(r, 6)
    l_of = torch.cat([torch.full((2 * l + 1,), l) for l in range(7)])
    torch.testing.assert_close(solid, surface * r.norm(dim=-1, keepdim=True) ** l_of, atol=ROUNDING, rtol=ROUNDING)


@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 3, 4)])
def test_batch_of_any_shape(shape: tuple[int, ...]) -> None:
    r = random_vectors(*shape)
    harmonics = spherical_harmonics(r, 3)
    assert harmonics.shape == (*shape, 16)
    torch.testing.assert_close(harmonics.reshape(-1, 16), spherical_harmonics(r.reshape(-1, 3), 3))


@pytest.mark.parametrize("order", ["first", "second"])
def test_derivatives_at_and_near_the_poles(order: str) -> None:
    r = POLES_AND_AXES.clone().requires_grad_()
    check = torch.autograd.gradcheck if order == "first" else torch.autograd.gradgradcheck
    assert check(lambda v: spherical_harmonics(v, 6 if order == "first" else 4), r)


def test_an_angle_based_formula_fails_at_the_poles() -> None:
    """Negative control: l = 1 through polar and azimuthal angles has no derivative where this module's has one."""

    def by_angles(v: torch.Tensor) -> torch.Tensor:
        theta, phi = torch.acos(v[..., 2] / v.norm(dim=-1)), torch.atan2(v[..., 1], v[..., 0])
        return torch.stack([theta.sin() * phi.sin(), theta.cos(), theta.sin() * phi.cos()], dim=-1)

    r = POLES_AND_AXES.clone().requires_grad_()
    torch.testing.assert_close(by_angles(r.detach()), spherical_harmonics(r.detach(), 1, normalization="norm")[:, 1:])
    (gradient,) = torch.autograd.grad(by_angles(r).sum(), r)
    assert not gradient.isfinite().all()


def test_zero_vector_has_finite_values_and_derivatives() -> None:
    r = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    harmonics = spherical_harmonics(r, 4)
    assert harmonics[:, 0].eq(1).all()
    assert harmonics[:, 1:].eq(0).all()
    (gradient,) = torch.autograd.grad(harmonics.sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), r)
    assert gradient.isfinite().all()
    assert second.isfinite().all()


def test_single_precision() -> None:
    r = random_vectors(200)
    single = spherical_harmonics(r.float(), 6)
    assert single.dtype == torch.float32
    # values reach 3.6, float32 has 1.2e-7, and six products follow each other
    torch.testing.assert_close(single.double(), spherical_harmonics(r, 6), atol=5e-6, rtol=0)
