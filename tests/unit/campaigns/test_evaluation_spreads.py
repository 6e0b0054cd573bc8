"""Evaluations of models that say how far they may be off, when it is known how far they are."""

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.cluster import Octahedron
from rich.console import Console
from torch import Tensor

from adiabat.campaigns.evaluation import evaluate
from adiabat.campaigns.evaluation_result import Evaluation
from adiabat.campaigns.evaluation_table import evaluation_tables
from adiabat.campaigns.spread_scoring import held_out_samples
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.graph import Graph
from adiabat.data.record import Provenance, Record
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.models.operator_layout import OperatorBlocks
from adiabat.uncertainty import metrics
from adiabat.uncertainty.calibration import Calibration, TargetCalibration
from adiabat.uncertainty.calibration_fit import fit_calibration
from adiabat.uncertainty.interface import Spread, UncertainModel, UncertainPrediction
from known_models import LennardJones
from small_models import crystal, small_config, small_model

SLOWER = 0.02
"""Seconds that the uncertain model sleeps for a batch."""


def energy_spread(graph: Graph) -> Tensor:
    """eV; differs from structure to structure, by a known function of the positions."""
    size = graph.positions.square().sum(-1)
    total = torch.zeros(graph.n_structures, dtype=torch.float64).index_add(0, graph.structure_index, size)
    return 1e-2 * (1 + torch.sin(50 * total)) + 1e-3


def forces_spread(graph: Graph) -> Tensor:
    """eV/Å; differs from component to component."""
    return 5e-2 * (1.1 + torch.sin(40 * graph.positions))


class KnownSpread(UncertainModel):
    """A model as it is, with the spreads above, calibrated by doubling the energy's and conformally for forces."""

    def __init__(self, model: Any, calibration: Calibration = Calibration()) -> None:  # noqa: B008
        self._model, self._calibration = model, calibration

    @property
    def method(self) -> str:
        return "known"

    @property
    def model(self) -> Model:
        return self._model

    @property
    def members(self) -> Sequence[Model]:
        return [self._model] * 5

    @property
    def calibration(self) -> Calibration:
        return self._calibration

    def predict(self, graph: Graph, outputs: Collection[str]) -> UncertainPrediction:
        time.sleep(SLOWER)
        with torch.no_grad():
            mean = self._model(graph, outputs)
        hamiltonian = None
        if mean.hamiltonian is not None:
            hamiltonian = OperatorBlocks(0.1 * mean.hamiltonian.onsite.abs(), 0.1 * mean.hamiltonian.pair.abs())
        has_energy = mean.energy is not None
        spread = Spread(
            energy=energy_spread(graph) if has_energy else None,
            forces=forces_spread(graph) if "forces" in outputs else None,
            stress=None if mean.stress is None else 0.1 * mean.stress.abs(),
            hamiltonian=hamiltonian,
        )
        return UncertainPrediction(mean, self._calibration.apply(spread, graph))


def argon(seed: int) -> Structure:
    atoms = Octahedron("Ar", 2, latticeconstant=5.3)
    atoms.rattle(0.1, seed=seed)
    return Structure.from_ase(atoms)


def noisy_argon(seed: int, *, width: float = 1.0) -> Record:
    """Labels that miss the model by normal errors of ``width`` times the spreads that it gives."""
    model, random = LennardJones(), np.random.default_rng(seed)
    structure = argon(seed)
    graph = model.graph(structure, ())
    prediction = model(graph, ("energy", "forces"))
    energy = prediction.energy.detach().numpy()[0] - width * random.normal() * energy_spread(graph).numpy()[0]
    noise = random.normal(size=(structure.n_atoms, 3)) * forces_spread(graph).numpy()
    forces = prediction.forces.detach().numpy() - width * noise
    return Record(structure, {"energy": np.asarray(energy), "forces": forces}, Provenance("test"))


@pytest.fixture(scope="module")
def records() -> list[Record]:
    found = [noisy_argon(seed) for seed in range(150)]
    # Structures that want other outputs are predicted in other batches: spreads must stay with their structures.
    found[1] = replace(found[1], labels={"energy": found[1].labels["energy"]})
    return found


