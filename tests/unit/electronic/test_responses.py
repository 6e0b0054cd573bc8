"""Velocities, masses, curvature and optics against closed forms, and what they refuse."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.core.units import HBAR2_PER_ELECTRON_MASS
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.berry import berry_curvature, chern_number
from adiabat.electronic.crystal import Crystal, crystal_from_matrices
from adiabat.electronic.effective_mass import (
    directional_masses,
    effective_mass,
    expand_level,
    finite_difference_inverse_mass,
)
from adiabat.electronic.fermi import Smearing, fill
from adiabat.electronic.kpoints import monkhorst_pack
from adiabat.electronic.optics import optical_conductivity
from adiabat.electronic.position import PositionOperator
from adiabat.electronic.velocities import band_velocities
from known_crystals import (
    BOND,
    GRAPHENE_CELL,
    GRAPHENE_PLACES,
    K_POINT,
    as_crystal,
    chain,
    cubic,
    graphene,
    random_matrices,
    spin_orbit_crystal,
)

SPEED = 1.5 * 2.7 * BOND
"""eV·Å: ħv of graphene's cone, (3/2) t a."""


def centred(crystal: Crystal) -> PositionOperator:
    return PositionOperator.from_centres(crystal, GRAPHENE_PLACES)


# ---------------------------------------------------------------- velocities


@pytest.mark.parametrize("crystal", [chain(overlap=0.15), graphene(mass=0.4, overlap=0.1), spin_orbit_crystal()])
def test_velocities_are_slopes(crystal: Crystal) -> None:
    k = np.array([[0.21, 0.13 * crystal.periodic[1], 0.0]])
    step = 1e-4
    found = band_velocities(crystal, k)[0, 0]
    for axis in range(3):
        move = np.where(crystal.periodic, crystal.cell[:, axis], 0.0) * step / (2 * np.pi)
        ahead, behind = (solve_bands(crystal, k + sign * move).energies[0, 0] for sign in (1, -1))
        # The error of a central difference, a third derivative of some 10 eV·Å³ times the step squared.
        torch.testing.assert_close(found[:, axis], (ahead - behind) / (2 * step), atol=1e-6, rtol=0)


# ---------------------------------------------------------------- masses


def test_the_mass_of_a_cosine_band() -> None:
    mass = effective_mass(cubic(-1.5, edge=2.5), np.zeros(3), 0)
    expected = HBAR2_PER_ELECTRON_MASS / (2 * 1.5 * 2.5**2)
    np.testing.assert_allclose(mass.masses, expected, rtol=1e-12)
    assert mass.energy == pytest.approx(-9.0)
    np.testing.assert_allclose(mass.slope, 0.0, atol=1e-12)
    top = effective_mass(cubic(-1.5, edge=2.5), np.full(3, 0.5), 0)
    np.testing.assert_allclose(top.masses, -expected, rtol=1e-12)


def test_the_mass_of_a_gapped_cone() -> None:
    # ε = √(m² + (vq)²): v²/m along both directions, infinite out of the plane; and with an overlap that changes it.
    mass = effective_mass(graphene(mass=0.5), K_POINT[0], 1)
    expected = HBAR2_PER_ELECTRON_MASS * 0.5 / SPEED**2
    np.testing.assert_allclose(mass.masses.sort().values, [expected, expected, np.inf], rtol=1e-9)


@pytest.mark.parametrize("k", [[0.1, 0.2, 0.0], [0.0, 0.5, 0.0]])
@pytest.mark.parametrize("crystal", [graphene(mass=0.6, overlap=0.12), spin_orbit_crystal(exchange=0.8)])
def test_perturbation_and_finite_differences_agree(crystal: Crystal, k: list[float]) -> None:
    for band in range(crystal.n_basis):
        analytic = effective_mass(crystal, np.array(k), band).inverse_mass
        numeric = finite_difference_inverse_mass(crystal, np.array(k), band, step=0.003)
        scale = max(1.0, float(analytic.abs().max()))
        assert float((analytic - numeric).abs().max()) < 1e-5 * scale


def heavy_and_light() -> Crystal:
    """Two p orbitals on a square lattice, degenerate at Γ, with different hopping along and across their lobes."""
    along, across = np.diag([1.0, -0.2]), np.diag([-0.2, 1.0])
    diagonal = np.array([[0, 0.3], [0.3, 0]])
    images = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (1, -1, 0)]
    return crystal_from_matrices(
        images,
        [np.zeros((2, 2)), along, across, diagonal, -diagonal],
        3.0 * np.eye(3),
        2.0,
        periodic=(True, True, False),
    )


