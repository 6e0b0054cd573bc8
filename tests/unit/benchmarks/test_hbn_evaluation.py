"""The judge of the hBN benchmark, on a cell made here: it must see what is there and nothing else."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "crystals" / "hbn_evaluation.py"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hbn_evaluation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


judge = load_script()


@pytest.fixture
def cell() -> Any:
    """Two atoms with two orbitals each on a chain, its bands from a dense matrix that is put together another way."""
    generator = np.random.default_rng(3)
    pairs = np.array([[r, 0, 0, i, j] for r in (-1, 0, 1) for i in (0, 1) for j in (0, 1)])
    hamiltonian, overlap = generator.normal(size=(2, 3, 4, 4))
    hamiltonian[1] += np.diag([-6.0, -5.0, 5.0, 6.0])
    overlap = 0.03 * overlap + np.array([0.0, 1.0, 0.0])[:, None, None] * np.eye(4)
    hamiltonian, overlap = ((o + o[::-1].transpose(0, 2, 1)) / 2 for o in (hamiltonian, overlap))
    k_points = np.array([[0.0, 0, 0], [0.2, 0, 0], [0.5, 0, 0]])
    bands = []
    for k in k_points[:, 0]:
        phases = np.exp(2j * np.pi * k * np.array([-1, 0, 1]))
        h_k, s_k = (np.einsum("r,rab->ab", phases, o) for o in (hamiltonian, overlap))
        bands.append(np.sort(np.linalg.eigvals(np.linalg.solve(s_k, h_k)).real))
    blocks = [o.reshape(3, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(12, 2, 2) for o in (hamiltonian, overlap)]
    return judge.ReferenceCell(pairs, *blocks, 2, k_points, np.array(bands))


def test_reference_itself_has_no_error(cell: Any) -> None:
    report = judge.evaluate({7: cell}, {7: (cell.pairs, cell.hamiltonian)})
    assert report["h_mae"] == 0
    assert report["bands_max"] < 1e-9  # meV; rounding of two dense solvers
    assert report["cells"]["7"]["n_levels"] > 0


def test_order_of_pairs_is_free(cell: Any) -> None:
    order = np.random.default_rng(0).permutation(len(cell.pairs))
    assert judge.evaluate({7: cell}, {7: (cell.pairs[order], cell.hamiltonian[order])})["h_mae"] == 0


def test_multiple_of_overlap_is_told_from_an_error(cell: Any) -> None:
    report = judge.evaluate({7: cell}, {7: (cell.pairs, cell.hamiltonian + 0.1 * cell.overlap)})
    assert report["cells"]["7"]["shift"] == pytest.approx(100)
    assert report["h_mae"] > 1
    assert report["h_mae_shifted"] < 1e-9
    assert report["bands_rms"] == pytest.approx(100)
    assert report["bands_rms_shifted"] < 1e-9


def test_mean_is_over_all_stored_elements(cell: Any) -> None:
    wrong = cell.hamiltonian.copy()
    wrong[5, 0, 1] += 0.048  # one of 48 elements
    report = judge.evaluate({7: cell}, {7: (cell.pairs, wrong)})
    assert report["h_mae"] == pytest.approx(1.0)
    assert report["h_max"] == pytest.approx(48)
    assert report["bands_rms"] > 0.1


def test_missing_pair_counts_as_zero(cell: Any) -> None:
    report = judge.evaluate({7: cell}, {7: (cell.pairs[1:], cell.hamiltonian[1:])})
    assert report["missing_pairs"] == 1
    assert report["h_mae"] == pytest.approx(1e3 * np.abs(cell.hamiltonian[0]).sum() / cell.hamiltonian.size)


def test_pair_that_is_not_stored_acts_on_bands_alone(cell: Any) -> None:
    far = np.array([[2, 0, 0, 0, 0], [-2, 0, 0, 0, 0]])
    pairs = np.concatenate([cell.pairs, far])
    blocks = np.concatenate([cell.hamiltonian, np.full((2, 2, 2), 0.1)])
    report = judge.evaluate({7: cell}, {7: (pairs, blocks)})
    assert report["extra_pairs"] == 2
    assert report["h_mae"] == 0
    assert report["bands_rms"] > 1


def test_best_shift_beats_its_neighbors(cell: Any) -> None:
    error = np.random.default_rng(1).normal(size=cell.overlap.shape) + 0.3 * cell.overlap
    shift = judge.best_shift(error, cell.overlap)

    def mean_left(mu: float) -> float:
        return float(np.abs(error - mu * cell.overlap).mean())

    assert all(mean_left(shift) <= mean_left(shift + step) for step in (-1.0, -0.01, 0.01, 1.0, -shift))


def test_each_cell_wants_a_prediction(cell: Any) -> None:
    with pytest.raises(ValueError, match=r"frames \[\], the cells are \[7\]"):
        judge.evaluate({7: cell}, {})
