"""Sentences about a predicted crystal: what its errors are, what to compare them with, and where they fall short.

Every judgement has a threshold, every threshold a reason beside it, and a bad number gets a plain word.
"""

from typing import Final

from adiabat.core.units import BOLTZMANN
from adiabat.reports.words import ROOM_TEMPERATURE, number

THERMAL: Final = 1000 * BOLTZMANN * ROOM_TEMPERATURE
"""meV; an error of bands below it moves occupations less than room temperature does."""

RECOGNISABLE: Final = 100.0
"""meV; bands of solids lie electron-volts apart, and their order survives errors well below that."""


def matrix_words(mae: float, mae_without_shift: float, typical: float, smallest_overlap: float) -> str:
    """What the error of H means.

    Args:
        mae: mean absolute error of a matrix element [meV].
        mae_without_shift: the same after the best multiple of S is taken out [meV].
        typical: mean size of the matrix elements [meV].
        smallest_overlap: λ_min of S(k) over all k.
    """
    return (
        f"A matrix element of the Hamiltonian is off by {number(mae)} meV on average, where the elements themselves "
        f"are {number(typical)} meV large on average, small ones between far atoms among them. A crystal's "
        "Hamiltonian is defined up to a multiple of the overlap, H + μ S, which moves all bands together and means "
        f"nothing; less the best multiple (least squares) the error is {number(mae_without_shift)} meV. Errors of H "
        f"reach the bands amplified by up to 1/λ_min(S), {number(1 / smallest_overlap, 2)} in this basis, so the "
        "matrix alone proves little, and the bands are compared too."
    )


def band_words(rms: float, rms_without_shift: float, largest: float, n_states: int) -> str:
    """What the error of the bands means; errors in meV, of states within 5 eV of the Fermi level."""
    if rms_without_shift < THERMAL:
        verdict = (
            f"That is less than the thermal energy at {ROOM_TEMPERATURE:.0f} K ({number(THERMAL)} meV), and far less "
            "than what separates the gaps of semilocal functionals from measured ones."
        )
    elif rms_without_shift < RECOGNISABLE:
        verdict = (
            "Order and shape of the bands are right on the scale of the figures below; small splittings and effective "
            "masses are not to be taken from them. Longer training or more cells would help."
        )
    else:
        verdict = "That is too much to read bands from. Longer training or more cells are needed."
    return (
        f"{n_states} states within 5 eV of the Fermi level, on meshes of k, differ from the reference by "
        f"{number(rms)} meV (root mean square), {number(rms_without_shift)} meV without a common shift of each cell's "
        f"bands, and {number(largest)} meV at worst. {verdict}"
    )


def level_words(gap: float | None, fermi_level: float) -> str:
    """Errors of gap (None if there is none to compare) and Fermi level, mean absolute [meV]."""
    level = (
        f"The Fermi level, which follows from the number of electrons, is off by {number(fermi_level)} meV on average"
    )
    if gap is None:
        return f"{level}. There is no gap to compare."
    return f"{level}, the gap by {number(gap)} meV."


def size_words(validation: float, largest: float, n_atoms: int) -> str:
    """How much worse H is in a larger cell than in cells of the sizes that were learned from; errors in meV."""
    if largest < 1.5 * validation:
        return (
            f"In the largest tested cell, of {n_atoms} atoms, H is off by {number(largest)} meV, not much more than in "
            f"validation cells of the sizes that were learned from ({number(validation)} meV)."
        )
    return (
        f"In validation cells of the sizes that were learned from, H is off by {number(validation)} meV, in the "
        f"largest tested cell, of {n_atoms} atoms, by {number(largest)} meV. In a small cell the images of an atom "
        "move with it, so a large one has surroundings that training never showed. Add a few larger cells where this "
        "matters."
    )


def source_words(source: str, code: str, seconds: float, n_cells: int) -> str:
    """Where the labels come from, which a reader must know before any number."""
    if source == "cp2k":
        return f"{code} computed the labels of {n_cells} cells on this machine, in {number(seconds / 60, 2)} minutes."
    if source == "shipped":
        return (
            f"The labels were not computed in this run: CP2K was not installed, or not wanted, and the {n_cells} cells "
            f"that the package ships were taken, labelled before with {code}."
        )
    return (
        "The labels are those of a Slater–Koster model, which is no material: this run was a trial of the chain "
        "(--fast), and no number below says anything about boron nitride."
    )


def larger_words(n_atoms: int, n_orbitals: int, predict: float, solve: float, gap: float | None, small: float) -> str:
    """What the model says of a cell that has no reference.

    Args:
        n_atoms: of the cell.
        n_orbitals: of the cell.
        predict: seconds for H and S.
        solve: seconds for the density of states.
        gap: predicted [eV]; None for a metal.
        small: gap of the undistorted two-atom cell [eV], predicted.
    """
    found = (
        f"Its gap is {gap:.2f} eV, against {small:.2f} eV of the undistorted layer: atoms out of place move band edges."
        if gap is not None
        else "It has no gap."
    )
    return (
        f"The model was then given {n_atoms} atoms, shaken like the training cells. H and S of {n_orbitals} orbitals "
        f"took {number(predict, 2)} s, the density of states {number(solve, 2)} s. {found} No reference was computed "
        "for this cell; how well the model does in cells larger than those it was trained on, the table above says."
    )