@pytest.fixture(scope="module")
def evaluation(records: list[Record]) -> Evaluation:
    return evaluate(KnownSpread(LennardJones()), records, batch_size=50)


def test_a_model_that_knows_its_errors_is_found_calibrated(evaluation: Evaluation) -> None:
    uncertainty = evaluation.uncertainty
    assert uncertainty is not None
    assert (uncertainty.method, uncertainty.n_members) == ("known", 5)
    forces, energy = uncertainty.scores["forces"], uncertainty.scores["energy"]
    assert (forces.n_values, forces.n_structures, energy.n_values) == (149 * 18, 149, 150)
    # 2682 components know a share to 1 %, 150 energies to 4 %; three of each.
    assert forces.coverage["68.27"] == pytest.approx(0.6827, abs=0.03)
    assert energy.coverage["68.27"] == pytest.approx(0.6827, abs=0.12)
    assert forces.miscalibration_area < 0.02
    assert forces.rank_correlation == pytest.approx(forces.rank_correlation_expected, abs=0.05)
    assert (forces.unit, energy.unit) == ("meV/Å", "meV")
    assert forces.rmse == pytest.approx(evaluation.errors["forces"].rmse)
    assert forces.sharpness == pytest.approx(forces.rmse, rel=0.05)


def test_a_model_that_claims_too_much_is_found_out() -> None:
    result = evaluate(KnownSpread(LennardJones()), [noisy_argon(seed, width=3.0) for seed in range(40)])
    assert result.uncertainty is not None
    forces = result.uncertainty.scores["forces"]
    assert forces.coverage["68.27"] < 0.35
    assert forces.overconfidence == pytest.approx(forces.miscalibration_area, abs=1e-3)
    assert forces.miscalibration_area > 0.2


def test_spreads_stay_with_their_structures(evaluation: Evaluation, records: list[Record]) -> None:
    arrays = evaluation.arrays
    for row, index in enumerate(arrays["energy_structure"]):
        graph = LennardJones().graph(records[index].structure, ())
        assert arrays["energy_spread"][row] == pytest.approx(float(energy_spread(graph)[0]), rel=1e-12)
    expected = [
        forces_spread(LennardJones().graph(records[index].structure, ())).numpy()
        for index in dict.fromkeys(arrays["forces_structure"])
    ]
    np.testing.assert_allclose(arrays["forces_spread"], np.concatenate(expected))


def test_curves_for_figures_are_saved(evaluation: Evaluation) -> None:
    arrays = evaluation.arrays
    errors = (arrays["forces_predicted"] - arrays["forces_reference"]).ravel()
    sigmas = arrays["forces_spread"].ravel()
    found = metrics.reliability_curve(errors, sigmas, arrays["reliability_levels"])
    np.testing.assert_array_equal(arrays["forces_reliability"], found)
    assert len(arrays["forces_bins_spread"]) == len(arrays["forces_bins_error"]) == 15


def test_time_is_compared_with_the_central_model_alone(evaluation: Evaluation) -> None:
    assert evaluation.uncertainty is not None
    cost = evaluation.uncertainty.cost["energy and derivatives"]
    seconds = evaluation.seconds["energy and derivatives"]
    assert cost > 1
    assert seconds > SLOWER / 50


