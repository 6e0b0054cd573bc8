"""Products of equivariant features, taken pointwise on a sphere or around a bond.

Features of natural parity are functions: f(n) = Σ_lm f_lm Y_lm(n) on the sphere, and g(φ) = Σ_m g_m e_m(φ) around a
bond, with e_m = √2 cos mφ, 1, √2 sin |m|φ for m > 0, = 0, < 0. Multiplying functions multiplies their values, so a
product of any order is one matrix product to a grid, elementwise multiplication, and one matrix product back. The
quadratures are exact for the degrees at hand, hence so is equivariance. The result holds every path l1 ⊗ l2 → l3 with
even l1 + l2 + l3, in the proportions of Gaunt's integrals; mixing channels before and after gives them their weights.

Source: [luo2024].
"""

import math
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from adiabat.equivariant.harmonics import spherical_harmonics


class SphereProduct(nn.Module):
    """All products u v, u v w, … of up to ``order`` features, projected on l ≤ l_max_out.

    Scaled so that factors with entries of unit variance give products with entries of about unit variance.

    Args:
        l_max_in: largest l of the factors.
        l_max_out: largest l kept of the products.
        order: number of factors.
    """

    to_grid: Tensor
    from_grid: Tensor

    def __init__(self, l_max_in: int, l_max_out: int, order: int) -> None:
        super().__init__()
        self.order = order
        points, weights = _sphere_quadrature(order * l_max_in + l_max_out)
        harmonics_in = spherical_harmonics(points, l_max_in) / (l_max_in + 1)
        harmonics_out = spherical_harmonics(points, l_max_out) * (l_max_in + 1)
        _register(self, harmonics_in, harmonics_out * weights[:, None])

    def forward(self, factors: Float[Tensor, "n irreps_in factors_channels"]) -> Float[Tensor, "n irreps_out products"]:
        """Multiply.

        Args:
            factors: (n, (l_max_in + 1)², order · channels), one factor's channels after the other's.

        Returns:
            (n, (l_max_out + 1)², (order − 1) · channels): u v, then u v w, ….
        """
        return _multiply(self.to_grid, self.from_grid, factors, self.order)


class CircleProduct(nn.Module):
    """The same around a bond: components m = 0, (+1, −1), …, (+m_max, −m_max) of functions of the angle φ.

    Args:
        m_max_in: largest |m| of the factors.
        m_max_out: largest |m| kept of the products.
        order: number of factors.
    """

    to_grid: Tensor
    from_grid: Tensor

    def __init__(self, m_max_in: int, m_max_out: int, order: int) -> None:
        super().__init__()
        self.order = order
        n_points = order * m_max_in + m_max_out + 1
        phi = torch.arange(n_points, dtype=torch.float64) * (2 * math.pi / n_points)
        norm = math.sqrt(2 * m_max_in + 1)
        _register(self, _fourier(phi, m_max_in) / norm, _fourier(phi, m_max_out) * (norm / n_points))

    def forward(self, factors: Float[Tensor, "n m_in factors_channels"]) -> Float[Tensor, "n m_out products"]:
        """Multiply; layouts as in :class:`SphereProduct`, with 2 m_max + 1 components in the place of irreps."""
        return _multiply(self.to_grid, self.from_grid, factors, self.order)


def _multiply(
    to_grid: Float[Tensor, "grid in"], from_grid: Float[Tensor, "out grid"], factors: Tensor, order: int
) -> Tensor:
    values = torch.matmul(to_grid, factors).chunk(order, dim=-1)
    product, products = values[0], list[Tensor]()
    for value in values[1:]:
        product = product * value
        products.append(product)
    return torch.matmul(from_grid, torch.cat(products, dim=-1))


def _register(module: nn.Module, values_in: Tensor, weighted_values_out: Tensor) -> None:
    """Constants of a module: kept out of its state, and cast with it."""
    dtype = torch.get_default_dtype()
    module.register_buffer("to_grid", values_in.to(dtype).contiguous(), persistent=False)
    module.register_buffer("from_grid", weighted_values_out.mT.to(dtype).contiguous(), persistent=False)


@cache
def _sphere_quadrature(degree: int) -> tuple[Tensor, Tensor]:
    """Points and weights (summing to 1) that integrate polynomials up to ``degree``: Gauss–Legendre × trapezoid."""
    z, weights_z = np.polynomial.legendre.leggauss(degree // 2 + 1)
    n_phi = degree + 1
    phi = 2 * np.pi * np.arange(n_phi) / n_phi
    rho = np.sqrt(1 - z**2)
    points = np.stack([np.outer(rho, np.cos(phi)), np.outer(rho, np.sin(phi)), np.outer(z, np.ones(n_phi))], axis=-1)
    weights = np.repeat(weights_z / (2 * n_phi), n_phi)
    return torch.from_numpy(points.reshape(-1, 3)), torch.from_numpy(weights)


def _fourier(phi: Tensor, m_max: int) -> Tensor:
    """1, √2 cos φ, √2 sin φ, √2 cos 2φ, … at each angle, shape (n_points, 2 m_max + 1)."""
    columns = [torch.ones_like(phi)]
    for m in range(1, m_max + 1):
        columns += [math.sqrt(2) * torch.cos(m * phi), math.sqrt(2) * torch.sin(m * phi)]
    return torch.stack(columns, dim=-1)


class SphereCurl(nn.Module):
    """The product n · (∇u × ∇v) on the sphere, which has unnatural parity: every path with odd l1 + l2 + l3.

    Args:
        l_max_in: largest l of the two factors.
        l_max_out: largest l kept of the product.
    """

    gradients: Tensor
    from_grid: Tensor

    def __init__(self, l_max_in: int, l_max_out: int) -> None:
        super().__init__()
        points, weights = _sphere_quadrature(2 * l_max_in + l_max_out)
        gradients = _tangent_gradients(points, l_max_in) / (l_max_in + 1)
        harmonics_out = spherical_harmonics(points, l_max_out) * (weights[:, None] * (l_max_in + 1))
        dtype = torch.get_default_dtype()
        self.register_buffer("gradients", gradients.to(dtype).contiguous(), persistent=False)
        self.register_buffer("from_grid", harmonics_out.mT.to(dtype).contiguous(), persistent=False)

    def forward(self, factors: Float[Tensor, "n irreps_in two_channels"]) -> Float[Tensor, "n irreps_out channels"]:
        """Multiply u and v, given as (n, (l_max_in + 1)², 2 · channels), into (n, (l_max_out + 1)², channels)."""
        values = torch.matmul(self.gradients, factors)
        (u_1, v_1), (u_2, v_2) = (part.chunk(2, dim=-1) for part in values.chunk(2, dim=-2))
        return torch.matmul(self.from_grid, u_1 * v_2 - u_2 * v_1)


def _tangent_gradients(points: Tensor, l_max: int) -> Tensor:
    """∇Y_lm along two tangents (t1, t2, n right-handed) at each point, shape (2 n_points, (l_max + 1)²)."""
    jacobian = torch.func.vmap(torch.func.jacrev(lambda point: spherical_harmonics(point, l_max)))(points)
    helper = torch.eye(3, dtype=points.dtype)[points.abs().argmin(dim=-1)]
    first = torch.nn.functional.normalize(torch.linalg.cross(helper, points), dim=-1)
    second = torch.linalg.cross(points, first)
    return torch.cat([torch.einsum("pmx,px->pm", jacobian, tangent) for tangent in (first, second)])
