"""What holds for the electrons of any Hamiltonian: counts, charges, and no dependence on the choice of orbitals."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adiabat.electronic.charges import loewdin_charges, mulliken_charges
from adiabat.electronic.molecule import solve_molecule
from adiabat.electronic.similarity import orbital_similarity

# Matrices of unit size and λ_min(S) ≥ 0.2: rounding is amplified at most a few times.
ROUNDING = 1e-11

sizes = st.integers(min_value=2, max_value=9)
seeds = st.integers(min_value=0, max_value=2**31)


def random_molecule(n_orb: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    h, b = torch.randn(2, n_orb, n_orb, dtype=torch.float64, generator=generator)
    return h + h.mT, 0.2 * torch.eye(n_orb) + b @ b.mT / n_orb, generator


@settings(max_examples=40, deadline=None)
@given(n_orb=sizes, seed=seeds, data=st.data())
def test_density_holds_the_electrons_and_is_idempotent(n_orb: int, seed: int, data: st.DataObject) -> None:
    h, s, _ = random_molecule(n_orb, seed)
    n_electrons = 2 * data.draw(st.integers(1, n_orb))
    density = solve_molecule(h, s, n_electrons).density_matrix
    torch.testing.assert_close(torch.trace(density @ s).item(), float(n_electrons), atol=ROUNDING, rtol=0)
    torch.testing.assert_close(density @ s @ density, 2 * density, atol=100 * ROUNDING, rtol=0)


@settings(max_examples=40, deadline=None)
@given(n_orb=sizes, seed=seeds, data=st.data())
def test_charges_add_up_to_the_total_charge(n_orb: int, seed: int, data: st.DataObject) -> None:
    h, s, _ = random_molecule(n_orb, seed)
    n_atoms = data.draw(st.integers(1, n_orb))
    atoms = torch.arange(n_orb) % n_atoms
    nuclear = torch.arange(1.0, n_atoms + 1, dtype=torch.float64)
    density = solve_molecule(h, s, 2).density_matrix
    for charges in (mulliken_charges, loewdin_charges):
        total = float(charges(density, s, atoms, nuclear).sum())
        torch.testing.assert_close(total, float(nuclear.sum()) - 2.0, atol=ROUNDING, rtol=0)


@settings(max_examples=40, deadline=None)
@given(n_orb=sizes, seed=seeds)
def test_energies_do_not_depend_on_the_basis_of_the_space(n_orb: int, seed: int) -> None:
    h, s, generator = random_molecule(n_orb, seed)
    rotation, _ = torch.linalg.qr(torch.randn(n_orb, n_orb, dtype=torch.float64, generator=generator))
    change = rotation * torch.linspace(0.5, 2.0, n_orb, dtype=torch.float64)
    there, here = solve_molecule(change.mT @ h @ change, change.mT @ s @ change, 2), solve_molecule(h, s, 2)
    torch.testing.assert_close(there.energies, here.energies, atol=100 * ROUNDING, rtol=0)
    # A change of H alone is noticed.
    assert not torch.allclose(solve_molecule(change.mT @ h @ change, s, 2).energies, here.energies, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(n_orb=sizes, seed=seeds, shift=st.floats(-5, 5))
def test_a_shift_by_the_overlap_moves_energies_and_nothing_else(n_orb: int, seed: int, shift: float) -> None:
    h, s, _ = random_molecule(n_orb, seed)
    here, there = solve_molecule(h, s, 2), solve_molecule(h + shift * s, s, 2)
    torch.testing.assert_close(there.energies, here.energies + shift, atol=ROUNDING, rtol=0)
    similarity = orbital_similarity(there.coefficients, here.coefficients, here.energies, s, 1)
    torch.testing.assert_close(similarity, torch.ones(1, dtype=torch.float64), atol=1e-6, rtol=0)
