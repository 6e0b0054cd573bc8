"""Our irreps core against e3nn, which is a test dependency and nothing more.

e3nn's polar axis is y and its l = 1 order is (x, y, z); ours is z and (y, z, x). Renaming the axes
(x, y, z) → (y, z, x) turns one into the other, component by component.
"""

import warnings
from collections.abc import Iterator

import pytest
import torch

from adiabat.equivariant.clebsch_gordan import clebsch_gordan, shell_pair_to_irreps
from adiabat.equivariant.harmonics import spherical_harmonics
from adiabat.equivariant.wigner import wigner_d_all

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # e3nn compiles TorchScript when imported, which PyTorch deprecates
    o3 = pytest.importorskip("e3nn.o3")

AXES = [1, 2, 0]
# degree-6 polynomials of unit vectors, summed in another order by e3nn
ROUNDING = 1e-13
TRIANGLES = [(l1, l2, l3) for l1 in range(5) for l2 in range(5) for l3 in range(abs(l1 - l2), min(l1 + l2, 6) + 1)]


@pytest.fixture(scope="module")
def vectors() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    poles = torch.tensor([[0, 0, 1], [0, 0, -1], [1, 0, 0], [0, -1, 0]], dtype=torch.float64)
    return torch.cat([torch.randn(200, 3, dtype=torch.float64, generator=generator), poles])


@pytest.mark.parametrize("normalization", ["component", "norm", "integral"])
def test_harmonics_to_l_6(vectors: torch.Tensor, normalization: str) -> None:
    expected = o3.spherical_harmonics(list(range(7)), vectors[:, AXES], True, normalization)
    ours = spherical_harmonics(vectors, 6, normalization=normalization)
    torch.testing.assert_close(ours, expected, atol=ROUNDING, rtol=0)


def test_solid_harmonics_to_l_6(vectors: torch.Tensor) -> None:
    expected = o3.spherical_harmonics(list(range(7)), vectors[:, AXES], False, "component")
    ours = spherical_harmonics(vectors, 6, normalize=False)
    torch.testing.assert_close(ours, expected, atol=ROUNDING, rtol=ROUNDING)


def test_gradients_of_harmonics(vectors: torch.Tensor) -> None:
    weights = torch.randn(49, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mine, theirs = vectors.clone().requires_grad_(), vectors.clone().requires_grad_()
    (ours,) = torch.autograd.grad((spherical_harmonics(mine, 6) @ weights).sum(), mine)
    harmonics = o3.spherical_harmonics(list(range(7)), theirs[:, AXES], True, "component")
    (expected,) = torch.autograd.grad((harmonics @ weights).sum(), theirs)
    # one power of 1/|r| more, and the shortest vector is 0.3 long
    torch.testing.assert_close(ours, expected, atol=100 * ROUNDING, rtol=ROUNDING)


@pytest.fixture
def _double_by_default() -> Iterator[None]:
    """e3nn makes the generators behind its D matrices in the default dtype, whatever that of the angles."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_double_by_default")
@pytest.mark.parametrize("parity", [1, -1], ids=["proper", "improper"])
def test_wigner_d_to_l_6(parity: int) -> None:
    angles = 3 * torch.rand(3, 20, generator=torch.Generator().manual_seed(0))
    rotation = o3.angles_to_matrix(*angles)[:, [2, 0, 1]][:, :, [2, 0, 1]]
    for l, d in enumerate(wigner_d_all(6, parity * rotation)):
        torch.testing.assert_close(d, parity**l * o3.wigner_D(l, *angles), atol=ROUNDING, rtol=0)


@pytest.mark.parametrize(("l1", "l2", "l3"), TRIANGLES)
def test_clebsch_gordan_is_the_3j_symbol_up_to_sign(l1: int, l2: int, l3: int) -> None:
    ours = clebsch_gordan(l1, l2, l3)
    expected = o3.wigner_3j(l1, l2, l3, dtype=torch.float64) * (2 * l3 + 1) ** 0.5
    sign = torch.sign((ours * expected).sum())
    torch.testing.assert_close(sign * ours, expected, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (1, 1), (1, 2), (2, 1), (3, 2), (4, 4)])
def test_shell_pairs_span_the_same_irreps(l1: int, l2: int) -> None:
    """The projector on each L is free of sign conventions."""
    basis, ls = shell_pair_to_irreps(l1, l2)
    for ours, l in zip(basis.split([2 * l + 1 for l in ls], dim=1), ls, strict=True):
        theirs = o3.wigner_3j(l1, l2, l, dtype=torch.float64).flatten(0, 1) * (2 * l + 1) ** 0.5
        torch.testing.assert_close(ours @ ours.T, theirs @ theirs.T, atol=ROUNDING, rtol=0)
