import pytest
import torch

from adiabat.equivariant.harmonics import spherical_harmonics
from adiabat.equivariant.wigner import rotate_irreps, wigner_d, wigner_d_all, wigner_d_block

# condition number of the probe points (< 10) times a few roundings
ROUNDING = 1e-13


def orthogonal_matrices(*shape: int, seed: int = 0) -> torch.Tensor:
    """Proper and improper ones in turn."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(*shape, 3, 3, dtype=torch.float64, generator=generator))[0]
    sign = torch.where(torch.arange(q[..., 0, 0].numel()) % 2 == 0, 1.0, -1.0).reshape(shape).to(q)
    return q * (torch.linalg.det(q) * sign)[..., None, None]


def test_rotates_harmonics() -> None:
    rotation = orthogonal_matrices(10)
    r = torch.randn(10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rotated = spherical_harmonics((rotation @ r[..., None])[..., 0], 6)
    by_d = rotate_irreps(spherical_harmonics(r, 6)[..., None], wigner_d_all(6, rotation))[..., 0]
    torch.testing.assert_close(by_d, rotated, atol=10 * ROUNDING, rtol=0)


def test_orthogonal() -> None:
    for l, d in enumerate(wigner_d_all(6, orthogonal_matrices(10))):
        unity = torch.eye(2 * l + 1, dtype=torch.float64).expand(10, -1, -1)
        torch.testing.assert_close(d @ d.mT, unity, atol=ROUNDING, rtol=0)


def test_represents_the_group() -> None:
    first, second = orthogonal_matrices(10), orthogonal_matrices(10, seed=1).flip(0)
    products = wigner_d_all(6, first @ second)
    for d1, d2, d12 in zip(wigner_d_all(6, first), wigner_d_all(6, second), products, strict=True):
        torch.testing.assert_close(d1 @ d2, d12, atol=ROUNDING, rtol=0)


def test_inversion_is_the_natural_parity() -> None:
    for l, d in enumerate(wigner_d_all(6, -torch.eye(3, dtype=torch.float64))):
        torch.testing.assert_close(d, (-1) ** l * torch.eye(2 * l + 1, dtype=torch.float64), atol=ROUNDING, rtol=0)


def test_block_holds_the_same_matrices() -> None:
    rotation = orthogonal_matrices(4)
    expected = torch.stack([torch.block_diag(*[d[k] for d in wigner_d_all(4, rotation)]) for k in range(4)])
    torch.testing.assert_close(wigner_d_block(4, rotation), expected, atol=ROUNDING, rtol=0)
    torch.testing.assert_close(wigner_d(3, rotation), expected[:, 9:16, 9:16], atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_batch_of_any_shape(shape: tuple[int, ...]) -> None:
    d = wigner_d_all(2, orthogonal_matrices(*shape))
    assert [part.shape for part in d] == [(*shape, 2 * l + 1, 2 * l + 1) for l in range(3)]


def test_single_precision() -> None:
    rotation = orthogonal_matrices(50)
    for single, double in zip(wigner_d_all(6, rotation.float()), wigner_d_all(6, rotation), strict=True):
        assert single.dtype == torch.float32
        # float32 rounding of the rotation itself, 6e-8, times l and the condition number of the probe
        torch.testing.assert_close(single.double(), double, atol=6e-6, rtol=0)


def test_derivatives() -> None:
    rotation = orthogonal_matrices(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: wigner_d_block(3, q), rotation)
    assert torch.autograd.gradgradcheck(lambda q: wigner_d_block(2, q), rotation)
