import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.electronic.molecule import solve_molecule


def huckel_chain(n_orb: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Chain with hopping −1 in an orthogonal basis: ε_k = −2 cos(π k / (n + 1))."""
    hopping = torch.diag(torch.ones(n_orb - 1, dtype=torch.float64), 1)
    return -(hopping + hopping.mT), torch.eye(n_orb, dtype=torch.float64)


def symmetrized(matrix: torch.Tensor) -> torch.Tensor:
    return (matrix + matrix.mT) / 2


def test_huckel_butadiene() -> None:
    orbitals = solve_molecule(*huckel_chain(), n_electrons=4)
    k = torch.arange(1, 5, dtype=torch.float64)
    expected = -2 * torch.cos(torch.pi * k / 5)
    torch.testing.assert_close(orbitals.energies, expected, atol=1e-14, rtol=0)
    assert orbitals.occupations.tolist() == [2, 2, 0, 0]
    assert orbitals.homo == orbitals.energies[1]
    assert orbitals.lumo == orbitals.energies[2]
    assert orbitals.gap == orbitals.lumo - orbitals.homo
    assert orbitals.fermi_level == pytest.approx(0.0, abs=1e-14)
    # Textbook π bond orders of butadiene: 0.894 at the ends, 0.447 in the middle (2/√5 and 1/√5).
    bond_orders = torch.diagonal(orbitals.density_matrix, 1)
    torch.testing.assert_close(bond_orders, torch.tensor([2, 1, 2], dtype=torch.float64) / 5**0.5, atol=1e-14, rtol=0)


def test_batch_with_different_electron_counts() -> None:
    h, s = huckel_chain()
    together = solve_molecule(torch.stack([h, h]), torch.stack([s, s]), torch.tensor([2, 6]))
    for k, n_electrons in enumerate((2, 6)):
        alone = solve_molecule(h, s, n_electrons)
        assert torch.equal(together.homo[k], alone.homo)
        assert torch.equal(together.density_matrix[k], alone.density_matrix)
        assert torch.trace(together.density_matrix[k]) == pytest.approx(n_electrons, abs=1e-13)


def test_a_full_basis_has_no_lumo() -> None:
    orbitals = solve_molecule(*huckel_chain(2), n_electrons=4)
    assert orbitals.lumo == torch.inf
    assert orbitals.gap == torch.inf


@pytest.mark.parametrize("n_electrons", [3, 0, -2, 10])
def test_impossible_electron_counts_are_refused(n_electrons: int) -> None:
    with pytest.raises(ElectronicError, match=f"{n_electrons}"):
        solve_molecule(*huckel_chain(), n_electrons)


def test_gap_and_energies_are_differentiable_in_h_and_s() -> None:
    generator = torch.Generator().manual_seed(3)
    h = torch.randn(5, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    s = (0.1 * torch.randn(5, 5, dtype=torch.float64, generator=generator)).requires_grad_()

    def observables(h: torch.Tensor, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        orbitals = solve_molecule(symmetrized(h), symmetrized(s) + torch.eye(5), n_electrons=4)
        return orbitals.gap, orbitals.energies, orbitals.density_matrix

    assert torch.autograd.gradcheck(observables, (h, s))


def test_gradcheck_notices_a_gap_cut_off_from_h() -> None:
    h, s = huckel_chain()

    def wrong(h: torch.Tensor) -> torch.Tensor:
        orbitals = solve_molecule(symmetrized(h), s, n_electrons=4)
        return orbitals.lumo - orbitals.homo.detach()

    assert not torch.autograd.gradcheck(wrong, (h.requires_grad_(),), raise_exception=False)
