"""A model against labels that it has not seen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from rich.console import Console

from adiabat.campaigns.crystal_errors import compare_crystals
from adiabat.campaigns.density_check import DensityCheck, check_density, reference_engine
from adiabat.campaigns.error_collector import ErrorCollector
from adiabat.campaigns.evaluation_progress import evaluation_progress
from adiabat.campaigns.evaluation_result import Evaluation
from adiabat.campaigns.hamiltonian_errors import compare_hamiltonians
from adiabat.campaigns.levels import at_level, at_levels
from adiabat.campaigns.predictions import predict_surfaces
from adiabat.campaigns.spread_scoring import SpreadEvaluation
from adiabat.core.errors import LabelError, ModelError
from adiabat.core.operators import BlockOperator
from adiabat.data.record import Record
from adiabat.models.model import Model
from adiabat.uncertainty.interface import UncertainModel, central_model

_SURFACE: Final = frozenset({"energy", "forces", "stress"})


def evaluate(
    model: Model | UncertainModel,
    records: Iterable[Record],
    *,
    n_scf: int = 0,
    fidelity: str | None = None,
    group_key: str = "config_type",
    batch_size: int = 16,
    provenance: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Compare every label that the model can predict.

    Args:
        model: with an energy head, an operator head, or both. Of an uncertain model the spreads are judged too, and
            its mean predictions are compared.
        records: labelled structures.
        n_scf: of how many molecules, evenly chosen, to test the predicted density in PySCF.
        fidelity: level of theory to predict all of them at; by default that of each label, of a model of several.
        group_key: key of ``structure.info`` by whose value errors are also given apart.
        batch_size: structures evaluated together for energy and forces.
        provenance: carried into the result: model file, data, split.
        console: where to show progress; nowhere by default.

    Raises:
        LabelError: there is no label that the model predicts, Hamiltonians are of another basis, or labels are of a
            level of theory that the model does not know.
        ModelError: PySCF is to test densities of a model that does not give molecules a Hamiltonian over its H0.
        StructureError: an element that the model does not know.
    """
    central = central_model(model)
    records = at_levels(central, list(records), fidelity)
    spreads, calibration = None, None
    if isinstance(model, UncertainModel):
        spreads, calibration = SpreadEvaluation(model.method, len(model.members)), model.calibration
    central.eval()
    if n_scf:
        _require_molecular_operator(central)
    surface, operators = _comparable(central, records)
    collector = ErrorCollector(group_key, spreads)
    checks: list[DensityCheck] = []
    checked = _evenly(operators, n_scf)
    with evaluation_progress(console) as progress:
        task = progress.add_task("evaluate", total=len(surface) + len(operators) + len(checked))
        for prediction in predict_surfaces(model, records, surface, batch_size=batch_size):
            collector.add_surface(records[prediction.index], prediction)
            progress.update(task, advance=1, description="energy and forces")
        for index in operators:
            progress.update(task, advance=1, description="Hamiltonian")
            own = model if isinstance(model, UncertainModel) else at_level(model, records[index])
            if central.require_operator().baseline == "two-center":
                collector.add_crystal(index, records[index], compare_crystals(own, records[index]))
                continue
            comparison = compare_hamiltonians(own, records[index])
            collector.add_hamiltonian(index, records[index], comparison)
            if index in checked:
                engine = reference_engine(central_model(own).require_operator())
                density = comparison.predicted.density_matrix
                checks.append(check_density(index, records[index].structure, density, engine))
                progress.update(task, advance=1, description="SCF from the predicted density")
    return collector.evaluation(checks, dict(provenance or {}), calibration)


def _require_molecular_operator(model: Model) -> None:
    if model.require_operator().baseline != "minao":
        raise ModelError(
            "an SCF check of a model whose Hamiltonians are not PySCF's, of molecules",
            expected="a model trained on `adiabat label --engine pyscf`, whose density PySCF can start from",
            suggestion="leave --scf out; bands, gap and Fermi level are compared in any case",
        )


def _comparable(model: Model, records: Sequence[Record]) -> tuple[dict[int, frozenset[str]], list[int]]:
    """For each record the surface labels to compare, and the records whose Hamiltonian to compare.

    Raises:
        LabelError: there is nothing.
    """
    has_energy = model.config.energy
    surface: dict[int, frozenset[str]] = {}
    operators: list[int] = []
    for index, record in enumerate(records):
        names = _SURFACE & set(record.labels) if has_energy else frozenset[str]()
        if names:
            # The energy comes with its derivatives whether or not it has a label.
            surface[index] = names | {"energy"}
        if model.has_operator and isinstance(record.labels.get("hamiltonian"), BlockOperator):
            operators.append(index)
    if not surface and not operators:
        have = sorted({name for record in records for name in record.labels})
        can = (sorted(_SURFACE) if has_energy else []) + (["hamiltonian"] if model.has_operator else [])
        raise LabelError(
            f"{len(records)} records with the labels {have or 'none'}",
            expected=f"at least one label that the model predicts: {', '.join(can)}",
            suggestion="label the structures first with `adiabat label`, or check the split",
        )
    return surface, operators


def _evenly(indices: Sequence[int], n_wanted: int) -> set[int]:
    """At most ``n_wanted`` of the indices, spread over all of them."""
    places = np.linspace(0, len(indices) - 1, min(n_wanted, len(indices)))
    return {indices[int(place)] for place in places.round()}
