import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.cluster import Octahedron
from rich.console import Console

from adiabat.campaigns.error_statistics import ErrorStatistics, ErrorSums
from adiabat.campaigns.evaluation import evaluate
from adiabat.campaigns.evaluation_result import Evaluation
from adiabat.campaigns.evaluation_table import evaluation_tables
from adiabat.core.errors import FileFormatError, LabelError, ModelError, SchemaVersionError
from adiabat.core.units import MICRO_HARTREE
from adiabat.data.record import Provenance, Record
from adiabat.data.structure import Structure
from known_models import HuckelHydrogen, LennardJones

HUCKEL = HuckelHydrogen()
# Errors here are differences of numbers near 10 eV: rounding alone.
ROUNDING = 1e-8


def argon(seed: int, **info: str) -> Structure:
    atoms = Octahedron("Ar", 2, latticeconstant=5.3)
    atoms.rattle(0.1, seed=seed)
    atoms.info.update(info)
    return Structure.from_ase(atoms)


def hydrogen(distance: float, **info: str) -> Structure:
    atoms = molecule("H2")
    atoms.positions[:, 2] = [0.0, distance]
    atoms.info.update(info)
    return Structure.from_ase(atoms)


def surface_labels(model: LennardJones, structure: Structure) -> dict[str, np.ndarray]:
    prediction = model(model.graph(structure, ()), ("energy", "forces"))
    return {"energy": prediction.energy.detach().numpy().reshape(()), "forces": prediction.forces.detach().numpy()}


def hydrogen_record(structure: Structure, shift: float = 0.0) -> Record:
    """Labels of the model itself, its on-site elements lowered by ``shift`` eV."""
    h, s = HUCKEL.hamiltonian(structure), HUCKEL.overlap(structure)
    dense = h.to_dense() - shift * np.eye(2)
    labels = {"hamiltonian": type(h).from_dense(dense, h.n_orbitals), "overlap": s}
    return Record(structure, labels | surface_labels(HUCKEL, structure), Provenance("test"))


def shifted(record: Record, energy: float, force: float) -> Record:
    labels = {"energy": np.asarray(record.labels["energy"] - energy), "forces": record.labels["forces"] - force}
    return Record(record.structure, labels, record.provenance)


def argon_record(seed: int, energy: float = 0.0, force: float = 0.0, **info: str) -> Record:
    structure = argon(seed, **info)
    return shifted(Record(structure, surface_labels(LennardJones(), structure), Provenance("test")), energy, force)


def test_a_model_against_itself_has_no_error() -> None:
    records = [hydrogen_record(hydrogen(distance)) for distance in (0.7, 0.8, 0.9)]
    result = evaluate(HUCKEL, records)
    assert result.n_structures == 3
    for name, error in result.errors.items():
        if name != "hamiltonian_h0":
            assert error.largest < ROUNDING / MICRO_HARTREE, name
    assert result.errors["hamiltonian_h0"].mae > 1e5
    assert result.similarity == pytest.approx({"orbital_similarity": 1.0, "coefficient_cosine": 1.0})


def test_known_errors_come_out_in_their_units() -> None:
    result = evaluate(LennardJones(), [argon_record(1, energy=0.012), argon_record(2, energy=-0.004, force=0.003)])
    energy, per_atom, forces = (result.errors[name] for name in ("energy", "energy_per_atom", "forces"))
    assert (energy.mae, energy.mean, energy.unit) == (pytest.approx(8.0), pytest.approx(4.0), "meV")
    assert energy.rmse == pytest.approx(np.sqrt((12**2 + 4**2) / 2))
    assert (per_atom.mae, per_atom.unit) == (pytest.approx(8.0 / 6), "meV/atom")
    assert (forces.mae, forces.largest, forces.unit) == (pytest.approx(1.5), pytest.approx(3.0), "meV/Å")
    assert forces.count == 2 * 6 * 3


def test_known_error_of_a_hamiltonian() -> None:
    result = evaluate(HUCKEL, [hydrogen_record(hydrogen(0.74), shift=0.01)])
    # The two on-site elements are off by 10 meV, the two between the atoms are not.
    assert result.errors["hamiltonian"].mae * MICRO_HARTREE == pytest.approx(0.005)
    assert result.errors["hamiltonian_onsite"].mae * MICRO_HARTREE == pytest.approx(0.010)
    assert result.errors["hamiltonian_pair"].mae * MICRO_HARTREE == pytest.approx(0.0, abs=ROUNDING)
    assert set(result.hamiltonian_by_shells) == {"onsite s–s", "pair s–s"}
    s = HUCKEL.overlap(hydrogen(0.74)).to_dense()[0, 1]
    assert result.errors["homo"].mean == pytest.approx(10.0 / (1 + s))
    assert result.errors["lumo"].mean == pytest.approx(10.0 / (1 - s))
    assert result.errors["gap"].mae == pytest.approx(10.0 / (1 - s) - 10.0 / (1 + s))
    assert result.errors["orbital_energies_occupied"].mae == pytest.approx(result.errors["homo"].mae)
    assert result.smallest_overlap == pytest.approx(1 - s)


