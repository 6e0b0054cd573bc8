import numpy as np
import pytest
import scipy.linalg
import torch

from adiabat.core.errors import ElectronicError
from adiabat.electronic.eigenproblem import solve_generalized

# LAPACK's backward error on matrices of this size, a few times over.
ROUNDING = 1e-12


def random_pair(n_orb: int = 6, batch: tuple[int, ...] = (), seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(*batch, n_orb, n_orb, dtype=torch.float64, generator=generator)
    b = torch.randn(*batch, n_orb, n_orb, dtype=torch.float64, generator=generator)
    return h + h.mT, b @ b.mT / n_orb + torch.eye(n_orb, dtype=torch.float64)


def nearly_dependent_overlap(overlap: torch.Tensor, smallest: float) -> torch.Tensor:
    eigenvalues, vectors = torch.linalg.eigh(overlap)
    eigenvalues[..., 0] = smallest
    return (vectors * eigenvalues.unsqueeze(-2)) @ vectors.mT


def test_energies_are_those_of_scipy() -> None:
    h, s = random_pair()
    states = solve_generalized(h, s)
    expected = scipy.linalg.eigh(h.numpy(), s.numpy(), eigvals_only=True)
    np.testing.assert_allclose(states.energies.numpy(), expected, atol=ROUNDING)
    assert states.n_dropped == 0
    assert states.smallest_overlap == pytest.approx(np.linalg.eigvalsh(s.numpy())[0], abs=ROUNDING)


def test_coefficients_solve_the_equation_and_are_orthonormal_in_the_metric() -> None:
    h, s = random_pair(batch=(2, 3))
    states = solve_generalized(h, s)
    c = states.coefficients
    torch.testing.assert_close(h @ c, s @ c * states.energies.unsqueeze(-2), atol=ROUNDING, rtol=0)
    torch.testing.assert_close(
        c.mT @ s @ c, torch.eye(6, dtype=torch.float64).expand(2, 3, 6, 6), atol=ROUNDING, rtol=0
    )


def test_a_batch_equals_its_members_bit_for_bit() -> None:
    h, s = random_pair(batch=(4,))
    together = solve_generalized(h, s)
    apart = [solve_generalized(h[k], s[k]) for k in range(4)]
    assert torch.equal(together.energies, torch.stack([states.energies for states in apart]))


def test_complex_matrices_as_of_a_crystal_at_one_k_point() -> None:
    (a, s), (b, _) = random_pair(seed=1), random_pair(seed=2)
    h = torch.complex(a, b.triu(1) - b.triu(1).mT)
    states = solve_generalized(h, s.to(torch.complex128))
    expected = scipy.linalg.eigh(h.numpy(), s.numpy(), eigvals_only=True)
    np.testing.assert_allclose(states.energies.numpy(), expected, atol=ROUNDING)


def test_single_precision_is_raised_to_double() -> None:
    h, s = random_pair()
    assert solve_generalized(h.float(), s.float()).energies.dtype == torch.float64


def test_nearly_dependent_orbitals_are_dropped_and_counted() -> None:
    h, s = random_pair()
    states = solve_generalized(h, nearly_dependent_overlap(s, 1e-10))
    assert states.n_dropped == 1
    assert torch.isfinite(states.energies).tolist() == [True] * 5 + [False]
    assert torch.equal(states.coefficients[:, 5], torch.zeros(6, dtype=torch.float64))
    # What remains is the eigenproblem of the orthogonal complement of the dropped combination.
    eigenvalues, vectors = torch.linalg.eigh(nearly_dependent_overlap(s, 1e-10))
    kept = vectors[:, 1:]
    expected = scipy.linalg.eigh((kept.T @ h @ kept).numpy(), np.diag(eigenvalues[1:].numpy()), eigvals_only=True)
    np.testing.assert_allclose(states.energies[:5].numpy(), expected, atol=ROUNDING)


def test_canonical_and_cholesky_agree_within_one_batch() -> None:
    h, s = random_pair(batch=(2,))
    mixed = torch.stack([s[0], nearly_dependent_overlap(s[1], 1e-10)])
    states = solve_generalized(h, mixed)
    assert states.n_dropped.tolist() == [0, 1]
    torch.testing.assert_close(states.energies[0], solve_generalized(h[0], s[0]).energies, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda h, s: (h, s - 2 * torch.eye(6)), "λ_min"),
        (lambda h, s: (h + torch.eye(6).roll(1, 0), s), "Hamiltonian with"),
        (lambda h, s: (h, s + torch.eye(6).roll(1, 0)), "overlap with"),
        (lambda h, s: (h * torch.nan, s), "not finite"),
        (lambda h, s: (h[:5, :5], s), "shape"),
        (lambda h, s: (h[:, :5], s[:, :5]), "shape"),
    ],
    ids=["negative S", "asymmetric H", "asymmetric S", "NaN", "sizes", "not square"],
)
def test_unusable_matrices_are_refused(spoil, message: str) -> None:
    with pytest.raises(ElectronicError, match=message) as caught:
        solve_generalized(*spoil(*random_pair()))
    assert caught.value.suggestion
