import pytest
import torch

from adiabat.equivariant.clebsch_gordan import clebsch_gordan, shell_pair_to_irreps
from adiabat.equivariant.wigner import wigner_d_all

# exact up to one square root and the change to real harmonics
ROUNDING = 1e-14
TRIANGLES = [(l1, l2, l3) for l1 in range(5) for l2 in range(5) for l3 in range(abs(l1 - l2), l1 + l2 + 1)]


def random_rotation(seed: int = 0) -> torch.Tensor:
    q = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))[0]
    return q * torch.linalg.det(q)


@pytest.mark.parametrize(("l1", "l2", "l3"), TRIANGLES)
def test_orthonormal(l1: int, l2: int, l3: int) -> None:
    c = clebsch_gordan(l1, l2, l3)
    assert c.shape == (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1)
    assert c.dtype == torch.float64
    gram = torch.einsum("abi,abj->ij", c, c)
    torch.testing.assert_close(gram, torch.eye(2 * l3 + 1, dtype=torch.float64), atol=ROUNDING, rtol=0)


@pytest.mark.parametrize(("l1", "l2", "l3"), TRIANGLES)
def test_exchange_of_the_two_factors(l1: int, l2: int, l3: int) -> None:
    exchanged = (-1) ** (l1 + l2 - l3) * clebsch_gordan(l2, l1, l3).transpose(0, 1)
    torch.testing.assert_close(clebsch_gordan(l1, l2, l3), exchanged, atol=ROUNDING, rtol=0)


def test_textbook_values() -> None:
    zeros = torch.tensor([clebsch_gordan(1, 1, 0)[1, 1, 0], clebsch_gordan(1, 1, 2)[1, 1, 2]])
    expected = torch.tensor([-(3**-0.5), (2 / 3) ** 0.5], dtype=torch.float64)
    torch.testing.assert_close(zeros, expected, atol=ROUNDING, rtol=0)
    # two vectors (y, z, x) couple to their cross product, which has unnatural parity
    cross = clebsch_gordan(1, 1, 1) * 2**0.5
    torch.testing.assert_close(cross[0, 1].abs(), torch.tensor([0, 0, 1], dtype=torch.float64), atol=ROUNDING, rtol=0)
    torch.testing.assert_close(cross, -cross.transpose(0, 1), atol=ROUNDING, rtol=0)


def test_coupling_commutes_with_rotation() -> None:
    d = wigner_d_all(6, random_rotation())
    for l1, l2, l3 in TRIANGLES:
        if l3 <= 6:
            c = clebsch_gordan(l1, l2, l3)
            rotated_first = torch.einsum("abk,ai,bj->ijk", c, d[l1], d[l2])
            torch.testing.assert_close(rotated_first, torch.einsum("ijm,km->ijk", c, d[l3]), atol=1e-12, rtol=0)


def test_a_wrong_sign_in_one_coefficient_breaks_the_coupling() -> None:
    """Negative control of the test above."""
    d = wigner_d_all(2, random_rotation())
    c = clebsch_gordan(1, 1, 2)
    c[1, 1, 2] *= -1
    difference = torch.einsum("abk,ai,bj->ijk", c, d[1], d[1]) - torch.einsum("ijm,km->ijk", c, d[2])
    assert difference.abs().max() > 0.1


def test_no_triangle_is_refused() -> None:
    with pytest.raises(ValueError, match="l3 = 4"):
        clebsch_gordan(1, 2, 4)


def test_a_caller_may_change_his_copy() -> None:
    clebsch_gordan(1, 1, 2).zero_()
    assert clebsch_gordan(1, 1, 2).abs().max() > 0.5


@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (0, 2), (1, 1), (2, 1), (3, 3), (4, 3)])
def test_shell_pair_basis_is_orthogonal_and_keeps_norms(l1: int, l2: int) -> None:
    basis, ls = shell_pair_to_irreps(l1, l2)
    assert ls == list(range(abs(l1 - l2), l1 + l2 + 1))
    n = (2 * l1 + 1) * (2 * l2 + 1)
    torch.testing.assert_close(basis @ basis.T, torch.eye(n, dtype=torch.float64), atol=ROUNDING, rtol=0)
    block = torch.randn(7, 2 * l1 + 1, 2 * l2 + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    irreps = block.flatten(-2) @ basis
    torch.testing.assert_close(irreps.square().sum(-1), block.square().sum((-2, -1)), atol=1e-12, rtol=0)
    torch.testing.assert_close(irreps @ basis.T, block.flatten(-2), atol=1e-13, rtol=0)


def test_shell_pair_block_rotates_as_its_irreps() -> None:
    rotation = random_rotation(3)
    l1, l2 = 2, 1
    d = wigner_d_all(3, rotation)
    block = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    basis, ls = shell_pair_to_irreps(l1, l2)
    rotated = (d[l1] @ block @ d[l2].T).flatten() @ basis
    expected = torch.block_diag(*[d[l] for l in ls]) @ (block.flatten() @ basis)
    torch.testing.assert_close(rotated, expected, atol=1e-13, rtol=0)
