"""Windows of states, HOMO and LUMO of large cells against dense diagonalisation."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import Spin
from adiabat.electronic import shift_invert
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.block_lanczos import LanczosStates, nearest_states
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.fermi_states import states_around_fermi_level, wrapped_coordinates
from adiabat.electronic.kpm import channels
from adiabat.electronic.shift_invert import SparsePencil, states_near
from sparse_crystals import positions, repeated, sheet

K = [0.3, -0.2, 0.0]
REPEATS = (5, 5, 1)


@cache
def crystal_of(spin: Spin, disorder: float, gap: float = 1.0) -> Crystal:
    return repeated(sheet(spin, gap=gap), REPEATS, disorder=disorder)


def dense_energies(crystal: Crystal, k_frac: list[float] | None) -> npt.NDArray[np.float64]:
    k = torch.tensor([k_frac or [0.0, 0.0, 0.0]], dtype=torch.float64)
    return solve_bands(crystal, k).energies[:, 0].numpy()


def pencil_of(crystal: Crystal, k_frac: list[float] | None = None, **options: object) -> SparsePencil:
    h, s = channels(crystal, k_frac)[0]
    return SparsePencil(h, s, **options)  # type: ignore[arg-type]


# Without disorder a supercell's levels are degenerate, up to twelve times.
@pytest.mark.parametrize(
    ("spin", "k_frac", "disorder"), [("none", None, 0.3), ("none", None, 0.0), ("none", K, 0.3), ("spinor", K, 0.0)]
)
def test_a_window_is_that_of_the_dense_spectrum(spin: Spin, k_frac: list[float] | None, disorder: float) -> None:
    crystal = crystal_of(spin, disorder)
    window = states_near(pencil_of(crystal, k_frac), 0.1, n_below=12, n_above=17)
    dense = dense_energies(crystal, k_frac)[0]
    below = int((dense < 0.1).sum())
    assert window.first_index == below - 12
    assert window.is_complete
    # The promise is 1e-8 eV; what is reached is rounding.
    assert np.abs(window.energies - dense[below - 12 : below + 17]).max() < 1e-10
    assert np.abs(window.energies - dense[below - 11 : below + 18]).max() > 1e-4
    assert window.residuals.max() < 1e-6


def test_states_are_orthonormal_in_the_overlap() -> None:
    crystal = crystal_of("none", 0.0)
    window = states_near(pencil_of(crystal), 0.1, n_below=12, n_above=12)
    _, s = channels(crystal, None)[0]
    gram = window.coefficients.T @ s.to_dense() @ window.coefficients
    assert np.abs(gram - np.eye(24)).max() < 1e-11
    assert np.abs(window.coefficients.T @ window.coefficients - np.eye(24)).max() > 1e-3


@pytest.mark.parametrize(("spin", "k_frac"), [("none", None), ("none", K), ("collinear", None), ("spinor", None)])
def test_homo_and_lumo_come_from_the_electron_count(spin: Spin, k_frac: list[float] | None) -> None:
    crystal = crystal_of(spin, 0.3)
    found = states_around_fermi_level(crystal, 10, k_frac=k_frac)
    dense = dense_energies(crystal, k_frac)
    spectrum = np.sort(dense.reshape(-1))
    occupied = round(crystal.n_electrons / crystal.max_occupation)
    assert abs(found.homo - spectrum[occupied - 1]) < 1e-10
    assert abs(found.lumo - spectrum[occupied]) < 1e-10
    assert found.n_occupied == occupied
    assert found.gap > 1e-4
    assert found.homo < found.fermi_level < found.lumo
    assert len(found.windows) == crystal.n_channels
    for channel, window in enumerate(found.windows):
        last = window.first_index + len(window.energies)
        assert np.abs(window.energies - dense[channel, window.first_index : last]).max() < 1e-10
        assert window.is_complete


def test_a_wide_gap_is_found_from_a_guess_that_is_far_off() -> None:
    wide = crystal_of("none", 0.2, gap=6.0)
    # 3 + 1 + 2 of the 8 orbitals of a cell lie low, so that with 8 electrons the level is inside them; with 10 above.
    insulator = Crystal(wide.hamiltonian, wide.overlap, wide.cell, wide.periodic, 10.0 * 25)
    dense = dense_energies(insulator, None)[0]
    gaps = np.diff(dense)
    assert gaps[124] > 3.0
    found = states_around_fermi_level(insulator, 10, guess=float(dense[30]))
    assert abs(found.gap - gaps[124]) < 1e-9
    again = states_around_fermi_level(
        insulator, 10, coordinates=wrapped_coordinates(positions(REPEATS), insulator.cell, insulator.periodic)
    )
    assert abs(again.gap - gaps[124]) < 1e-9


def test_a_state_that_is_filled_in_part_is_both_edges() -> None:
    crystal = crystal_of("none", 0.3)
    odd = Crystal(crystal.hamiltonian, crystal.overlap, crystal.cell, crystal.periodic, crystal.n_electrons - 1)
    found = states_around_fermi_level(odd, 6)
    dense = dense_energies(crystal, None)[0]
    assert found.homo == found.lumo
    assert abs(found.homo - dense[round(crystal.n_electrons / 2) - 1]) < 1e-9


def test_a_level_that_is_degenerate_at_the_fermi_level_is_no_gap() -> None:
    crystal = crystal_of("none", 0.0)
    dense = dense_energies(crystal, None)[0]
    pair = next(n for n in range(60, 140) if dense[n + 1] - dense[n] < 1e-9)
    split = Crystal(crystal.hamiltonian, crystal.overlap, crystal.cell, crystal.periodic, 2.0 * (pair + 1))
    found = states_around_fermi_level(split, 6)
    assert found.gap < 1e-6
    assert abs(found.homo - dense[pair]) < 1e-8


def test_what_lanczos_misses_is_counted_and_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that loses a state on each side, as one that a start vector is orthogonal to."""
    crystal = crystal_of("none", 0.3)
    dense = dense_energies(crystal, None)[0]
    calls: list[int] = []

    def forgetful(*args: object, **options: object) -> LanczosStates:
        states = nearest_states(*args, **options)  # type: ignore[arg-type]
        calls.append(len(states.offsets))
        if len(calls) > 1:
            return states
        kept = np.delete(np.arange(len(states.offsets)), [3, -4])
        return LanczosStates(states.offsets[kept], states.coefficients[:, kept], states.errors[kept], states.n_solves)

    monkeypatch.setattr(shift_invert, "nearest_states", forgetful)
    window = states_near(pencil_of(crystal), 0.1, n_below=9, n_above=9)
    below = int((dense < 0.1).sum())
    assert len(calls) == 2
    assert window.is_complete
    assert len(window.energies) >= 16
    first = window.first_index
    assert np.abs(window.energies - dense[first : first + len(window.energies)]).max() < 1e-9
    calls.clear()
    unproven = states_near(pencil_of(crystal), 0.1, n_below=9, n_above=9, prove=False)
    assert not unproven.is_complete
    assert not np.allclose(unproven.energies[:8], dense[below - 8 : below], atol=1e-6)


