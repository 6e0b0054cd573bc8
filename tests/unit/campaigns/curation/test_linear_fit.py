import numpy as np
import pytest
import torch
from ase.build import molecule

from adiabat.campaigns.curation.influence import influence_on
from adiabat.campaigns.curation.label_rows import LabelRows, label_rows
from adiabat.campaigns.curation.linear_fit import LinearFit, fit_labels
from adiabat.core.errors import LabelError
from adiabat.data.record import Provenance, Record
from adiabat.data.structure import Structure
from small_models import small_config, small_model


def toy_frames(n: int = 8, seed: int = 0) -> list[LabelRows]:
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=12)
    frames = []
    for _ in range(n):
        rows = generator.normal(size=(7, 12))
        frames.append(LabelRows(rows, rows @ weights + 0.1 * generator.normal(size=7), 1, 2))
    return frames


def toy_fit(used: np.ndarray | None = None) -> LinearFit:
    frames = toy_frames()
    return LinearFit(frames, np.ones(8, dtype=bool) if used is None else used, 2.0, (0.1, 0.1))


def toy_noise_of_all(frames: list[LabelRows]) -> float:
    fit = fit_labels(frames)
    return float(np.std(np.concatenate([frame.values - frame.rows @ fit.weights for frame in frames])))


def waters(n: int) -> list[Record]:
    """Water with harmonic bonds and a weak repulsion of the hydrogens: energies and exact forces."""
    generator = np.random.default_rng(0)
    records = []
    for _ in range(n):
        atoms = molecule("H2O")
        positions = torch.tensor(atoms.positions + generator.normal(scale=0.08, size=(3, 3)), requires_grad=True)
        bonds = torch.stack([(positions[0] - positions[k]).norm() for k in (1, 2)])
        energy = 15 * (bonds - 0.97).square().sum() + 0.5 / (positions[1] - positions[2]).norm() - 100
        energy.backward()
        labels = {"energy": np.array(energy.item()), "forces": -positions.grad.numpy()}
        structure = Structure(np.array([8, 1, 1]), positions.detach().numpy())
        records.append(Record(structure, labels, Provenance("toy")))
    return records


def test_leaving_a_frame_out_by_formula_equals_fitting_without_it():
    full = toy_fit()
    for index in (0, 5):
        refit = toy_fit(np.arange(8) != index)

        np.testing.assert_allclose(full.weights_without(index), refit.weights, rtol=1e-9)
        for found, expected in zip(full.left_out(index), refit.left_out(index), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)
        assert np.abs(full.weights - refit.weights).max() > 1e-4, "negative control: the frame did matter"


def test_the_noise_that_was_put_in_is_found_also_with_one_wrong_frame():
    frames = toy_frames(60)
    assert fit_labels(frames).noise[1] == pytest.approx(0.1, rel=0.25)
    frames[3] = LabelRows(frames[3].rows, frames[3].values + 5.0, 1, 2)
    assert fit_labels(frames).noise[1] == pytest.approx(0.1, rel=0.6)
    assert toy_noise_of_all(frames) > 0.5, "negative control: a plain standard deviation is misled"


def test_rows_of_energy_and_forces_belong_together_with_and_without_a_model():
    records = waters(3)
    model = small_model(small_config(operator=False, cutoff=5.0))
    weights = model.energy_head.last_weights.detach().numpy()

    for frame, record in zip(label_rows(records, model), records, strict=True):
        graph = model.graph(record.structure, {"forces"})
        prediction = model(graph, {"energy", "forces"})
        left = record.labels["forces"] - prediction.forces.detach().numpy()
        np.testing.assert_allclose(frame.values[frame.forces], left.ravel(), atol=1e-9)
        reference = model.energy_head.reference[model.species(graph.atomic_numbers)].sum().item()
        np.testing.assert_allclose(frame.rows[0] @ weights + reference, prediction.energy.item(), rtol=1e-9)

    plain = label_rows(records)
    assert [frame.rows.shape for frame in plain] == [(10, plain[0].rows.shape[1])] * 3
    with pytest.raises(LabelError, match="frame 0"):
        label_rows([Record(records[0].structure, {}, Provenance("toy"))])


def test_influence_is_what_refitting_the_last_layer_without_the_frame_does():
    records, target = waters(9)[:8], waters(9)[8]
    model = small_model(small_config(operator=False, cutoff=5.0))

    found = influence_on(records, target, model)

    *frames, asked = label_rows([*records, target], model)
    fit = fit_labels(frames)
    for index in range(8):
        used = np.arange(8) != index
        refit = LinearFit(frames, used, fit.prior, fit.noise)
        move = asked.rows @ (refit.weights - fit.weights)
        # A frame of leverage near one, 1 − 4e-4 here, loses digits.
        assert found.energy[index] == pytest.approx(move[0], rel=1e-4, abs=1e-9)
        assert found.forces[index] == pytest.approx(np.sqrt(np.mean(move[1:] ** 2)), rel=1e-4)
    assert found.ranking[0] == int(found.forces.argmax())
    assert found.forces.max() > 1.5 * found.forces.min(), "negative control: frames differ"
    with pytest.raises(LabelError, match="1 training frames"):
        influence_on(records[:1], target, model)
