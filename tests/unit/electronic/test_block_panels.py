import numpy as np
import pytest
import torch

from adiabat.core.operators import BlockOperator
from adiabat.electronic.bloch import BlochSum, double_for_spinor, join_spinor, sparse_bloch_matrix
from adiabat.electronic.block_panels import BlockPanels, panel_bytes
from adiabat.electronic.folded import folded, spinor_as_blocks, spinor_order
from sparse_crystals import repeated, sheet

K = np.array([0.3, -0.2, 0.0])


@pytest.mark.parametrize("k_frac", [None, K])
@pytest.mark.parametrize("repeats", [(1, 1, 1), (9, 9, 1)])
def test_products_are_those_of_the_sparse_matrix(repeats: tuple[int, int, int], k_frac: np.ndarray | None) -> None:
    # (1, 1, 1): several images of one pair add up. (9, 9, 1): more atoms than a panel holds.
    h = repeated(sheet(), repeats).hamiltonian
    matrix = sparse_bloch_matrix(h, k_frac)
    dtype = torch.complex128 if k_frac is not None else torch.float64
    panels = BlockPanels(folded(h, k_frac), dtype)
    x = torch.randn(panels.n_orb, 5, dtype=dtype, generator=torch.Generator().manual_seed(0))
    assert np.allclose(panels(x).numpy(), matrix @ x.numpy(), atol=1e-12)
    assert not np.allclose(panels(x).numpy(), matrix @ x.numpy()[::-1])


def test_folding_keeps_the_matrix_and_drops_the_images() -> None:
    h = sheet().hamiltonian
    at_k = folded(h, K)
    assert len(at_k) == 9
    assert np.allclose(at_k.to_dense(), sparse_bloch_matrix(h, K).toarray(), atol=1e-14)
    assert folded(h).values.dtype == np.float64


def test_a_spinor_is_a_matrix_over_twice_the_orbitals() -> None:
    crystal = sheet("spinor")
    k = torch.from_numpy(K)[None]
    h = join_spinor(BlochSum(crystal.hamiltonian)(torch.from_numpy(crystal.hamiltonian.values), k))[0].numpy()
    s = double_for_spinor(BlochSum(crystal.overlap)(torch.from_numpy(crystal.overlap.values), k))[0].numpy()
    order = spinor_order(crystal.overlap.n_orbitals)
    for operator, dense in ((crystal.hamiltonian, h), (crystal.overlap, s)):
        blocks = folded(spinor_as_blocks(operator), K).to_dense()
        assert np.allclose(blocks[np.ix_(order, order)], dense, atol=1e-12)


def test_the_memory_is_what_was_foretold() -> None:
    h = folded(repeated(sheet(), (6, 6, 1)).hamiltonian)
    foretold = panel_bytes(h, torch.float32)
    # Rows of one panel are filled up to the widest: here not at all, for each kind of atom sees the same neighbors.
    assert foretold <= BlockPanels(h, torch.float32).n_bytes <= 1.1 * foretold


def test_an_operator_that_leaves_atoms_without_rows() -> None:
    pairs = np.array([[0, 0, 0, 0, 0]])
    operator = BlockOperator.from_blocks(pairs, [np.eye(2)], np.array([2, 2]))
    y = BlockPanels(operator, torch.float64)(torch.ones(4, 1, dtype=torch.float64))
    assert y[:, 0].tolist() == [1.0, 1.0, 0.0, 0.0]
