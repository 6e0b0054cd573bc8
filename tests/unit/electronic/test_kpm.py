"""Moments, densities and counts of the kernel polynomial method against dense diagonalisation."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import Spin
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.chebyshev_moments import ChebyshevMoments
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.dos import density_of_states
from adiabat.electronic.fermi import Smearing, fill
from adiabat.electronic.kpm import kpm_moments, local_moments
from adiabat.electronic.kpm_density import (
    jackson_kernel,
    kpm_density,
    kpm_electron_count,
    kpm_fermi_level,
    kpm_projected_density,
)
from adiabat.electronic.kpm_settings import KpmSettings, estimate_kpm
from adiabat.electronic.projections import orbital_weights
from sparse_crystals import repeated, sheet

Array = npt.NDArray[np.float64]
GAMMA = torch.zeros(1, 3, dtype=torch.float64)
K = [0.3, -0.2, 0.0]
SHARP = KpmSettings(resolution=0.1, n_vectors=24, batch=16, inverse_error=1e-10, single=False)


@cache
def large(spin: Spin = "none") -> Crystal:
    return repeated(sheet(spin, gap=1.0), (2, 3, 1), disorder=0.3)


@cache
def energies(spin: Spin = "none") -> Array:
    return solve_bands(large(spin), GAMMA).energies[:, 0].numpy()


@cache
def moments(spin: Spin = "none") -> ChebyshevMoments:
    return kpm_moments(large(spin), SHARP)


def exact_moments(dense: Array, like: ChebyshevMoments) -> Array:
    """Σ_n T_m of every energy, (n_channels, n_moments)."""
    angle = np.arccos((dense - like.spectrum.centre) / like.spectrum.half_width)
    return np.cos(np.arange(like.values.shape[2])[None, :, None] * angle[:, None, :]).sum(axis=2)


def z_scores(dense: Array, like: ChebyshevMoments) -> Array:
    error = like.values.std(axis=1, ddof=1) / np.sqrt(like.n_vectors)
    return ((like.values.mean(axis=1) - exact_moments(dense, like)) / error)[:, 1:]


def test_moments_of_all_orbitals_are_those_of_all_energies() -> None:
    # No random vector is involved: the sum over orbitals is the trace. δ = 1e-10 of energies within 5 eV.
    crystal = large()
    each = local_moments(crystal, range(crystal.n_orb), SHARP)
    total = each.values.sum(axis=1)
    assert np.abs(total - exact_moments(energies(), each)).max() < 1e-6
    assert np.abs(total - exact_moments(energies() + 0.01, each)).max() > 1e-2


def test_a_coarse_inverse_moves_energies_by_no_more_than_it_says() -> None:
    """First moments are means of energies: δ |ε − μ| bounds their error."""
    crystal = large()
    coarse = KpmSettings(resolution=0.1, inverse_error=1e-2, single=False, reference=1.0)
    each = local_moments(crystal, range(crystal.n_orb), coarse)
    difference = abs(each.values[0, :, 1].sum() - exact_moments(energies(), each)[0, 1]) * each.spectrum.half_width
    bound = each.inverse_error * np.abs(energies() - 1.0).sum()
    assert 1e-9 < difference <= bound


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_stochastic_moments_scatter_about_the_exact_ones_as_they_say(spin: Spin) -> None:
    # Student's t of 24 vectors has a root mean square of 1.05. 70 and more moments, in part correlated.
    scores = z_scores(energies(spin), moments(spin))
    assert 0.6 < np.sqrt(np.mean(scores**2)) < 1.5
    wrong = z_scores(energies(spin) * 0.9, moments(spin))
    assert np.sqrt(np.mean(wrong**2)) > 2


def test_moments_at_a_complex_k() -> None:
    crystal = large()
    at_k = kpm_moments(crystal, SHARP, k_frac=K)
    dense = solve_bands(crystal, torch.tensor([K], dtype=torch.float64)).energies[:, 0].numpy()
    assert 0.6 < np.sqrt(np.mean(z_scores(dense, at_k) ** 2)) < 1.5
    assert np.sqrt(np.mean(z_scores(energies() * 0.95, at_k) ** 2)) > 2


def test_the_density_lies_within_its_error() -> None:
    grid = np.linspace(-4, 4, 81)
    curve = kpm_density(moments(), grid)
    # At the centre the kernel is a Gaussian of π half_width / N, the reference below has that width everywhere.
    like = moments()
    kernel = jackson_kernel(like.values.shape[2]) * np.where(np.arange(like.values.shape[2]) == 0, 1, 2)
    x = (grid - like.spectrum.centre) / like.spectrum.half_width
    chebyshev = np.cos(np.arange(like.values.shape[2])[:, None] * np.arccos(x))
    damped = exact_moments(energies(), like)[0] * kernel / (np.pi * like.spectrum.half_width)
    exact = 2 * damped @ chebyshev / np.sqrt(1 - x**2)
    score = (curve.values[0] - exact) / curve.errors[0]
    assert np.sqrt(np.mean(score**2)) < 1.6
    assert np.abs(score).max() < 5
    assert np.sqrt(np.mean((curve.values[0] - np.roll(exact, 4)) ** 2 / curve.errors[0] ** 2)) > 3


def test_the_kernel_is_a_gaussian_of_the_resolution() -> None:
    crystal = large()
    each = local_moments(crystal, range(crystal.n_orb), SHARP)
    centre = each.spectrum.centre
    grid = np.linspace(centre - 1, centre + 1, 41)
    mine = kpm_density(each, grid).values[0] * crystal.n_orb
    states = solve_bands(crystal, GAMMA).energies
    gauss = density_of_states(states, torch.ones(1), torch.from_numpy(grid), width=0.1, max_occupation=2)[0].numpy()
    # The tails differ: a Jackson peak is not exactly a Gaussian.
    assert np.abs(mine - gauss).max() < 0.06 * gauss.max()


def test_projected_densities_add_up_and_follow_mulliken() -> None:
    crystal = large()
    groups = crystal.orbital_atoms % 3
    projected = kpm_moments(crystal, SHARP, groups=groups)
    assert projected.projected is not None
    assert np.allclose(projected.projected.sum(axis=1), projected.values, atol=1e-6)
    states = solve_bands(crystal, GAMMA, coefficients=True)
    weights = orbital_weights(states, crystal)[0, 0].numpy()
    angle = np.arccos((energies()[0] - projected.spectrum.centre) / projected.spectrum.half_width)
    polynomials = np.cos(np.arange(projected.values.shape[2])[:, None] * angle)
    exact = np.stack([polynomials @ weights[groups == g].sum(axis=0) for g in range(3)])
    mean = projected.projected[0].mean(axis=1)
    error = projected.projected[0].std(axis=1, ddof=1) / np.sqrt(projected.n_vectors)
    assert np.sqrt(np.mean(((mean - exact) / error)[:, 1:] ** 2)) < 1.6
    assert np.sqrt(np.mean(((mean - exact[[1, 2, 0]]) / error)[:, 1:] ** 2)) > 3
    assert kpm_projected_density(projected, np.linspace(-1, 1, 5)).values.shape == (1, 3, 5)


def test_projections_that_were_not_computed() -> None:
    with pytest.raises(ElectronicError, match="groups"):
        kpm_projected_density(moments(), np.zeros(1))
    with pytest.raises(ElectronicError, match="spatial orbital"):
        kpm_moments(large(), SHARP, groups=np.zeros(3, dtype=np.int64))


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_electrons_are_counted_within_the_error(spin: Spin) -> None:
    grid = np.linspace(moments(spin).spectrum.low, moments(spin).spectrum.high, 60)
    counted = kpm_electron_count(moments(spin), grid)
    occupation = large(spin).max_occupation
    total = occupation * energies(spin).size
    assert np.isclose(counted.values[-1], total)
    assert np.all(np.diff(counted.values) >= -1e-9)
    width = np.pi * moments(spin).spectrum.half_width / moments(spin).values.shape[2]
    states = energies(spin).reshape(-1)
    gauss = Smearing("gaussian", width * np.sqrt(2))
    filled = gauss.occupation(torch.from_numpy((grid[:, None] - states) / gauss.width)).numpy()
    exact = occupation * filled.sum(axis=1)
    # Jackson peaks are narrower than Gaussians away from the centre: two electrons of allowance.
    assert np.all(np.abs(counted.values - exact) < 4 * counted.errors + 2)
    assert np.abs(counted.values - np.roll(exact, 3)).max() > 20


def test_the_fermi_level_is_that_of_the_filled_states() -> None:
    crystal = large()
    found = kpm_fermi_level(moments(), crystal.n_electrons)
    states = torch.from_numpy(energies())[:, None]
    dense = fill(states, torch.ones(1), crystal.n_electrons, 2, Smearing("gaussian", 0.1)).fermi_level
    spread = max(found.high - found.low, 0.1)
    assert abs(found.level - dense) < 2 * spread
    wrong = kpm_fermi_level(moments(), crystal.n_electrons + 30).level
    assert abs(wrong - dense) > 2 * spread
    with pytest.raises(ElectronicError, match="electrons"):
        kpm_fermi_level(moments(), 1e4)


def test_single_precision_errs_far_less_than_chance() -> None:
    double = moments()
    single = kpm_moments(large(), KpmSettings(**{**SHARP.__dict__, "single": True, "inverse_error": 1e-7}))
    n = min(single.values.shape[2], double.values.shape[2])
    # Bounds from Lanczos differ in their last digits, and with them the map to −1 … 1; so curves are compared.
    grid = np.linspace(-4, 4, 41)
    a, b = kpm_density(single, grid), kpm_density(double, grid)
    assert n > 50
    assert np.abs(a.values - b.values).max() < 0.02 * b.errors.mean()


def test_the_reference_is_found_near_the_fermi_level() -> None:
    crystal = large()
    reference = moments().settings.reference
    assert reference is not None
    dense = np.sort(energies().reshape(-1))
    # A twentieth of a spectrum of 14 eV.
    assert abs(reference - dense[int(crystal.n_electrons / 2)]) < 0.7
    far = 1000.0
    h = crystal.hamiltonian.with_values(crystal.hamiltonian.values + far * crystal.overlap.values)
    moved = Crystal(h, crystal.overlap, crystal.cell, crystal.periodic, crystal.n_electrons)
    coarse = KpmSettings(resolution=0.1, inverse_error=1e-3, single=False)
    each = local_moments(moved, range(moved.n_orb), coarse)
    # A level that is 1000 eV away from zero is as good as any: δ |ε − μ| stays small.
    level = kpm_fermi_level(each, crystal.n_electrons / crystal.n_orb).level - far
    assert abs(level - kpm_fermi_level(moments(), crystal.n_electrons).level) < 0.3


def test_one_seed_gives_one_result() -> None:
    again = kpm_moments(large(), SHARP)
    assert np.array_equal(again.values, moments().values)
    other = kpm_moments(large(), KpmSettings(**{**SHARP.__dict__, "seed": 1}))
    assert not np.allclose(other.values[:, :, 1], moments().values[:, :, 1])


def test_what_cannot_fit_is_refused_with_the_number() -> None:
    with pytest.raises(ElectronicError, match=r"GB of memory"):
        kpm_moments(large(), SHARP, memory_limit=1000)
    assert estimate_kpm(large(), SHARP).n_bytes > large().overlap.values.nbytes
    assert "8 orbitals" in str(estimate_kpm(sheet(), SHARP))


def test_stopping_keeps_the_vectors_that_are_finished() -> None:
    steps: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        steps.append((done, total))

    kpm_moments(large(), SHARP, progress=note)
    n_steps = steps[-1][1]
    assert steps[-1][0] == n_steps
    steps.clear()
    stopped = kpm_moments(large(), SHARP, should_stop=lambda: len(steps) > n_steps * 3 // 4, progress=note)
    assert stopped.n_vectors == SHARP.batch
    assert np.array_equal(stopped.values, moments().values[:, : SHARP.batch])
    with pytest.raises(KeyboardInterrupt, match="first random vectors"):
        kpm_moments(large(), SHARP, should_stop=lambda: True)


def test_an_overlap_that_is_not_positive_is_refused() -> None:
    crystal = sheet()
    s = crystal.overlap
    home = (s.pairs[:, 3] == s.pairs[:, 4]) & ~s.pairs[:, :3].any(axis=1)
    too_large = np.where(np.repeat(home, np.diff(s.offsets)), s.values, 12 * s.values)
    own = s.with_values(too_large)
    with pytest.raises(ElectronicError, match="positive definite"):
        kpm_moments(Crystal(crystal.hamiltonian, own, crystal.cell, crystal.periodic, 8.0), SHARP)


def test_an_energy_beyond_the_bounds_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adiabat.electronic.orthogonalized._LANCZOS_STEPS", 2)
    monkeypatch.setattr("adiabat.electronic.orthogonalized._MARGIN", -0.2)
    with pytest.raises(ElectronicError, match=r"outside the bounds|reaches down"):
        kpm_moments(large(), SHARP)


@pytest.mark.parametrize("settings", [{"resolution": 0.0}, {"n_vectors": 0}, {"inverse_error": 2.0}])
def test_settings_that_mean_nothing(settings: dict[str, float]) -> None:
    with pytest.raises(ElectronicError, match="resolution"):
        KpmSettings(**settings)  # type: ignore[arg-type]
