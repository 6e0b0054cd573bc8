"""The quickstart's page: one model's energies, forces and Hamiltonians against DFT, from the saved results of a run."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from adiabat.core.atomic_file import write_atomically
from adiabat.core.units import MICRO_HARTREE
from adiabat.reports import page, words
from adiabat.reports.error_figures import MAX_POINTS, learning_curve_figure, parity_figure
from adiabat.reports.molecule_view import molecule_view
from adiabat.reports.page import KeyNumber, Section
from adiabat.reports.results import Array, Parity, QuickstartResults
from adiabat.reports.run_section import run_section
from adiabat.reports.trajectory_figures import (
    coverage_figure,
    energy_conservation_figure,
    gap_figure,
    orbital_energy_figure,
)
from adiabat.reports.words import number

VALENCE_ORBITALS: Final = 4
"""Occupied orbitals that are shown; the 1s of oxygen lies 500 eV lower and would flatten the rest."""

EMPTY_ORBITALS: Final = 2
"""Empty orbitals that are shown."""

ERROR_UNITS: Final = {"energy": "meV", "forces": "meV/Å", "hamiltonian": "µHa"}
"""Units of the learning curves, by target."""


def write_report(results: QuickstartResults, path: Path) -> None:
    """Write the page, in one piece and only when it is complete."""
    write_atomically(path, quickstart_page(results).encode())


def quickstart_page(results: QuickstartResults) -> str:
    """HTML of the whole page."""
    sections = [
        Section("accuracy", "How well the model predicts", _accuracy(results)),
        Section("training", "How it learned", _training(results)),
        Section("motion", "The molecule in motion", _motion(results)),
        Section("electrons", "The electrons along the way", _electrons(results)),
        Section("limits", "What this run does not show", _limits(results)),
        run_section(results.run, _setting_rows(results.run["settings"]), results.stages),
    ]
    return page.document(
        "Water: one model for nuclei and electrons", _introduction(results), sections, _closing(results)
    )


def summary_lines(results: QuickstartResults) -> list[str]:
    """The key numbers as lines for a terminal."""
    return [f"{entry.label}: {entry.value} {entry.unit} ({entry.detail})" for entry in _key_numbers(results)]


def _introduction(results: QuickstartResults) -> str:
    dynamics = results.dynamics
    lead = (
        f"{len(results.training_positions)} geometries of one water molecule were labelled with "
        f"{results.run['method']}. From their energies, forces and Hamiltonian matrices one model was trained. It then "
        f"moved the molecule for {number(dynamics.time[-1] / 1000, 2)} ps and gave the energies of its electrons at "
        f"each moment. Everything on this page was computed in {number(sum(results.stages.values()) / 60, 2)} minutes "
        "on this machine."
    )
    return page.paragraph(lead, "lead") + page.key_numbers(_key_numbers(results))


def _key_numbers(results: QuickstartResults) -> list[KeyNumber]:
    test, dynamics, checks = results.test, results.dynamics, results.checkpoints
    gap_error = float(np.abs(checks.model_gap - checks.dft_gap).mean())
    drift = words.drift_number(words.drift_rate(dynamics.time, dynamics.total, dynamics.n_atoms))
    unseen = f"mean absolute, {test.n_structures} unseen geometries"
    hamiltonian_error = number(test.hamiltonian.mae / MICRO_HARTREE)
    return [
        KeyNumber("Energy error", number(1000 * test.energy.mae), "meV", unseen),
        KeyNumber("Force error", number(1000 * test.forces.mae), "meV/Å", "mean absolute, a component"),
        KeyNumber("Hamiltonian error", hamiltonian_error, "µHa", "mean absolute, a matrix element"),
        KeyNumber("Energy drift", drift.replace("less than", "<"), "meV", "per atom and ps of dynamics"),
        KeyNumber(
            "Gap error in motion",
            number(1000 * gap_error, 2),
            "meV",
            f"mean absolute, {len(checks.time)} frames against DFT",
        ),
    ]


def _accuracy(results: QuickstartResults) -> str:
    test = results.test
    lowest = test.energy.reference.min()
    text = [
        words.energy_words(test.energy.mae, test.energy.largest, float(test.energy.reference.std()), test.n_structures),
        words.force_words(test.forces.mae, float(np.sqrt(np.mean(test.forces.reference**2)))),
        words.hamiltonian_words(
            test.hamiltonian.mae, test.h0_mae, test.orbital_energies.mae, test.gap.mae, test.orbital_similarity
        ),
    ]
    figures = [
        _parity(
            "Energy.",
            f"{test.n_structures} total energies, above the lowest of them.",
            Parity(test.energy.reference - lowest, test.energy.predicted - lowest),
            ("energy", "eV", "meV", 1000.0),
        ),
        _parity(
            "Forces.",
            f"{len(test.forces.reference)} force components.",
            test.forces,
            ("force", "eV/Å", "meV/Å", 1000.0),
        ),
        _parity(
            "Hamiltonian.",
            f"What the model adds to free atoms; its error is the error of H. {words.count(len(test.h0))} matrix "
            f"elements, of which {words.count(min(len(test.h0), MAX_POINTS))} are drawn.",
            test.correction,
            ("H − H₀", "eV", "µHa", 1 / MICRO_HARTREE),
        ),
    ]
    reading = (
        "Above, the dashed line is perfect agreement. Below, the same errors on a scale on which they can be seen."
    )
    return (
        "".join(page.paragraph(line) for line in text)
        + page.panels(figures)
        + page.paragraph(reading, "note")
        + _temperature_table(results)
    )


def _temperature_table(results: QuickstartResults) -> str:
    rows = [
        (f"{temperature:g}", *(number(errors[name]) for name in ("energy", "forces", "hamiltonian", "gap")))
        for temperature, errors in sorted(results.test.by_temperature.items())
    ]
    caption = "Mean absolute errors by the temperature at which the test geometries were drawn."
    columns = ("Temperature [K]", "Energy [meV]", "Forces [meV/Å]", "Hamiltonian [µHa]", "Gap [meV]")
    return page.table(caption, columns, rows)


def _parity(title: str, caption: str, values: Parity, axes: tuple[str, str, str, float]) -> str:
    quantity, unit, error_unit, scale = axes
    svg = parity_figure(
        f"parity-{title.strip('.').lower()}",
        values.reference,
        values.predicted,
        quantity=quantity,
        unit=unit,
        error_unit=error_unit,
        error_scale=scale,
    )
    return page.figure(svg, title, caption)


def _training(results: QuickstartResults) -> str:
    learning = results.learning
    names = {"energy": "energy", "forces": "force", "hamiltonian": "Hamiltonian"}
    errors = {names[target]: curve for target, curve in learning.errors.items()}
    units = {names[target]: ERROR_UNITS[target] for target in learning.errors}
    figures = [
        page.figure(
            learning_curve_figure(f"learning-{name.lower()}", learning.steps, curve, quantity=name, unit=units[name]),
            f"{name[0].upper()}{name[1:]} error",
            "on the validation geometries; logarithmic axis.",
        )
        for name, curve in errors.items()
    ]
    return page.paragraph(
        words.learning_words(learning.steps, errors, units, results.stages["training"])
    ) + page.panels(figures)


def _motion(results: QuickstartResults) -> str:
    dynamics, electronic = results.dynamics, results.electronic
    visited = water_coordinates(dynamics.positions)
    training = water_coordinates(results.training_positions)
    view = molecule_view(
        dynamics.symbols,
        dynamics.atomic_numbers,
        dynamics.positions,
        dynamics.frame_time,
        {
            "Gap": ("eV", np.interp(dynamics.frame_time, electronic.time, electronic.gap)),
            "Bond 1": ("Å", visited[:, 0]),
            "Bond 2": ("Å", visited[:, 1]),
            "Angle": ("°", visited[:, 2]),
            "Temperature": ("K", np.interp(dynamics.frame_time, dynamics.time, dynamics.temperature)),
        },
        description=(
            f"Three-dimensional view of the water molecule moving for {dynamics.time[-1]:.0f} fs, with the curve of "
            "its gap; the same numbers are in the figures and sentences of this page."
        ),
    )
    energies = energy_conservation_figure(
        "conservation", dynamics.time, dynamics.potential, dynamics.kinetic, dynamics.total, dynamics.n_atoms
    )
    return (
        page.paragraph(
            f"The model's forces moved the nuclei, without thermostat, in steps of "
            f"{number(results.run['settings']['time_step'], 1)} fs. Mean temperature: "
            f"{number(float(dynamics.temperature.mean()))} K."
        )
        + view
        + "<h3>Is the energy conserved?</h3>"
        + page.paragraph(words.conservation_words(dynamics.time, dynamics.total, dynamics.kinetic, dynamics.n_atoms))
        + page.figure(energies, "Energies over time.", "The lower panel shows what the total energy gains or loses.")
        + "<h3>Did it stay where the model was trained?</h3>"
        + page.paragraph(words.coverage_words(training, visited))
        + page.figure(
            coverage_figure("coverage", training, visited),
            "Geometries.",
            "Each geometry appears twice, once for each of its bonds.",
        )
    )


def _electrons(results: QuickstartResults) -> str:
    electronic, checks = results.electronic, results.checkpoints
    dynamics = results.dynamics
    at_points = water_coordinates(
        dynamics.positions[np.abs(dynamics.frame_time[None, :] - electronic.time[:, None]).argmin(axis=1)]
    )
    n_occupied = electronic.n_occupied
    shown = slice(n_occupied - VALENCE_ORBITALS, n_occupied + EMPTY_ORBITALS)
    orbitals = orbital_energy_figure(
        "orbitals",
        electronic.time,
        electronic.orbital_energies[:, shown],
        VALENCE_ORBITALS,
        checks.time,
        checks.dft_orbital_energies[:, shown],
    )
    gaps = gap_figure("gap", electronic.time, electronic.gap, checks.time, checks.dft_gap)
    return (
        page.paragraph(words.gap_words(electronic.gap, at_points[:, :2].mean(axis=1), at_points[:, 2]))
        + page.figure(gaps, "HOMO–LUMO gap.", "Left a close-up, right the whole run; circles are DFT.")
        + page.paragraph(
            words.checkpoint_words(
                checks.model_gap - checks.dft_gap, electronic.gap, checks.cycles_from_model, checks.cycles_from_atoms
            )
        )
        + page.figure(
            orbitals,
            "Orbital energies.",
            "The four valence orbitals and the lowest empty ones, from the predicted Hamiltonian; circles are DFT.",
        )
        + _checkpoint_table(results)
    )


def _checkpoint_table(results: QuickstartResults) -> str:
    checks = results.checkpoints
    columns = (
        "Time [fs]",
        "Gap, model [eV]",
        "Gap, DFT [eV]",
        "Difference [meV]",
        "Energy error [meV]",
        "Force error [meV/Å]",
        "H error [µHa]",
        "SCF cycles",
    )
    rows = [
        (
            f"{checks.time[k]:.0f}",
            f"{checks.model_gap[k]:.3f}",
            f"{checks.dft_gap[k]:.3f}",
            number(1000 * float(checks.model_gap[k] - checks.dft_gap[k]), 2),
            number(1000 * float(checks.energy_error[k]), 2),
            number(1000 * float(checks.force_mae[k]), 2),
            number(float(checks.hamiltonian_mae[k]) / MICRO_HARTREE, 2),
            f"{checks.cycles_from_model[k]:.0f} / {checks.cycles_from_atoms[k]:.0f}",
        )
        for k in range(len(checks.time))
    ]
    caption = (
        "The frames that DFT checked. Force and H errors are mean absolute; SCF cycles are counted from the predicted "
        "density / from superposed atoms."
    )
    return page.table(caption, columns, rows)


def water_coordinates(positions: Array) -> Array:
    """Two O–H lengths [Å] and the angle between them [degree], (n, 3), of water as O, H, H: positions (n, 3, 3) [Å]."""
    first, second = positions[:, 1] - positions[:, 0], positions[:, 2] - positions[:, 0]
    lengths = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
    cosine = np.einsum("na,na->n", first, second) / (lengths[0] * lengths[1])
    return np.stack([*lengths, np.degrees(np.arccos(np.clip(cosine, -1, 1)))], axis=1)


def _limits(results: QuickstartResults) -> str:
    method = results.run["method"]
    points = (
        "One small molecule, alone. Nothing here says how the model does on liquids, surfaces or crystals.",
        f"The model can be no better than {method}. Its gap is the one between Kohn–Sham orbitals, which is smaller "
        "than the measured energy of exciting or ionising the molecule.",
        "Nuclei move as classical particles. A real water molecule has zero-point motion that no classical "
        "trajectory has.",
        f"The test geometries come from the same recipe as the {len(results.training_positions)} training geometries; "
        "geometries far outside will be worse.",
        "One seed. Another one gives somewhat different errors; compare models only over several.",
    )
    return page.bullets(points)


def _setting_rows(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Settings in the words of a reader."""
    temperatures = ", ".join(f"{temperature:g}" for temperature in settings["temperatures"])
    counts = ", ".join(
        f"{settings[f'n_{part}']} for {purpose}"
        for part, purpose in (("train", "training"), ("validation", "validation"), ("test", "the test"))
    )
    dynamics = (
        f"{words.count(settings['dynamics_steps'])} steps of {settings['time_step']:g} fs (velocity Verlet), "
        f"velocities drawn at {settings['start_temperature']:g} K"
    )
    frame_time = settings["frame_interval"] * settings["time_step"]
    return [
        ("Functional and basis", f"{settings['xc']}, {settings['basis']}"),
        ("Integration grid", f"PySCF level {settings['grid_level']}"),
        ("Geometries", counts),
        ("Drawn at", f"{temperatures} K, harmonic, turned at random"),
        ("Training", f"{words.count(settings['training_steps'])} steps of 5 geometries"),
        ("Dynamics", dynamics),
        ("Electronic structure", f"every {frame_time:g} fs, {settings['n_checkpoints']} frames against DFT"),
        ("Seed", str(settings["seed"])),
    ]


def _closing(results: QuickstartResults) -> str:
    settings, versions = results.run["settings"], results.run["versions"]
    return page.paragraph(
        f"Made by adiabat {versions['adiabat']}. The run directory holds every number of this page: labels, model, "
        f"trajectory and predictions. To repeat it: adiabat quickstart --seed {settings['seed']} -o <new directory>"
    )