def test_results_are_read_back_also_those_written_before_there_were_spreads(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    evaluation.save(tmp_path)
    assert Evaluation.load(tmp_path).to_json() == evaluation.to_json()
    data = json.loads((tmp_path / "metrics.json").read_text())
    del data["uncertainty"]
    (tmp_path / "metrics.json").write_text(json.dumps(data))
    assert Evaluation.load(tmp_path).uncertainty is None


def test_plain_models_are_evaluated_as_before(records: list[Record], evaluation: Evaluation) -> None:
    plain = evaluate(LennardJones(), records, batch_size=50)
    assert plain.uncertainty is None
    assert plain.errors == evaluation.errors
    assert not [name for name in plain.arrays if "spread" in name or "reliab" in name]


def test_calibrated_intervals_are_those_that_are_counted(records: list[Record]) -> None:
    """Errors are a third of what the raw spread says; a conformal factor puts them right, and knows its own widths."""
    third = [noisy_argon(seed, width=1 / 3) for seed in range(1000, 1060)]
    raw = evaluate(KnownSpread(LennardJones()), third)
    calibration = fit_calibration(held_out_samples(raw.arrays), "conformal")
    assert calibration.forces.scale == pytest.approx(1 / 3, rel=0.08)  # 1080 components
    again = evaluate(KnownSpread(LennardJones(), calibration), [noisy_argon(s, width=1 / 3) for s in range(60)])
    assert raw.uncertainty is not None
    assert again.uncertainty is not None
    assert raw.uncertainty.scores["forces"].coverage["95"] > 0.999
    assert again.uncertainty.scores["forces"].coverage["95"] == pytest.approx(0.95, abs=0.03)
    assert again.uncertainty.calibration["forces"]["n_frames"] == 60
    # An interval of the calibration's own width, whatever σ it stands for.
    odd = TargetCalibration(method="conformal", scale=1.0, factors=((0.6827, 1.0), (0.9, 1e6)))
    result = evaluate(KnownSpread(LennardJones(), Calibration(forces=odd)), records[:20])
    assert result.uncertainty is not None
    assert result.uncertainty.scores["forces"].coverage["90"] == 1.0
    assert set(result.uncertainty.scores["forces"].coverage) == {"68.27", "90"}


def test_the_table_shows_them(evaluation: Evaluation) -> None:
    console = Console(record=True, width=140, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        for table in evaluation_tables(evaluation):
            console.print(table)
        text = console.export_text()
    for word in ("Uncertainty by known of 5, not calibrated", "68.3 %", "CRPS", "per atom", "× the central model"):
        assert word in text


BASIS = OrbitalBasis("toy", {1: (0,), 6: (0, 1), 8: (0, 1)}, {1: 1, 6: 4, 8: 6})


def crystal_record(labelled: BlockOperator) -> Record:
    overlap = BlockOperator.from_dense(np.eye(int(labelled.n_orbitals.sum())), labelled.n_orbitals)
    return Record(crystal(), {"hamiltonian": labelled, "overlap": overlap}, Provenance("test"))


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_each_element_of_a_crystal_keeps_its_spread(spin: Any) -> None:
    """|H_pred − H_ref| is known for each element, and so is its spread, in every spin layout."""
    model = small_model(small_config(pair_radius=2.6), BASIS, spin=spin, baseline="two-center")
    predicted = model.hamiltonian(crystal())
    result = evaluate(KnownSpread(model), [crystal_record(predicted.with_values(1.3 * predicted.values))])
    arrays = result.arrays
    errors = np.abs(arrays["hamiltonian_predicted"] - arrays["hamiltonian_reference"])
    assert errors.max() > 0
    np.testing.assert_allclose(arrays["hamiltonian_spread"], errors / 3, atol=1e-9 * errors.max())
    assert result.uncertainty is not None
    assert result.uncertainty.scores["hamiltonian"].coverage["95"] == 0.0
    assert result.uncertainty.scores["hamiltonian"].coverage.keys() == {"50", "68.27", "90", "95"}


def test_elements_beyond_the_models_pairs_have_no_spread_and_do_not_count() -> None:
    model = small_model(small_config(pair_radius=2.2), BASIS, baseline="two-center")
    wide = small_model(small_config(pair_radius=3.2), BASIS, baseline="two-center").hamiltonian(crystal())
    labelled = model.hamiltonian(crystal()) + wide.with_values(np.sign(wide.values))
    result = evaluate(KnownSpread(model), [crystal_record(labelled)])
    silent = result.arrays["hamiltonian_spread"] == 0
    assert silent.any()
    assert result.uncertainty is not None
    assert result.uncertainty.scores["hamiltonian"].n_values == (~silent).sum()
