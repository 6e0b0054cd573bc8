import numpy as np
import pytest

from adiabat.core.errors import ConfigError, LabelError
from adiabat.physics.reference_energies import ReferenceEnergies, free_atom, given, isolated_atoms, least_squares

WATER, METHANE, HYDROGEN = np.array([8, 1, 1]), np.array([6, 1, 1, 1, 1]), np.array([1, 1])


def test_least_squares_recovers_what_compositions_determine():
    true = {1: -13.6, 6: -1030.0, 8: -2040.0}
    compositions = [WATER, METHANE, HYDROGEN, np.array([6, 8, 8])]
    fitted = least_squares(compositions, np.array([sum(true[z] for z in c) for c in compositions]))
    assert fitted.source == "least_squares"
    assert fitted.note == ""
    assert all(abs(fitted.values[z] - true[z]) < 1e-8 for z in true)
    assert abs(fitted.total(WATER) - (2 * -13.6 - 2040)) < 1e-8


def test_one_composition_gives_the_smallest_solution_and_says_so():
    fitted = least_squares([WATER, WATER], np.array([-10.0, -12.0]))
    # Minimum norm over counts (2, 1) for a mean of −11: proportional to the counts.
    assert np.allclose([fitted.values[1], fitted.values[8]], [-22 / 5, -11 / 5])
    assert "1 independent compositions for 2 elements" in fitted.note
    assert "least squares" in fitted.describe()


def test_isolated_atoms_have_their_ground_state_spins():
    spins = {}

    def energy_of(structure):
        spins[int(structure.atomic_numbers[0])] = structure.spin
        return -float(structure.atomic_numbers[0])

    found = isolated_atoms([8, 1, 7, 6, 2, 1], energy_of)
    assert spins == {1: 1, 2: 0, 6: 2, 7: 3, 8: 2}
    assert found.source == "isolated_atoms"
    assert found.values[8] == -8.0
    assert free_atom(26).spin == 4


def test_given_energies_and_json_keep_values_and_source():
    energies = given({"H": -13.6, "O": -2040.0})
    assert ReferenceEnergies.from_json(energies.to_json()) == energies
    assert energies.to_json()["source"] == "given"


@pytest.mark.parametrize("values", [{"Hx": -1.0}, {"X": -1.0}, {"H": float("nan")}])
def test_wrong_given_energies_are_refused(values):
    with pytest.raises(ConfigError, match="reference energies"):
        given(values)


def test_an_element_without_energy_is_named():
    with pytest.raises(LabelError, match="for O"):
        given({"H": -13.6}).total(WATER)


@pytest.mark.parametrize(("compositions", "energies"), [([], []), ([WATER], [1.0, 2.0])])
def test_unmatched_energies_are_refused(compositions, energies):
    with pytest.raises(LabelError, match="energies of"):
        least_squares(compositions, np.array(energies))