def test_degenerate_states_that_part_have_masses_along_directions_only() -> None:
    crystal = heavy_and_light()
    with pytest.raises(ElectronicError, match=r"bands 0, 1, degenerate.*inverse masses by [\d.]+ / m_e"):
        effective_mass(crystal, np.zeros(3), 0)
    for direction in ([1.0, 0, 0], [1.0, 1.0, 0], [0.3, 0.8, 0]):
        masses = directional_masses(crystal, np.zeros(3), 0, np.array(direction))
        unit = np.array(direction) / np.linalg.norm(direction)
        # Each band along the line, by differences about Γ.
        step = 0.02
        points = np.outer([-step, 0.0, step], unit) @ crystal.cell.T / (2 * np.pi)
        energies = solve_bands(crystal, points * [1, 1, 0]).energies[0]
        numeric = (energies[0] - 2 * energies[1] + energies[2]) / step**2 / HBAR2_PER_ELECTRON_MASS
        # The fourth derivative of a cosine band leaves (step · 3 Å)²/12 of it.
        np.testing.assert_allclose(np.sort(1 / masses), np.sort(numeric), rtol=2e-3)


def test_degenerate_states_that_stay_together_have_a_mass() -> None:
    plain = cubic()
    h = plain.hamiltonian
    zero = np.zeros_like(h.values, dtype=complex)
    spinor = h.with_values(np.stack([h.values + zero, zero, zero, h.values + zero]), "spinor")
    mass = effective_mass(replace(plain, hamiltonian=spinor), np.zeros(3), 1)
    assert mass.n_degenerate == 2
    torch.testing.assert_close(mass.inverse_mass, effective_mass(plain, np.zeros(3), 0).inverse_mass)


def test_a_cone_has_no_mass_and_its_slopes_are_the_speed() -> None:
    crystal = graphene()
    with pytest.raises(ElectronicError, match=r"slopes that differ by \d"):
        effective_mass(crystal, K_POINT[0], 0)
    level = expand_level(crystal, K_POINT[0], 0)
    slopes = torch.linalg.eigvalsh(level.first[0])
    np.testing.assert_allclose(slopes, [-SPEED, SPEED], rtol=1e-12)


def test_bands_that_are_not_there_are_refused() -> None:
    with pytest.raises(ElectronicError, match="band 2 of channel 0"):
        effective_mass(graphene(), np.zeros(3), 2)
    with pytest.raises(ElectronicError, match="band 0 of channel 1"):
        finite_difference_inverse_mass(graphene(), np.zeros(3), 0, channel=1)


# ---------------------------------------------------------------- curvature


@pytest.mark.parametrize(("mass", "phase", "expected"), [(0.1, 0.5, -1), (0.1, -0.5, 1), (4.0, 0.5, 0), (2.0, 0.0, 0)])
@pytest.mark.parametrize("overlap", [0.0, 0.1])
def test_chern_numbers_of_haldanes_model(mass: float, phase: float, expected: int, overlap: float) -> None:
    crystal = graphene(-2.7, mass, overlap, 0.3 * np.exp(1j * np.pi * phase) if phase else 0.0)
    found = chern_number(crystal, (36, 36, 1), centred(crystal))
    # The gap at K is 2 |3√3 · 0.3 ∓ mass|, and convergence with the mesh is exponential in it.
    assert abs(found - expected) < 1e-4