def test_more_states_than_there_are() -> None:
    crystal = sheet()
    window = states_near(pencil_of(crystal), 0.1, n_below=50, n_above=50)
    assert np.allclose(window.energies, dense_energies(crystal, None)[0], atol=1e-9)


def test_what_cannot_fit_is_refused_before_it_starts() -> None:
    crystal = crystal_of("none", 0.3)
    said: list[str] = []
    with pytest.raises(ElectronicError, match=r"GB of memory"):
        states_around_fermi_level(crystal, 10, memory_limit=10_000, report=said.append)
    assert not said
    with pytest.raises(ElectronicError, match=r"GB of memory"):
        pencil_of(crystal, memory_limit=1000).count_below(0.0)


def test_a_search_stops_between_steps() -> None:
    crystal = crystal_of("none", 0.3)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        states_near(pencil_of(crystal, should_stop=lambda: True), 0.1, n_below=5, n_above=5)
    asked: list[int] = []

    def later() -> bool:
        asked.append(1)
        return len(asked) > len(pencil_of(crystal).fronts) + 2

    with pytest.raises(KeyboardInterrupt, match="search for states"):
        states_near(pencil_of(crystal, should_stop=later), 0.1, n_below=5, n_above=5)


def test_states_that_do_not_converge_are_an_error() -> None:
    diagonal = np.linspace(1, 2, 60)[:, None]
    start = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(ElectronicError, match="converged"):
        nearest_states(lambda x: x / diagonal, lambda x: x, start, n_below=0, n_above=10, tolerance=1e-9, max_basis=12)


def test_an_electron_count_without_empty_states() -> None:
    crystal = sheet()
    full = Crystal(crystal.hamiltonian, crystal.overlap, crystal.cell, crystal.periodic, 16.0)
    with pytest.raises(ElectronicError, match="fill all 8 states"):
        states_around_fermi_level(full, 4)
