"""Products on grids, against pointwise evaluation elsewhere, against Gaunt's integrals, and under O(3)."""

from collections.abc import Iterator
from math import cos, sin, sqrt

import pytest
import torch

from adiabat.equivariant.clebsch_gordan import clebsch_gordan
from adiabat.equivariant.grid_products import CircleProduct, SphereCurl, SphereProduct
from adiabat.equivariant.harmonics import spherical_harmonics, unit_vectors
from adiabat.equivariant.products import product_paths
from adiabat.equivariant.wigner import wigner_d_block

# sums of some hundred terms of order one
ROUNDING = 1e-12


@pytest.fixture(autouse=True)
def _double_by_default() -> Iterator[None]:
    """The modules keep their constants in the dtype that is the default when they are made."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def orthogonal(determinant: int) -> torch.Tensor:
    q = torch.linalg.qr(random(3, 3, seed=9))[0]
    return q * torch.linalg.det(q) * determinant


@pytest.mark.parametrize("order", [2, 3])
def test_sphere_product_is_the_product_of_functions(order: int) -> None:
    l_max, channels = 2, 3
    factors = random(5, (l_max + 1) ** 2, order * channels)
    products = SphereProduct(l_max, order * l_max, order)(factors)
    points = unit_vectors(random(7, 3, seed=1))
    values = (spherical_harmonics(points, l_max) @ factors / (l_max + 1)).unflatten(-1, (order, channels)).cumprod(-2)
    expected = values[..., 1:, :].flatten(-2)
    ours = spherical_harmonics(points, order * l_max) @ products / (l_max + 1)
    torch.testing.assert_close(ours, expected, atol=ROUNDING, rtol=0)


def test_circle_product_is_the_product_of_functions() -> None:
    m_max, order, channels = 2, 3, 2
    factors = random(5, 2 * m_max + 1, order * channels)
    products = CircleProduct(m_max, order * m_max, order)(factors)

    def values(angle: float, components: torch.Tensor) -> torch.Tensor:
        row = [1.0]
        for m in range(1, components.shape[-2] // 2 + 1):
            row += [sqrt(2) * cos(m * angle), sqrt(2) * sin(m * angle)]
        return torch.tensor(row) @ components / sqrt(2 * m_max + 1)

    for angle in (0.3, 2.1, -1.4):
        expected = values(angle, factors).unflatten(-1, (order, channels)).cumprod(-2)[..., 1:, :].flatten(-2)
        torch.testing.assert_close(values(angle, products), expected, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("l_max", [1, 2, 3])
def test_sphere_product_has_the_paths_of_gaunt(l_max: int) -> None:
    a, b = random(4, (l_max + 1) ** 2, 2), random(4, (l_max + 1) ** 2, 2, seed=1)
    expected = torch.zeros_like(a)
    for l1, l2, l3 in product_paths(l_max, l_max):
        c = clebsch_gordan(l1, l2, l3)
        gaunt = sqrt((2 * l1 + 1) * (2 * l2 + 1) / (2 * l3 + 1)) * c[l1, l2, l3] * c / (l_max + 1)
        blocks = a[:, l1 * l1 : (l1 + 1) ** 2], b[:, l2 * l2 : (l2 + 1) ** 2]
        expected[:, l3 * l3 : (l3 + 1) ** 2] += torch.einsum("ijk,nic,njc->nkc", gaunt, *blocks)
    ours = SphereProduct(l_max, l_max, 2)(torch.cat([a, b], dim=-1))
    torch.testing.assert_close(ours, expected, atol=ROUNDING, rtol=0)


def test_curl_has_every_odd_path_and_no_other() -> None:
    l_max = 2
    n = (l_max + 1) ** 2
    u, v = torch.eye(n)[:, :, None].expand(n, n, n), torch.eye(n)[None].expand(n, n, n)
    table = SphereCurl(l_max, l_max)(torch.cat([u, v], dim=-1)).transpose(1, 2)  # (first, second, result)
    for l1 in range(l_max + 1):
        for l2 in range(l_max + 1):
            for l3 in range(l_max + 1):
                rows, columns, results = (slice(l * l, (l + 1) ** 2) for l in (l1, l2, l3))
                block = table[rows, columns, results]
                if (l1 + l2 + l3) % 2 and abs(l1 - l2) <= l3 <= l1 + l2:
                    c = clebsch_gordan(l1, l2, l3)
                    strength = (block * c).sum() / (2 * l3 + 1)
                    assert strength.abs() > 1e-2
                    torch.testing.assert_close(block, strength * c, atol=ROUNDING, rtol=0)
                else:
                    torch.testing.assert_close(block, torch.zeros_like(block), atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("determinant", [1, -1])
@pytest.mark.parametrize("parity", ["natural", "unnatural"])
def test_equivariant_with_its_parity(parity: str, determinant: int) -> None:
    module = SphereProduct(3, 2, 3) if parity == "natural" else SphereCurl(3, 2)
    q = orthogonal(determinant)
    factors = random(5, 16, 6)
    expected = (1 if parity == "natural" else determinant) * wigner_d_block(2, q) @ module(factors)
    torch.testing.assert_close(module(wigner_d_block(3, q) @ factors), expected, atol=ROUNDING, rtol=0)


def turn_about_the_bond(angle: float, determinant: int, m_max: int) -> torch.Tensor:
    """Matrix on m = 0, +1, −1, …: a turn by ``angle``, after the reflection φ → −φ if the determinant is −1."""
    blocks = [torch.ones(1, 1)]
    for m in range(1, m_max + 1):
        c, s = cos(m * angle), sin(m * angle)
        blocks.append(torch.tensor([[c, -s], [s, c]]) @ torch.diag(torch.tensor([1.0, float(determinant)])))
    return torch.block_diag(*blocks)


@pytest.mark.parametrize("determinant", [1, -1])
@pytest.mark.parametrize(("m_max_in", "m_max_out", "order"), [(1, 4, 3), (2, 2, 2), (3, 1, 3), (0, 2, 2), (2, 0, 4)])
def test_circle_product_is_equivariant_about_the_bond(
    m_max_in: int, m_max_out: int, order: int, determinant: int
) -> None:
    module = CircleProduct(m_max_in, m_max_out, order)
    before, after = (turn_about_the_bond(0.7, determinant, m_max) for m_max in (m_max_in, m_max_out))
    factors = random(5, 2 * m_max_in + 1, 2 * order)
    torch.testing.assert_close(module(before @ factors), after @ module(factors), atol=ROUNDING, rtol=0)


def test_too_coarse_a_circle_is_not_equivariant() -> None:
    """Negative control, as for the sphere."""
    coarse = CircleProduct(2, 2, 2)
    coarse.order = 3
    turn, factors = turn_about_the_bond(0.7, 1, 2), random(5, 5, 6)
    assert (coarse(turn @ factors) - turn @ coarse(factors)).abs().max() > 1e-3


def test_too_coarse_a_grid_is_not_equivariant() -> None:
    """Negative control: the grid for products of two, used for products of three."""
    fine, coarse = SphereProduct(2, 2, 3), SphereProduct(2, 2, 2)
    coarse.order = 3
    q, factors = orthogonal(1), random(5, 9, 6)
    turned = [module(wigner_d_block(2, q) @ factors) for module in (fine, coarse)]
    expected = [wigner_d_block(2, q) @ module(factors) for module in (fine, coarse)]
    assert (turned[0] - expected[0]).abs().max() < ROUNDING
    assert (turned[1] - expected[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["sphere", "curl", "circle"])
def test_derivatives(name: str) -> None:
    module = {"sphere": SphereProduct(1, 1, 3), "curl": SphereCurl(1, 1), "circle": CircleProduct(1, 1, 3)}[name]
    factors = random(2, 3 if name == "circle" else 4, 6 if name != "curl" else 4).requires_grad_()
    assert torch.autograd.gradcheck(module, factors)
    assert torch.autograd.gradgradcheck(module, factors)


def test_constants_stay_out_of_the_state() -> None:
    assert not SphereProduct(1, 1, 2).state_dict()
    assert not SphereCurl(1, 1).state_dict()