def test_valleys_of_gapped_graphene_have_opposite_curvature() -> None:
    crystal = graphene(mass=0.5)
    found = berry_curvature(crystal, np.concatenate([K_POINT, -K_POINT]), centred(crystal))
    expected = SPEED**2 / (2 * 0.5**2)
    signs = torch.tensor([[-1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(found.curvature[0, :, :, 2], signs * expected, rtol=1e-9, atol=0)
    assert not found.curvature[..., :2].any()


def test_degenerate_states_share_their_curvature() -> None:
    plain = graphene(-2.7, 0.1, 0.0, 0.3j)
    h = plain.hamiltonian
    zero = np.zeros_like(h.values)
    doubled = replace(plain, hamiltonian=h.with_values(np.stack([h.values, zero, zero, h.values]), "spinor"))
    single = berry_curvature(plain, K_POINT + 0.01, centred(plain)).curvature
    twice = berry_curvature(doubled, K_POINT + 0.01, centred(doubled)).curvature
    torch.testing.assert_close(twice, single.repeat_interleave(2, dim=2), rtol=1e-9, atol=1e-9)


def test_a_chern_number_needs_a_gap_and_a_plane() -> None:
    # With Γ on the mesh and K too, graphene is a metal there.
    crystal = replace(graphene(next_hopping=1.5), n_electrons=2.0)
    with pytest.raises(ElectronicError, match=r"Chern number of a metal: .*overlap by"):
        chern_number(crystal, (6, 6, 1), centred(crystal))
    with pytest.raises(ElectronicError, match="3 periodic directions"):
        chern_number(cubic(), (2, 2, 2), PositionOperator.from_centres(cubic(), np.zeros((1, 3))))


def test_a_position_operator_that_cannot_be_is_refused() -> None:
    crystal = graphene(overlap=0.1)
    with pytest.raises(ElectronicError, match=r"positions of shape \(3, 3\) for 2 atoms"):
        PositionOperator.from_centres(crystal, np.zeros((3, 3)))
    x, y, z = centred(crystal).symmetric
    # q(R) given as r(R) lacks R/2.
    with pytest.raises(ElectronicError, match=r"differ from those of \(−R, ν, μ\)"):
        PositionOperator.from_matrix_elements(crystal, (x, y, z))
    with pytest.raises(ElectronicError, match="2 position operators"):
        PositionOperator.from_matrix_elements(crystal, (x, y))


# ---------------------------------------------------------------- optics


def test_graphene_absorbs_the_universal_conductivity() -> None:
    crystal = graphene()
    mesh = monkhorst_pack((150, 150, 1), gamma_centred=False)
    filling = fill(solve_bands(crystal, mesh.k_frac).energies, mesh.weights, 2.0, 2, Smearing("fermi-dirac", 0.025))
    photons = torch.tensor([0.8, 1.2], dtype=torch.float64)
    found = optical_conductivity(crystal, mesh, filling, photons, centred(crystal), broadening=0.15)
    # e²/4ħ, to (ħω/t)² and to the mesh.
    np.testing.assert_allclose(found.interband.real[0, 0], 0.25, rtol=0.06)
    np.testing.assert_allclose(found.interband.real[1, 1], 0.25, rtol=0.06)
    assert float(found.interband[0, 1].abs().max()) < 1e-6
    siemens = found.in_siemens()[0, 0].real
    np.testing.assert_allclose(siemens, 6.085e-5, rtol=0.08)


def test_the_hall_conductivity_is_the_chern_number() -> None:
    # Of orthonormal orbitals: others span a space that turns with k, which a sum over bands does not see.
    crystal = graphene(-2.7, 0.1, 0.0, 0.3j)
    mesh = monkhorst_pack((36, 36, 1), time_reversal=False)
    filling = fill(solve_bands(crystal, mesh.k_frac).energies, mesh.weights, 2.0, 2)
    found = optical_conductivity(crystal, mesh, filling, torch.zeros(1), centred(crystal), broadening=1e-4)
    # −e²/(2πħ) C for each spin, along the normal of the plane, which is −z for these cell vectors.
    normal = np.sign(np.cross(GRAPHENE_CELL[0], GRAPHENE_CELL[1])[2])
    chern = chern_number(crystal, (36, 36, 1), centred(crystal)) * normal
    np.testing.assert_allclose(float(found.interband[0, 1, 0].real), -2 * chern / (2 * math.pi), atol=1e-4)
    assert not found.drude_weight.any()


@pytest.mark.parametrize("n_electrons", [1.0, 2.0, 2.6])
def test_the_sum_rule_of_a_tight_binding_model(n_electrons: float) -> None:
    # Σ (f_m − f_n)/(ε_m − ε_n) |v|² over all pairs, Drude included, is Σ_n f_n C†(∂²H/∂k²)C for orthonormal orbitals
    # at their atoms with r in one place; it is the weight of absorption.
    crystal = replace(
        as_crystal(random_matrices(3, 2), {(0, 0, 0): np.eye(3)}, np.diag([2.0, 3.0, 0.0])), n_electrons=3
    )
    mesh = monkhorst_pack((16, 16, 1), time_reversal=False)
    states = solve_bands(crystal, mesh.k_frac, coefficients=True)
    filling = fill(states.energies, mesh.weights, n_electrons, 2, Smearing("fermi-dirac", 0.3))
    position = PositionOperator.from_centres(crystal, np.zeros((3, 3)))
    photons = torch.linspace(0, 60, 3001, dtype=torch.float64)
    found = optical_conductivity(crystal, mesh, filling, photons, position, broadening=0.2)
    curvature = diagonal_hessian(crystal, mesh.k_frac)
    c = states.require_coefficients()[0]
    diamagnetic = torch.einsum("kmn,kml,kln->kn", c.conj(), curvature, c).real
    weight = float((diamagnetic * filling.occupations[0]).sum(-1) @ mesh.weights) / crystal.measure
    absorbed = float(torch.trapezoid(found.total[0, 0].real, photons)) * 2 / math.pi
    # A Lorentzian of 0.2 eV has 2 · 0.2/(π 60) of its weight beyond 60 eV.
    assert absorbed == pytest.approx(weight, rel=0.01)


def diagonal_hessian(crystal: Crystal, k_frac: torch.Tensor) -> torch.Tensor:
    """∂²H/∂k_x² of a cell with a = 2 Å along x, from the blocks."""
    total = torch.zeros(len(k_frac), 3, 3, dtype=torch.complex128)
    for (x, y, z, i, j), block in crystal.hamiltonian.blocks():
        phase = torch.exp(2j * math.pi * (k_frac @ torch.tensor([x, y, z], dtype=torch.float64)))
        total[:, i, j] += -((2.0 * float(x)) ** 2) * phase * complex(block[0, 0])
    return total


def test_half_a_mesh_gives_the_same_light() -> None:
    crystal = graphene(mass=0.5, overlap=0.1)
    photons = torch.tensor([1.5, 3.0], dtype=torch.float64)
    found = []
    for half in (True, False):
        mesh = monkhorst_pack((9, 9, 1), time_reversal=half)
        filling = fill(solve_bands(crystal, mesh.k_frac).energies, mesh.weights, 2.0, 2)
        found.append(optical_conductivity(crystal, mesh, filling, photons, centred(crystal)).interband)
    torch.testing.assert_close(found[0], found[1], atol=1e-12, rtol=1e-10)


def test_light_is_refused_what_it_cannot_be_computed_from() -> None:
    crystal = graphene(-2.7, 0.1, 0.0, 0.3j)
    mesh = monkhorst_pack((4, 4, 1))
    filling = fill(solve_bands(crystal, mesh.k_frac).energies, mesh.weights, 2.0, 2)
    photons = torch.ones(1)
    with pytest.raises(ElectronicError, match=r"differs from its time reverse by 0\.\d+"):
        optical_conductivity(crystal, mesh, filling, photons, centred(crystal))
    whole = monkhorst_pack((4, 4, 1), time_reversal=False)
    with pytest.raises(ElectronicError, match="broadening of 0 eV"):
        optical_conductivity(crystal, whole, filling, photons, centred(crystal), broadening=0.0)
    with pytest.raises(ElectronicError, match="dielectric function with 2 periodic"):
        optical_conductivity(crystal, whole, filling, photons, centred(crystal)).dielectric_function()


def test_a_solid_of_two_levels_has_the_dielectric_constant_of_its_dipoles() -> None:
    # s and p of one atom, 4 eV apart, without hopping: ε(0) = 1 + 2 · 2 d²/(Δ ε₀ Ω), for two electrons in s.
    crystal = crystal_from_matrices(
        [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)],
        [np.diag([0.0, 4.0]), *[np.zeros((2, 2))] * 3],
        3.0 * np.eye(3),
        2.0,
        n_orbitals=[2],
    )
    s = crystal.overlap
    dipole = np.zeros((len(s), 2, 2))
    dipole[(s.pairs[:, :3] == 0).all(axis=1)] = 0.6 * (1 - np.eye(2))
    zero = s.with_values(np.zeros_like(s.values))
    x = s.with_values(dipole.reshape(-1))
    # The overlap of an orbital with itself in other cells is zero, so r(R) = R S needs no more.
    position = PositionOperator.from_matrix_elements(crystal, (x, zero, zero))
    mesh = monkhorst_pack((2, 2, 2))
    filling = fill(solve_bands(crystal, mesh.k_frac).energies, mesh.weights, 2.0, 2)
    found = optical_conductivity(crystal, mesh, filling, torch.tensor([0.01]), position, broadening=1e-3)
    coulomb = 180.95128  # e²/ε₀ in eV·Å
    expected = 1 + 2 * 2 * 0.6**2 / 4.0 * coulomb / 27.0
    assert float(found.dielectric_function()[0, 0, 0].real) == pytest.approx(expected, rel=1e-4)
    assert float(found.dielectric_function()[1, 1, 0].real) == pytest.approx(1.0)
    with pytest.raises(ElectronicError, match="from 0 eV"):
        optical_conductivity(crystal, mesh, filling, torch.zeros(1), position).dielectric_function()
