from dataclasses import replace

import numpy as np
import pytest

from adiabat.core.errors import BasisError, FileFormatError, LabelError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.hamiltonian_formats.axial_symmetry import axial_asymmetry
from adiabat.data.hamiltonian_formats.contents import Crystal, OwnEigenvalues
from adiabat.data.hamiltonian_formats.images import check_images, image_shifts, moved_to_images, renumbered
from adiabat.data.hamiltonian_formats.self_check import self_check
from hamiltonian_files import boron_nitride, operators_of, structure_of
from siesta_files import K_POINTS, bands_of

SHELLS = {5: [(0, 1.8), (1, 1.6)], 7: [(0, 2.0), (2, 2.0)]}


def crystal(**changes: object) -> Crystal:
    made = boron_nitride(shells=SHELLS, reach=2.8, **changes)
    hamiltonian, overlap = operators_of(made)
    own = OwnEigenvalues(K_POINTS, bands_of(made, K_POINTS), "bn.EIG")
    basis = OrbitalBasis("toy", {5: (0, 1), 7: (0, 2)})
    return Crystal(structure_of(made), basis, hamiltonian, overlap, "toy", eigenvalues=own)


def changed(operator: BlockOperator, row: int, factor: float) -> BlockOperator:
    values = operator.values.copy()
    values[..., operator.offsets[row] : operator.offsets[row + 1]] *= factor
    return operator.with_values(values)


def off_site(operator: BlockOperator) -> int:
    """A pair of different atoms, near each other."""
    return next(k for k, pair in enumerate(operator.pairs.tolist()) if pair == [0, 0, 0, 0, 1])


@pytest.mark.parametrize("spin", [{}, {"exchange": 0.3}, {"spin_orbit": 0.6}])
def test_a_good_crystal_passes_with_its_numbers(spin: dict[str, float]) -> None:
    found, notes = self_check(crystal(**spin), "bn")
    text = "\n".join(notes)
    assert "basis: B 1s 1p; N 1s 1d; 10 orbitals" in text
    assert "reach: 2." in text
    assert "λ_min(S) = 0." in text
    assert "symmetric about" in text
    assert "3 k agree with bn.EIG to" in text
    assert np.array_equal(found.hamiltonian.values, crystal(**spin).hamiltonian.values)


def test_hamiltonian_that_is_not_hermitian_is_refused_with_the_number() -> None:
    good = crystal()
    row = off_site(good.hamiltonian)
    bad = replace(good, hamiltonian=changed(good.hamiltonian, row, 1.5))
    with pytest.raises(LabelError, match=r"not Hermitian: \|H − H†\| is up to [\d.]+ eV"):
        self_check(bad, "bn")


def test_what_rounding_explains_is_symmetrized() -> None:
    good = crystal()
    found, notes = self_check(replace(good, hamiltonian=changed(good.hamiltonian, 5, 1 + 1e-7)), "bn")
    assert found.hamiltonian.hermiticity_error() == 0
    assert any("symmetrized" in note for note in notes)


def test_missing_reverse_pairs_are_told_from_other_asymmetry() -> None:
    good = crystal()
    row = off_site(good.overlap)
    with pytest.raises(LabelError, match=r"S with 1 pairs that lack their reverse"):
        self_check(replace(good, overlap=changed(good.overlap, row, 0.0)), "bn")


def test_overlap_that_is_not_positive_is_refused_with_the_number() -> None:
    good = crystal()
    different = good.overlap.pairs[:, 3] != good.overlap.pairs[:, 4]
    same = np.any(good.overlap.pairs[:, :3] != 0, axis=1) | different
    values = good.overlap.values * np.where(np.repeat(same, np.diff(good.overlap.offsets)), 3.0, 1.0)
    with pytest.raises(LabelError, match=r"not positive definite, λ_min\(S\) = -"):
        self_check(replace(good, overlap=good.overlap.with_values(values)), "bn")


def test_eigenvalues_of_another_run_are_refused() -> None:
    good = crystal()
    assert good.eigenvalues is not None
    shifted = replace(good.eigenvalues, energies=good.eigenvalues.energies + 0.05)
    with pytest.raises(LabelError, match=r"0\.05 eV off"):
        self_check(replace(good, eigenvalues=shifted), "bn")


def test_images_of_the_wrong_sign_are_refused() -> None:
    good = crystal()
    pairs = good.overlap.pairs * [-1, -1, -1, 1, 1]
    turned = [BlockOperator.from_blocks(pairs, [o.block(k) for k in range(len(o))], o.n_orbitals)
              for o in (good.hamiltonian, good.overlap)]  # fmt: skip
    # The lattice is skewed, so that −R of a bond is no bond: first the distance tells, if not the direction does.
    with pytest.raises((FileFormatError, BasisError)):
        self_check(replace(good, hamiltonian=turned[0], overlap=turned[1], eigenvalues=None), "bn")


def test_atoms_are_moved_to_the_copies_that_images_speak_of() -> None:
    good = crystal()
    structure = good.structure
    shift = np.array([[0, 0, 0], [2, -1, 1]])
    wrapped = structure.positions + shift @ structure.cell
    with pytest.raises(FileFormatError, match="largest at"):
        check_images(wrapped, structure.cell, good.overlap, "bn")
    assert np.array_equal(image_shifts(wrapped, structure.cell, good.overlap), -shift)
    np.testing.assert_allclose(moved_to_images(wrapped, structure.cell, good.overlap), structure.positions, atol=1e-12)
    again = renumbered(good.overlap, -shift)
    check_images(wrapped, structure.cell, again, "bn")
    assert not np.array_equal(again.pairs, good.overlap.pairs)


def test_axial_symmetry_sees_a_swapped_pair_of_orbitals() -> None:
    good = crystal()
    assert axial_asymmetry(good.overlap, good.structure, good.basis)[0] < 1e-12
    swapped = OrbitalBasis("toy", {5: (1, 0), 7: (0, 2)})
    assert axial_asymmetry(good.overlap, good.structure, swapped)[0] > 0.1


def test_axial_symmetry_needs_the_right_structure() -> None:
    good = crystal()
    positions = good.structure.positions.copy()
    positions[1, 0] += 0.3
    moved = replace(good.structure, positions=positions)
    with pytest.raises(BasisError, match="turn about the bond"):
        self_check(replace(good, structure=moved), "bn")


def test_elements_that_are_not_finite_are_refused() -> None:
    good = crystal()
    with pytest.raises(LabelError, match="H with elements that are not finite"):
        self_check(replace(good, hamiltonian=changed(good.hamiltonian, 3, float("nan"))), "bn")