def test_molecules_count_alike_in_the_hamiltonian_error() -> None:
    small, large = ErrorSums.of(np.full(4, 2.0)), ErrorSums.of(np.full(100, 1.0))
    factor = MICRO_HARTREE
    assert ErrorStatistics.over_structures("hamiltonian", [small, large]).mae == pytest.approx(1.5 / factor)
    assert ErrorStatistics.of("hamiltonian", [small, large]).mae == pytest.approx((8 + 100) / 104 / factor)


def test_errors_by_element_and_group() -> None:
    records = [argon_record(1, energy=0.006, config_type="cold"), argon_record(2, force=0.002, config_type="hot")]
    result = evaluate(LennardJones(), [*records, argon_record(3)])
    assert list(result.groups) == ["(none)", "cold", "hot"]
    assert result.groups["cold"]["energy_per_atom"].mae == pytest.approx(1.0)
    assert result.groups["hot"]["forces"].mae == pytest.approx(2.0)
    assert list(result.forces_by_element) == ["Ar"]
    assert evaluate(LennardJones(), [argon_record(3)]).groups == {}
    assert list(evaluate(LennardJones(), records, group_key="T").groups) == []


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_do_not_matter(batch_size: int) -> None:
    records = [argon_record(seed, energy=0.001 * seed, force=0.01 * seed) for seed in range(5)]
    records[2] = Record(records[2].structure, {"energy": records[2].labels["energy"]}, Provenance("test"))
    alone, together = (
        evaluate(LennardJones(), records, batch_size=1),
        evaluate(LennardJones(), records, batch_size=batch_size),
    )
    for name in alone.errors:
        assert together.errors[name].mae == pytest.approx(alone.errors[name].mae, rel=1e-12)
    assert sorted(together.arrays["energy_structure"].tolist()) == [0, 1, 2, 3, 4]
    assert set(together.arrays["forces_structure"].tolist()) == {0, 1, 3, 4}


def test_arrays_give_the_errors_again(tmp_path: Path) -> None:
    records = [hydrogen_record(hydrogen(d), shift=0.02) for d in (0.7, 0.9)]
    result = evaluate(HUCKEL, records)
    for name in ("energy", "forces", "hamiltonian", "orbital_energies", "gap"):
        errors = result.arrays[f"{name}_predicted"] - result.arrays[f"{name}_reference"]
        again = ErrorStatistics.of(name, [ErrorSums.of(errors)])
        assert again.mae == pytest.approx(result.errors[name].mae, abs=1e-9)
        assert len(result.arrays[f"{name}_structure"]) == len(errors)


def test_saved_results_are_read_back(tmp_path: Path) -> None:
    result = evaluate(HUCKEL, [hydrogen_record(hydrogen(0.8, config_type="stretched"))], provenance={"model": "huckel"})
    result.save(tmp_path / "evaluation")
    loaded = Evaluation.load(tmp_path / "evaluation")
    assert loaded.to_json() == result.to_json()
    for name, array in result.arrays.items():
        assert np.array_equal(loaded.arrays[name], array)


def test_damaged_and_foreign_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError):
        Evaluation.load(tmp_path)
    evaluate(LennardJones(), [argon_record(1)]).save(tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    (tmp_path / "metrics.json").write_text(json.dumps(metrics | {"schema_version": 99}))
    with pytest.raises(SchemaVersionError, match="99"):
        Evaluation.load(tmp_path)


def test_tables_show_every_error() -> None:
    records = [hydrogen_record(hydrogen(0.7, config_type="a"), 0.01), hydrogen_record(hydrogen(0.8, config_type="b"))]
    console = Console(record=True, width=140, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        for table in evaluation_tables(evaluate(HUCKEL, records)):
            console.print(table)
        text = console.export_text()
    for word in ("Hamiltonian", "µHa", "gap", "meV/Å", "onsite s–s", "MAE by group", "least eigenvalue", "ms"):
        assert word in text


def test_nothing_to_compare_is_refused() -> None:
    record = argon_record(1)
    with pytest.raises(LabelError, match="the labels none"):
        evaluate(LennardJones(), [Record(record.structure, {}, record.provenance)])


def test_scf_needs_an_operator_head() -> None:
    with pytest.raises(ModelError):
        evaluate(LennardJones(), [argon_record(1)], n_scf=1)


def test_a_hamiltonian_in_another_basis_is_refused() -> None:
    record = hydrogen_record(hydrogen(0.74))
    h = record.labels["hamiltonian"]
    larger = type(h).from_dense(np.eye(4), np.array([2, 2]))
    with pytest.raises(LabelError, match="orbitals on its atoms"):
        evaluate(HUCKEL, [Record(record.structure, {"hamiltonian": larger}, record.provenance)])


def test_a_model_without_an_energy_head_is_judged_by_its_hamiltonian() -> None:
    model = HuckelHydrogen()
    model.config = SimpleNamespace(energy=False, fidelities=())
    result = evaluate(model, [hydrogen_record(hydrogen(0.74))])
    assert "hamiltonian" in result.errors
    assert "energy" not in result.errors


def test_evaluation_leaves_no_gradient_behind() -> None:
    model = LennardJones()
    evaluate(model, [argon_record(1)])
    assert model.epsilon.grad is None
    assert torch.is_grad_enabled()
