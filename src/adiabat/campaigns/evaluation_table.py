"""An evaluation as tables for the terminal."""

from collections.abc import Iterator, Mapping
from typing import Final

from rich.table import Table

from adiabat.campaigns.error_statistics import ErrorStatistics
from adiabat.campaigns.evaluation_result import Evaluation
from adiabat.campaigns.spread_table import spread_table

_NAMES: Final = {
    "energy": "energy",
    "energy_per_atom": "energy per atom",
    "forces": "forces",
    "stress": "stress",
    "hamiltonian": "Hamiltonian",
    "hamiltonian_onsite": "  within atoms",
    "hamiltonian_pair": "  between atoms",
    "hamiltonian_h0": "  H0 without the model",
    "hamiltonian_shifted": "  less the best μ·S",
    "bands": "bands, E_F ± 5 eV",
    "bands_shifted": "  less the best shift",
    "fermi_level": "Fermi level",
    "orbital_energies": "orbital energies, all",
    "orbital_energies_occupied": "orbital energies, occupied",
    "homo": "HOMO",
    "lumo": "LUMO",
    "gap": "gap",
    "density_energy": "E[D] − E(SCF)",
}
_IN_GROUPS: Final = ("energy_per_atom", "forces", "stress", "hamiltonian", "gap")


def evaluation_tables(evaluation: Evaluation) -> Iterator[Table]:
    """Every error of an evaluation, then forces by element, errors by group, and what is no error."""
    yield _errors_table(f"Errors on {evaluation.n_structures} structures", evaluation.errors, _NAMES)
    if len(evaluation.forces_by_element) > 1:
        yield _errors_table("Forces by element", evaluation.forces_by_element)
    if evaluation.hamiltonian_by_shells:
        yield _errors_table("Hamiltonian by place and shells", evaluation.hamiltonian_by_shells)
    if evaluation.groups:
        yield _groups_table(evaluation.groups)
    if evaluation.uncertainty is not None and evaluation.uncertainty.scores:
        yield spread_table(evaluation.uncertainty)
    facts = dict(_facts(evaluation))
    if facts:
        table = Table(title="Besides", title_justify="left", show_header=False)
        for name, value in facts.items():
            table.add_row(name, value)
        yield table


def _errors_table(title: str, errors: Mapping[str, ErrorStatistics], names: Mapping[str, str] | None = None) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("", "unit"):
        table.add_column(heading)
    for heading in ("MAE", "RMSE", "mean", "largest", "values"):
        table.add_column(heading, justify="right")
    for key in names or errors:
        if key in errors:
            error = errors[key]
            numbers = [f"{value:.4g}" for value in (error.mae, error.rmse, error.mean, error.largest)]
            table.add_row((names or {}).get(key, key), error.unit, *numbers, str(error.count))
    return table


def _groups_table(groups: Mapping[str, Mapping[str, ErrorStatistics]]) -> Table:
    shown = [name for name in _IN_GROUPS if any(name in errors for errors in groups.values())]
    table = Table(title="MAE by group", title_justify="left")
    table.add_column("")
    for name in shown:
        unit = next(errors[name].unit for errors in groups.values() if name in errors)
        table.add_column(f"{_NAMES[name]} [{unit}]".replace("[", r"\["), justify="right")
    for group, errors in groups.items():
        table.add_row(group, *(f"{errors[name].mae:.4g}" if name in errors else "" for name in shown))
    return table


def _facts(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    if evaluation.similarity:
        yield "overlap of occupied orbitals with the reference", f"{evaluation.similarity['orbital_similarity']:.6f}"
        yield "cosine of their coefficients", f"{evaluation.similarity['coefficient_cosine']:.6f}"
    if evaluation.smallest_overlap is not None:
        yield "least eigenvalue of the overlap", f"{evaluation.smallest_overlap:.2e}"
    if evaluation.scf_cycle_ratio is not None:
        predicted = sum(check.cycles_from_prediction for check in evaluation.density_checks)
        minao = sum(check.cycles_from_minao for check in evaluation.density_checks)
        yield "SCF cycles, predicted density / minao", f"{predicted} / {minao} = {evaluation.scf_cycle_ratio:.0%}"
    for name, seconds in evaluation.seconds.items():
        cost = evaluation.uncertainty.cost.get(name) if evaluation.uncertainty is not None else None
        beside = "" if cost is None else f", {cost:.2g} × the central model alone"
        yield f"time a structure, {name}", f"{1e3 * seconds:.3g} ms{beside}"
