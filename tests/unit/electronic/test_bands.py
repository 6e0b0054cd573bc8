"""Bands against closed forms, spin layouts against each other, and bases that are nearly dependent."""

import numpy as np
import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.electronic import bands
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.crystal import Crystal, crystal_from_matrices
from adiabat.electronic.velocities import band_velocities
from known_crystals import BOND, K_POINT, chain, changed_basis, graphene, random_matrices, spin_orbit_crystal

# Matrices of a few eV and λ_min(S) of 0.4: rounding is amplified at most a few times.
ROUNDING = 1e-12


def test_chain_with_overlap_has_the_closed_form() -> None:
    k = np.linspace(0, 1, 9)
    energies = solve_bands(chain(-1.0, 0.2, 0.5), np.stack([k, 0 * k, 0 * k], axis=1)).energies[0, :, 0]
    cosine = np.cos(2 * np.pi * k)
    np.testing.assert_allclose(energies, (0.5 - 2 * cosine) / (1 + 0.4 * cosine), atol=ROUNDING)


def test_graphene_has_a_dirac_cone() -> None:
    crystal = graphene()
    assert float(solve_bands(crystal, K_POINT).energies.abs().max()) < ROUNDING
    beside = K_POINT + np.array([[1e-6, 2e-6, 0.0]])
    speeds = band_velocities(crystal, beside)[0, 0].norm(dim=-1)
    # (3/2) t a; corrections are of the order of the distance from K.
    np.testing.assert_allclose(speeds, 1.5 * 2.7 * BOND, rtol=1e-4)


def test_states_solve_the_equation_and_are_orthonormal() -> None:
    crystal = changed_basis(
        random_matrices(3, 0),
        np.zeros((3, 3)),
        {(0, 0, 0): np.eye(3), (1, 0, 0): np.eye(3) / 3},
        np.diag([2.0, 3.0, 0.0]),
    )[0]
    states = solve_bands(crystal, np.array([[0.1, 0.7, 0.0]]), coefficients=True)
    assert states.coefficients is not None
    c = states.coefficients[0, 0]
    phases = {tuple(r): np.exp(2j * np.pi * (0.1 * r[0] + 0.7 * r[1])) for r in crystal.overlap.pairs[:, :3].tolist()}
    h, s = torch.zeros(2, 3, 3, dtype=torch.complex128)
    for (x, y, z, i, j), block in crystal.overlap.blocks():
        s[i, j] += phases[(x, y, z)] * block[0, 0]
    for (x, y, z, i, j), block in crystal.hamiltonian.blocks():
        h[i, j] += phases[(x, y, z)] * block[0, 0]
    torch.testing.assert_close(h @ c, s @ c * states.energies[0, 0], atol=100 * ROUNDING, rtol=0)
    torch.testing.assert_close(c.mH @ s @ c, torch.eye(3, dtype=torch.complex128), atol=100 * ROUNDING, rtol=0)


def test_spin_layouts_agree_where_spin_does_not_matter() -> None:
    k = np.random.default_rng(0).random((4, 3))
    plain = graphene(mass=0.3, overlap=0.1)
    h = plain.hamiltonian
    both = Crystal(
        h.with_values(np.stack([h.values, h.values + 1.0 * plain.overlap.values]), "collinear"),
        plain.overlap,
        plain.cell,
        plain.periodic,
        2,
    )
    zero = np.zeros_like(h.values, dtype=complex)
    spinor = Crystal(
        h.with_values(np.stack([h.values + zero, zero, zero, h.values + zero]), "spinor"),
        plain.overlap,
        plain.cell,
        plain.periodic,
        2,
    )
    expected = solve_bands(plain, k).energies[0]
    collinear = solve_bands(both, k).energies
    torch.testing.assert_close(collinear[0], expected, atol=ROUNDING, rtol=0)
    # ↓ was raised by 1 eV.
    torch.testing.assert_close(collinear[1], expected + 1.0, atol=ROUNDING, rtol=0)
    doubled = solve_bands(spinor, k).energies[0]
    torch.testing.assert_close(doubled, expected.repeat_interleave(2, dim=-1), atol=ROUNDING, rtol=0)


def test_many_k_are_solved_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    crystal, k = spin_orbit_crystal(), np.random.default_rng(1).random((7, 3))
    at_once = solve_bands(crystal, k, coefficients=True)
    monkeypatch.setattr(bands, "_CHUNK_BYTES", 3 * 16 * 8 * 16)
    done: list[int] = []
    in_parts = solve_bands(crystal, k, coefficients=True, progress=done.append)
    assert done == [3, 6, 7]
    torch.testing.assert_close(in_parts.energies, at_once.energies, atol=ROUNDING, rtol=0)
    torch.testing.assert_close(solve_bands(crystal, k).energies, at_once.energies, atol=ROUNDING, rtol=0)


def nearly_dependent(delta: float) -> tuple[Crystal, Crystal]:
    """Three orbitals, and the same with a fourth that is the sum of two of them and delta of something new."""
    four = random_matrices(4, 3)
    mix = np.eye(4)
    mix[3] = [0.6, 0.8, 0.0, delta]
    images = list(four)
    whole = [mix @ four[image] @ mix.T for image in images]
    overlaps = [mix @ mix.T if image == (0, 0, 0) else np.zeros((4, 4)) for image in images]
    cell, plane = np.diag([2.0, 2.0, 0.0]), (True, True, False)
    good = crystal_from_matrices(images, [four[image][:3, :3] for image in images], cell, 2.0, periodic=plane)
    return good, crystal_from_matrices(images, whole, cell, 2.0, overlaps=overlaps, periodic=plane)


def test_dependent_combinations_are_dropped_and_the_bands_that_remain_are_right() -> None:
    good, bad = nearly_dependent(3e-5)
    k = np.random.default_rng(2).random((5, 3))
    expected, states = solve_bands(good, k), solve_bands(bad, k, coefficients=True)
    # λ_min is half of delta²: the direction that is dropped is almost the fourth one less the sum of two.
    np.testing.assert_allclose(states.smallest_overlap, 4.5e-10, rtol=1e-2)
    assert states.n_dropped.tolist() == [1] * 5
    assert bool(torch.isinf(states.energies[..., 3]).all())
    # The three that remain contain delta/2 of the fourth direction: energies to the order of delta times a few eV.
    torch.testing.assert_close(states.energies[..., :3], expected.energies, atol=1e-4, rtol=0)
    assert not states.require_coefficients()[..., 3].any()
    velocities = band_velocities(bad, k)
    torch.testing.assert_close(velocities[:, :, :3], band_velocities(good, k), atol=1e-3, rtol=0)
    # A threshold below λ_min keeps all four; the bands of three orbitals are then others.
    assert not solve_bands(bad, k, linear_dependence=1e-12).n_dropped.any()


@pytest.mark.parametrize("shape", [(3,), (2, 2), (0, 3)])
def test_k_points_of_the_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ElectronicError, match="k points of shape"):
        solve_bands(chain(), np.zeros(shape))


def test_states_are_missed_where_they_were_not_kept() -> None:
    with pytest.raises(ElectronicError, match="without coefficients"):
        solve_bands(chain(), np.zeros((1, 3))).require_coefficients()
