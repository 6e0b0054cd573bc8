"""Sentences made from numbers: what was found, what to compare it with, and where it falls short.

Every judgement has a threshold, every threshold a reason beside it, and a bad number gets a plain word.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.units import BOLTZMANN, KCAL_PER_MOL, MICRO_HARTREE

Array = npt.NDArray[np.float64]

ROOM_TEMPERATURE: Final = 300.0
"""K, whose thermal energy is the yardstick of energy errors."""

GOOD_DRIFT: Final = 0.1
"""meV per atom and ps. A hundred picoseconds at this rate add 10 meV an atom, less than half of kT at room
temperature; short runs of sound models stay below, and runs with discontinuous forces are far above."""

TINY_DRIFT: Final = 0.001
"""meV per atom and ps; a slope below this says nothing over a few picoseconds."""

EXACT_FORCE_SHARE: Final = 0.01
"""Forces with a smaller relative error follow the reference's trajectory for several vibrations."""

USABLE_FORCE_SHARE: Final = 0.05
"""Forces with a smaller relative error give frequencies to a few per cent, since these go as the root of the force."""

FOLLOWED_SHARE: Final = 0.2
"""A gap error below this share of the gap's own standard deviation leaves its curve recognisable."""

SAME_ORBITALS: Final = 0.999999
"""Overlaps nearer to 1 are not told apart in words."""

STILL_FALLING: Final = 0.10
"""A fall of the validation error by this share between the last two fifths of training is no end yet."""


