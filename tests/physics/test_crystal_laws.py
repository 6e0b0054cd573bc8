"""Laws of electrons in crystals: what a change of orbitals, of gauge, or of time's direction must not change."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from adiabat.electronic.bands import solve_bands
from adiabat.electronic.berry import berry_curvature, chern_number
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.effective_mass import effective_mass
from adiabat.electronic.fermi import Smearing, fill
from adiabat.electronic.kpoints import monkhorst_pack
from adiabat.electronic.optics import OpticalConductivity, optical_conductivity
from adiabat.electronic.position import PositionOperator
from adiabat.electronic.velocities import band_velocities, velocity_matrix
from known_crystals import (
    Image,
    adjoint,
    as_crystal,
    changed_basis,
    convolve,
    random_change,
    random_matrices,
    spin_orbit_crystal,
)

# Matrices of a few eV, bands a few eV apart, λ_min(S) of 0.5: rounding is amplified less than a hundred times.
ROUNDING = 1e-12

CELL = np.array([[2.5, 0.3, 0.0], [0.2, 3.0, 0.0], [0.0, 0.0, 0.0]])
PLACES = np.random.default_rng(5).normal(size=(3, 3))
K = np.random.default_rng(0).random((5, 3)) * [1, 1, 0]


@pytest.fixture(scope="module")
def old() -> tuple[Crystal, PositionOperator]:
    """Three orthonormal orbitals with a diagonal r."""
    crystal = as_crystal(random_matrices(3, 0), {(0, 0, 0): np.eye(3)}, CELL)
    return crystal, PositionOperator.from_centres(crystal, PLACES)


@pytest.fixture(scope="module")
def new() -> tuple[Crystal, PositionOperator]:
    """The same states in orbitals with tails in the neighboring cells."""
    return changed_basis(random_matrices(3, 0), PLACES, random_change(3, 1), CELL)


Pair = tuple[Crystal, PositionOperator]


def test_bands_velocities_and_masses_do_not_depend_on_the_orbitals(old: Pair, new: Pair) -> None:
    here, there = solve_bands(old[0], K), solve_bands(new[0], K)
    assert float(there.smallest_overlap.min()) < 0.8
    torch.testing.assert_close(there.energies, here.energies, atol=ROUNDING, rtol=0)
    torch.testing.assert_close(band_velocities(new[0], K), band_velocities(old[0], K), atol=ROUNDING, rtol=0)
    for band in range(3):
        first, second = (effective_mass(crystal, K[0], band).inverse_mass for crystal in (old[0], new[0]))
        torch.testing.assert_close(first, second, atol=ROUNDING, rtol=0)
    # With S taken for 1 every one of these fails.
    orthonormal = as_crystal({(0, 0, 0): np.eye(3)}, {(0, 0, 0): np.eye(3)}, CELL)
    wrong = Crystal(new[0].hamiltonian, orthonormal.overlap.on_pairs(new[0].overlap.pairs), CELL, new[0].periodic, 2.0)
    assert float((solve_bands(wrong, K).energies - here.energies).abs().max()) > 0.1


def test_velocities_between_bands_need_the_position(old: Pair, new: Pair) -> None:
    expected = velocity_matrix(old[0], K, old[1])[1]
    found = velocity_matrix(new[0], K, new[1])[1]
    torch.testing.assert_close(found.mH, found, atol=ROUNDING, rtol=0)
    torch.testing.assert_close(found.abs(), expected.abs(), atol=100 * ROUNDING, rtol=0)
    # Estimated from the atoms' places it is still Hermitian, and right within each band only.
    estimated = velocity_matrix(new[0], K, PositionOperator.from_centres(new[0], PLACES))[1]
    torch.testing.assert_close(estimated.mH, estimated, atol=ROUNDING, rtol=0)
    diagonal = [matrix.diagonal(dim1=-2, dim2=-1) for matrix in (estimated, expected)]
    torch.testing.assert_close(diagonal[0], diagonal[1], atol=100 * ROUNDING, rtol=0)
    assert float((estimated.abs() - expected.abs()).abs().max()) > 0.1


def test_curvature_does_not_depend_on_the_orbitals(old: Pair, new: Pair) -> None:
    expected = berry_curvature(old[0], K, old[1]).curvature
    torch.testing.assert_close(berry_curvature(new[0], K, new[1]).curvature, expected, atol=100 * ROUNDING, rtol=0)
    estimated = berry_curvature(new[0], K, PositionOperator.from_centres(new[0], PLACES))
    assert not estimated.is_exact
    assert float((estimated.curvature - expected).abs().max()) > 0.01


def test_curvature_of_a_space_that_turns_with_k_is_the_flux_of_its_phase() -> None:
    # Two orbitals made of three: the space that they span turns with k, and the sum over its two bands is not all.
    whole, change = random_matrices(3, 0), {image: matrix[:2] for image, matrix in random_change(3, 1).items()}
    crystal, position = changed_basis(whole, PLACES, change, CELL)
    k = np.array([[0.23, 0.41, 0.0]])
    found = berry_curvature(crystal, k, position).curvature[0, 0, :, 2]
    flux = phase_around(crystal, change, k[0], step=1e-3)
    torch.testing.assert_close(found, flux, atol=1e-5, rtol=0)
    assert float(flux.abs().max()) > 0.05


def phase_around(
    crystal: Crystal, change: dict[Image, npt.NDArray[np.complex128]], k: npt.NDArray[np.float64], step: float
) -> torch.Tensor:
    """Berry phase around a small loop over its area, from the states in the three orthonormal orbitals."""
    reciprocal = 2 * np.pi * np.linalg.pinv(CELL).T
    corners = [np.array([a, b, 0.0]) * step / 2 for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    states = []
    for corner in corners:
        at = k + CELL @ corner / (2 * np.pi)
        coefficients = solve_bands(crystal, at[None], coefficients=True).require_coefficients()[0, 0].numpy()
        tails = sum(np.exp(2j * np.pi * np.dot(at, image)) * matrix for image, matrix in change.items())
        centred = np.exp(-1j * PLACES @ (at @ reciprocal))
        states.append(centred[:, None] * (tails.conj().T @ coefficients))
    links = [np.einsum("bn,bn->n", states[c].conj(), states[(c + 1) % 4]) for c in range(4)]
    return torch.from_numpy(-np.angle(np.prod(links, axis=0)) / step**2)


def test_the_chern_number_does_not_depend_on_the_position_operator(new: Pair) -> None:
    # Any Hermitian q(R) adds the curl of a periodic function, whose integral over the zone is zero.
    rng = np.random.default_rng(3)
    x, y, z = (
        part.with_values(part.values + rng.normal(size=part.values.shape)).symmetrized() for part in new[1].symmetric
    )
    scrambled = PositionOperator((x, y, z), is_exact=False)
    curvatures = [berry_curvature(new[0], K, position).curvature for position in (new[1], scrambled)]
    assert float((curvatures[0] - curvatures[1]).abs().max()) > 1.0
    for position in (new[1], scrambled):
        # Two electrons without spin fill one band, which is trivial here.
        assert abs(chern_number(new[0], (24, 24, 1), position)) < 1e-4


def conductivity(crystal: Crystal, position: PositionOperator) -> OpticalConductivity:
    mesh = monkhorst_pack((6, 6, 1), time_reversal=False)
    filling = fill(solve_bands(crystal, mesh.k_frac).energies, mesh.weights, 2.7, 2, Smearing("fermi-dirac", 0.2))
    return optical_conductivity(crystal, mesh, filling, torch.linspace(0.1, 6, 7), position, broadening=0.3)


def test_optics_does_not_depend_on_the_orbitals(old: Pair, new: Pair) -> None:
    expected, found = conductivity(*old), conductivity(*new)
    torch.testing.assert_close(found.interband, expected.interband, atol=100 * ROUNDING, rtol=0)
    torch.testing.assert_close(found.drude_weight, expected.drude_weight, atol=100 * ROUNDING, rtol=0)
    assert float(expected.drude_weight[:2, :2].real.diagonal().min()) > 0
    estimated = conductivity(new[0], PositionOperator.from_centres(new[0], PLACES))
    assert float((estimated.interband - expected.interband).abs().max()) > 1e-3


def test_nothing_changes_by_a_reciprocal_lattice_vector(new: Pair) -> None:
    crystal, position = new
    further = K + np.array([1.0, -2.0, 0.0])
    torch.testing.assert_close(
        solve_bands(crystal, further).energies, solve_bands(crystal, K).energies, atol=ROUNDING, rtol=0
    )
    here, there = (berry_curvature(crystal, k, position).curvature for k in (K, further))
    torch.testing.assert_close(here, there, atol=100 * ROUNDING, rtol=0)
    there = berry_curvature(crystal, K + np.array([0.5, 0.0, 0.0]), position).curvature
    assert float((here - there).abs().max()) > 1e-3


def test_the_origin_does_not_matter(new: Pair) -> None:
    crystal, position = new
    shift = (0.7, -1.3, 2.1)
    x, y, z = (
        part.with_values(part.values + by * crystal.overlap.values)
        for part, by in zip(position.symmetric, shift, strict=True)
    )
    moved = PositionOperator((x, y, z), is_exact=True)
    torch.testing.assert_close(
        berry_curvature(crystal, K, moved).curvature,
        berry_curvature(crystal, K, position).curvature,
        atol=100 * ROUNDING,
        rtol=0,
    )
    torch.testing.assert_close(
        conductivity(crystal, moved).interband, conductivity(crystal, position).interband, atol=100 * ROUNDING, rtol=0
    )


def test_time_reversal_keeps_kramers_pairs() -> None:
    special = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0.5, 0.5, 0]])
    crystal = spin_orbit_crystal()
    energies = solve_bands(crystal, special).energies[0]
    torch.testing.assert_close(energies[:, ::2], energies[:, 1::2], atol=1e-12, rtol=0)
    torch.testing.assert_close(
        solve_bands(crystal, -K).energies, solve_bands(crystal, K).energies, atol=ROUNDING, rtol=0
    )
    # Spin–orbit coupling splits the pairs elsewhere, and an exchange field splits them everywhere.
    assert float((solve_bands(crystal, K).energies.diff(dim=-1)).min()) > 1e-2
    magnetic = solve_bands(spin_orbit_crystal(exchange=0.1), special).energies[0]
    assert float((magnetic[:, ::2] - magnetic[:, 1::2]).abs().min()) > 1e-2
    there, here = (solve_bands(spin_orbit_crystal(exchange=0.1), sign * K).energies for sign in (-1, 1))
    assert float((there - here).abs().max()) > 1e-3


def test_the_curvature_of_time_reversed_states_is_opposite() -> None:
    crystal = spin_orbit_crystal()
    position = PositionOperator.from_centres(crystal, PLACES[:2])
    here, there = (berry_curvature(crystal, k, position).curvature for k in (K, -K))
    torch.testing.assert_close(there, -here, atol=100 * ROUNDING, rtol=0)
    magnetic = spin_orbit_crystal(exchange=0.3)
    here, there = (berry_curvature(magnetic, k, position).curvature for k in (K, -K))
    assert float((here + there).abs().max()) > 1e-3


def test_transforming_a_basis_there_and_back_is_nothing() -> None:
    # The support code itself: L H L† of an L and its adjoint in k is what NumPy makes of matrices at one k.
    change, whole = random_change(3, 1), random_matrices(3, 0)

    def at(matrices: dict[Image, npt.NDArray[np.complex128]]) -> npt.NDArray[np.complex128]:
        return np.sum([np.exp(2j * np.pi * np.dot(K[0], image)) * matrix for image, matrix in matrices.items()], axis=0)

    product = at(convolve(convolve(change, whole), adjoint(change)))
    np.testing.assert_allclose(product, at(change) @ at(whole) @ at(change).conj().T, atol=ROUNDING)
