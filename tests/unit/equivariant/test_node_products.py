import pytest
import torch

from adiabat.equivariant.products import NodeProduct, node_product_reference, product_paths

ORDERS = [(0, 0), (2, 2), (3, 2), (2, 4), (3, 0)]


def random_features(n: int, l_max: int, channels: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, (l_max + 1) ** 2, channels, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(("l_max", "l_max_out"), ORDERS)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("n_elements", [1, 3])
def test_fast_path_is_the_reference(l_max: int, l_max_out: int, symmetric: bool, n_elements: int) -> None:
    product = NodeProduct(5, l_max, l_max_out, n_elements=n_elements, symmetric=symmetric).double()
    a = random_features(6, l_max, 5)
    b = a if symmetric else random_features(6, l_max, 5, seed=1)
    elements = torch.tensor([0, 2, 1, 1, 0, 2]) % n_elements
    expected = node_product_reference(a, b, product.weights[elements], product.paths)
    # a hundred terms of order one, added in another order
    torch.testing.assert_close(product(a, b, elements), expected, atol=1e-13, rtol=0)


def test_symmetric_product_is_the_general_one_with_paths_merged() -> None:
    general, symmetric = NodeProduct(4, 2).double(), NodeProduct(4, 2, symmetric=True).double()
    with torch.no_grad():
        for index, (l1, l2, l3) in enumerate(symmetric.paths):
            twin = general.weights[:, general.paths.index((l2, l1, l3))]
            weight = general.weights[:, general.paths.index((l1, l2, l3))]
            symmetric.weights[:, index] = weight if l1 == l2 else weight + twin
    a = random_features(6, 2, 4)
    torch.testing.assert_close(symmetric(a, a), general(a, a), atol=1e-13, rtol=0)


def test_paths_keep_natural_parity() -> None:
    paths = product_paths(3, 2)
    assert len(paths) == len(set(paths))
    assert all((l1 + l2 + l3) % 2 == 0 and abs(l1 - l2) <= l3 <= l1 + l2 for l1, l2, l3 in paths)
    assert (1, 1, 1) not in paths
    assert (3, 3, 2) in paths


def test_unit_variance_at_the_start() -> None:
    torch.manual_seed(0)
    product = NodeProduct(256, 2)
    out = product(torch.randn(400, 9, 256), torch.randn(400, 9, 256))
    torch.testing.assert_close(out.var(dim=(0, 2)), torch.ones(9), atol=0.25, rtol=0)


def test_elements_must_be_given_when_weights_differ() -> None:
    with pytest.raises(ValueError, match="element_index"):
        NodeProduct(2, 1, n_elements=2)(torch.zeros(1, 4, 2), torch.zeros(1, 4, 2))


@pytest.mark.parametrize("symmetric", [False, True])
def test_derivatives(symmetric: bool) -> None:
    product = NodeProduct(2, 2, symmetric=symmetric).double()
    a, b = (random_features(2, 2, 2, seed).requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(product, (a, a if symmetric else b))
    assert torch.autograd.gradgradcheck(product, (a, a if symmetric else b))