def number(value: float, digits: int = 3) -> str:
    """A number to ``digits`` significant digits without an exponent, with a true minus sign."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}".replace("-", "−")
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(rounded)))))
    return f"{rounded:,.{decimals}f}".replace("-", "−").replace(",", "\u202f")


def count(value: float) -> str:
    """A whole number, thousands apart."""
    return f"{round(value):,}".replace(",", "\u202f")


def drift_number(drift: float) -> str:
    """A drift [meV per atom and ps]; what is too small to tell from rounding is called so."""
    return number(drift, 2) if abs(drift) >= TINY_DRIFT else f"less than {TINY_DRIFT:g}"


def energy_words(mae: float, largest: float, spread: float, n_structures: int) -> str:
    """What the energy error means.

    Args:
        mae: mean absolute error [eV].
        largest: largest absolute error [eV].
        spread: standard deviation of the reference energies, the error of always answering their mean [eV].
        n_structures: number of test structures.
    """
    thermal = BOLTZMANN * ROOM_TEMPERATURE
    yardstick = f"the thermal energy at {ROOM_TEMPERATURE:.0f} K ({number(1000 * thermal)} meV)"
    if mae < 0.1 * thermal:
        verdict = f"That is less than a tenth of {yardstick}."
    elif mae < KCAL_PER_MOL:
        verdict = (
            f"That is within what chemists call chemical accuracy (1 kcal/mol, {number(1000 * KCAL_PER_MOL)} meV), but "
            f"not small beside {yardstick}."
        )
    else:
        verdict = (
            f"That is more than 1 kcal/mol ({number(1000 * KCAL_PER_MOL)} meV): too much for chemistry. Longer "
            "training or more labelled geometries are needed."
        )
    return (
        f"On {n_structures} geometries that the model never saw, its energy differs from DFT by {number(1000 * mae)} "
        f"meV on average and by {number(1000 * largest)} meV at worst. The energies themselves vary with a standard "
        f"deviation of {number(1000 * spread)} meV, so the model accounts for all but {number(100 * mae / spread, 2)} "
        f"% of it. {verdict}"
    )


def force_words(mae: float, rms_force: float) -> str:
    """What the force error means; both arguments in eV/Å, the second the root mean square of the reference forces."""
    share = mae / rms_force
    verdict = (
        "small enough for the motion below to be that of the DFT surface for many vibrations"
        if share < EXACT_FORCE_SHARE
        else "small enough for vibrations and averages, not for following one trajectory for long"
        if share < USABLE_FORCE_SHARE
        else "too large to trust the motion; take the trajectory below as an illustration"
    )
    return (
        f"A force component is off by {number(1000 * mae)} meV/Å on average, {number(100 * share, 2)} % of the typical "
        f"force of {number(rms_force)} eV/Å: {verdict}."
    )


def hamiltonian_words(mae: float, h0_mae: float, orbital_mae: float, gap_mae: float, orbital_similarity: float) -> str:
    """What the error of the Hamiltonian means; errors are mean absolute ones in eV.

    Args:
        mae: of the matrix elements.
        h0_mae: of the matrix elements of H0, the Hamiltonian of superposed free atoms that the model corrects.
        orbital_mae: of the occupied orbital energies.
        gap_mae: of the HOMO–LUMO gap.
        orbital_similarity: mean |⟨ψ_model|ψ_DFT⟩| of the occupied orbitals; 1 if they are the same.
    """
    overlap = (
        f"to {orbital_similarity:.6f}" if orbital_similarity < SAME_ORBITALS else f"to better than {SAME_ORBITALS}"
    )
    return (
        f"A matrix element of the Hamiltonian is off by {number(mae / MICRO_HARTREE)} µHa ({number(1000 * mae)} meV) "
        "on average. The model learns what is missing from the Hamiltonian of superposed free atoms, which is off by "
        f"{number(h0_mae / MICRO_HARTREE)} µHa; it removes {100 * (1 - mae / h0_mae):.2f} % of that. Small errors of a "
        "matrix can hide large errors of its eigenvalues, so these are compared too: occupied orbital energies are off "
        f"by {number(1000 * orbital_mae)} meV and the gap by {number(1000 * gap_mae)} meV on average. The occupied "
        f"orbitals themselves overlap with those of DFT {overlap}, where 1 is identity."
    )


def learning_words(
    steps: Array, errors: dict[str, Array], units: dict[str, str], seconds: float, structures: str = "geometries"
) -> str:
    """How training went, and whether it was long enough.

    Args:
        steps: (n_points,) optimizer steps.
        errors: for each quantity (n_points,) validation errors.
        units: for each quantity their unit.
        seconds: training time.
        structures: what the validation structures are called.
    """
    falls = ", ".join(
        f"{name} from {number(float(curve[0]))} to {number(float(curve[-1]))} {units[name]}"
        for name, curve in errors.items()
    )
    falling = [name for name, curve in errors.items() if _late_fall(curve) > STILL_FALLING]
    verdict = (
        f"The error of {_listed(falling)} still fell at the end: longer training would improve this model."
        if falling
        else "The curves are flat at the end, where the learning rate has fallen to its last value; whether a longer "
        "run would have ended lower cannot be told from them."
    )
    return (
        f"Training took {number(seconds / 60, 2)} minutes and {count(steps[-1])} steps. On the validation "
        f"{structures}, the mean absolute error went down for {falls}. {verdict}"
    )


def _listed(names: Sequence[str]) -> str:
    """A, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _late_fall(curve: Array) -> float:
    """Relative fall of a curve's mean from its last but one fifth to its last."""
    fifth = max(1, len(curve) // 5)
    return 1 - float(curve[-fifth:].mean() / curve[-2 * fifth : -fifth].mean()) if len(curve) > 1 else 0.0


def drift_rate(time: Array, total: Array, n_atoms: int) -> float:
    """Slope of the total energy by least squares [meV per atom and ps]; time in fs, energy in eV."""
    return float(np.polyfit(time, total - total[0], 1)[0]) * 1e6 / n_atoms


def conservation_words(time: Array, total: Array, kinetic: Array, n_atoms: int) -> str:
    """Whether the trajectory kept its energy: the test of forces that are the gradient of the energy."""
    drift = drift_rate(time, total, n_atoms)
    ripple = 1000 * float(np.std(total)) / n_atoms
    exchanged = 1000 * float(np.std(kinetic)) / n_atoms
    verdict = (
        "The forces are the derivative of the predicted energy, and this is how it shows."
        if abs(drift) < GOOD_DRIFT
        else "Over so short a run, this drift is less than the ripple and cannot be told from it."
        if abs(drift) * (time[-1] - time[0]) / 1000 < ripple
        else "That is too much: a shorter time step, or a model without kinks where this trajectory went, is needed."
    )
    return (
        "Nothing heats or cools the molecule here, so its total energy must stay what it was. Over "
        f"{time[-1] / 1000:.2g} ps it drifts by {drift_number(drift)} meV per atom and ps and ripples by "
        f"{number(ripple, 2)} meV per atom (standard deviation), while {number(exchanged, 2)} meV per atom move to and "
        "fro between potential and kinetic energy. The ripple belongs to the finite time step of the integrator. "
        f"{verdict}"
    )


def gap_words(gap: Array, mean_bond_length: Array, angle: Array) -> str:
    """How the gap moves and with what; arrays (n_points,) [eV], [Å], [degree]."""
    by_bond = float(np.corrcoef(gap, mean_bond_length)[0, 1])
    by_angle = float(np.corrcoef(gap, angle)[0, 1])
    name, strongest = max((("the O–H bonds", by_bond), ("the angle", by_angle)), key=lambda item: abs(item[1]))
    cause = (
        f"It follows {name} (correlation {number(strongest, 2)}): the gap {'grows' if strongest > 0 else 'shrinks'} "
        f"when {'they stretch' if name == 'the O–H bonds' else 'it opens'}."
        if abs(strongest) >= 0.5
        else f"Neither bonds (correlation {number(by_bond, 2)}) nor angle ({number(by_angle, 2)}) explain it alone."
    )
    return (
        f"The gap between the highest occupied and the lowest empty orbital is {gap.mean():.2f} eV on average and "
        f"moves between {gap.min():.2f} and {gap.max():.2f} eV as the molecule vibrates (standard deviation "
        f"{number(1000 * float(gap.std()))} meV). {cause}"
    )


def checkpoint_words(gap_error: Array, gap: Array, cycles_from_model: Array, cycles_from_atoms: Array) -> str:
    """Whether DFT agrees along the trajectory; gap error and gap in eV."""
    mean, worst, movement = float(np.abs(gap_error).mean()), float(np.abs(gap_error).max()), float(gap.std())
    share = worst / movement
    verdict = (
        "The predicted curve can be read as the DFT curve."
        if share < FOLLOWED_SHARE
        else "The predicted curve shows the trend; single values need DFT."
        if share < 1
        else "The predicted curve cannot be trusted: the error is as large as the movement itself."
    )
    return (
        f"At {len(gap_error)} frames of the trajectory DFT was run as well. The predicted gap is off by "
        f"{number(1000 * mean, 2)} meV on average and {number(1000 * worst, 2)} meV at worst, {number(100 * share, 2)} "
        f"% of the gap's own movement. {verdict} Started from the predicted density, the self-consistent field took "
        f"{number(float(cycles_from_model.mean()), 2)} cycles instead of {number(float(cycles_from_atoms.mean()), 2)} "
        "from superposed atoms, to the same convergence."
    )


def coverage_words(training: Array, visited: Array) -> str:
    """Whether the trajectory stayed where the model was trained; rows of two bonds [Å] and an angle [degree]."""
    bonds, angles = training[:, :2], training[:, 2]
    inside = (
        (visited[:, :2] >= bonds.min()).all(axis=1)
        & (visited[:, :2] <= bonds.max()).all(axis=1)
        & (visited[:, 2] >= angles.min())
        & (visited[:, 2] <= angles.max())
    )
    share = 100 * float(inside.mean())
    verdict = (
        "The trajectory never left the range of geometries that the model was trained on."
        if inside.all()
        else f"{number(share)} % of the trajectory lies within the range of geometries that the model was trained on; "
        "outside it the model extrapolates, and its numbers there deserve less trust."
    )
    return (
        f"{verdict} Bonds went from {visited[:, :2].min():.2f} to {visited[:, :2].max():.2f} Å (trained: "
        f"{bonds.min():.2f} to {bonds.max():.2f} Å), the angle from {visited[:, 2].min():.0f} to "
        f"{visited[:, 2].max():.0f}° (trained: {angles.min():.0f} to {angles.max():.0f}°)."
    )
