"""Score any predicted H of the hBN set's held-out cells; every model and peer goes through this one file, numpy alone.

    cells = held_out_cells("../shared/data/hbn_ham/hbn_pbe_szvp.npz")
    report = evaluate(cells, {frame: (pairs, blocks) for ...})

``python benchmarks/crystals/hbn_evaluation.py ../shared/data/hbn_ham/hbn_pbe_szvp.npz`` scores the reference itself, a
noisy copy and a shifted copy of it: what a perfect model would get, and what the numbers mean.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HARTREE_EV = 27.211386245988
"""CODATA 2018; written out so that a peer's environment needs nothing but numpy."""

WINDOW = 5.0
"""Bands count within this of E_F [eV]."""

Prediction = tuple[NDArray[np.int64], NDArray[np.float64]]
"""pairs (n, 5), rows Rx, Ry, Rz, i, j with 0-based atoms; blocks (n, 9, 9) [eV], orbitals s, y, z, x, xy … x²−y²."""


@dataclass(frozen=True)
class ReferenceCell:
    """What DFT says of one cell.

    Attributes:
        pairs: (n, 5) stored pairs.  hamiltonian: (n, 9, 9) [eV].  overlap: (n, 9, 9).
        n_occupied: bands below the gap.  k_points: (n_k, 3) [reciprocal-lattice fractions].
        bands: (n_k, n_bands) the code's own eigenvalues [eV].
    """

    pairs: NDArray[np.int64]
    hamiltonian: NDArray[np.float64]
    overlap: NDArray[np.float64]
    n_occupied: int
    k_points: NDArray[np.float64]
    bands: NDArray[np.floating]

    @property
    def fermi_level(self) -> float:
        """Middle of the gap of the reference bands [eV]."""
        return float(self.bands[:, self.n_occupied - 1].max() + self.bands[:, self.n_occupied].min()) / 2


def cell_of(frames: Any, frame: int) -> tuple[Prediction, NDArray[np.float64]]:
    """The stored H [eV] and S of a frame: ``((pairs, hamiltonian), overlap)``."""
    edges = slice(*frames["edge_ptr"][frame : frame + 2])
    pairs = np.concatenate([frames["edge_R"][edges], frames["edge_index"][edges]], axis=1).astype(np.int64)
    return (pairs, frames["H"][edges] * HARTREE_EV), frames["S"][edges]


def n_occupied(frames: Any, frame: int) -> int:
    """Occupied bands: three valence electrons of each B, five of each N, two a band."""
    return int(np.sum(frames["Z"][slice(*frames["atom_ptr"][frame : frame + 2])] - 2)) // 2


def held_out_cells(path: str) -> dict[int, ReferenceCell]:
    """The cells that no model may learn from, by frame, with CP2K's own bands on Γ–M–K–Γ."""
    frames = np.load(path, allow_pickle=False)
    cells = {}
    for place, frame in enumerate(np.flatnonzero(frames["heldout"]).tolist()):
        (pairs, hamiltonian), overlap = cell_of(frames, frame)
        k_points, bands = frames["bands_k"][place], frames[f"bands_e_{place}"]
        cells[frame] = ReferenceCell(pairs, hamiltonian, overlap, n_occupied(frames, frame), k_points, bands)
    return cells


def training_cells(path: str, chosen: list[int]) -> dict[int, ReferenceCell]:
    """Cells to choose settings by. CP2K's bands were not kept of these: theirs are of the stored H, all of them."""
    frames = np.load(path, allow_pickle=False)
    if held_out := [frame for frame in chosen if frames["heldout"][frame]]:
        raise ValueError(f"frames {held_out} are held out; settings are chosen by training cells alone")
    cells = {}
    for frame in chosen:
        (pairs, hamiltonian), overlap = cell_of(frames, frame)
        k_points = frames["bands_k"][0]
        bands = eigenvalues(*(bloch_sum(pairs, blocks, k_points) for blocks in (hamiltonian, overlap)))
        cells[frame] = ReferenceCell(pairs, hamiltonian, overlap, n_occupied(frames, frame), k_points, bands)
    return cells


def on_pairs(prediction: Prediction, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """The predicted blocks in the order of ``pairs``, zero where the prediction has none."""
    place = {tuple(pair): index for index, pair in enumerate(prediction[0].tolist())}
    blocks = np.zeros((len(pairs), *prediction[1].shape[1:]))
    for row, pair in enumerate(pairs.tolist()):
        if (index := place.get(tuple(pair))) is not None:
            blocks[row] = prediction[1][index]
    return blocks


def best_shift(error: NDArray[np.float64], overlap: NDArray[np.float64]) -> float:
    """The μ [eV] that makes the mean of |error − μ S| least: the median of error/S, weighted by |S|."""
    counted = np.abs(overlap) > 1e-12
    ratio, weight = error[counted] / overlap[counted], np.abs(overlap[counted])
    order = np.argsort(ratio)
    below = np.cumsum(weight[order])
    return float(ratio[order][np.searchsorted(below, below[-1] / 2)])


def bloch_sum(
    pairs: NDArray[np.int64], blocks: NDArray[np.float64], k_points: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """O(k) = Σ_R exp(2πi k·R) O(R), (n_k, n_orb, n_orb), its Hermitian part."""
    n_orb, n_atoms = blocks.shape[1], int(pairs[:, 3:].max()) + 1
    phases = np.exp(2j * np.pi * k_points @ pairs[:, :3].T)
    matrix = np.zeros((len(k_points), n_atoms, n_orb, n_atoms, n_orb), dtype=np.complex128)
    for index, (i, j) in enumerate(pairs[:, 3:].tolist()):
        matrix[:, i, :, j, :] += phases[:, index, None, None] * blocks[index]
    matrix = matrix.reshape(len(k_points), n_atoms * n_orb, n_atoms * n_orb)
    return (matrix + matrix.conj().transpose(0, 2, 1)) / 2


def eigenvalues(hamiltonian: NDArray[np.complex128], overlap: NDArray[np.complex128]) -> NDArray[np.floating]:
    """Ascending ε of H C = S C ε for each k; an S that is not positive definite is a ``LinAlgError``."""
    inverse = np.linalg.inv(np.linalg.cholesky(overlap))
    return np.linalg.eigvalsh(inverse @ hamiltonian @ inverse.conj().transpose(0, 2, 1))


def score_cell(cell: ReferenceCell, prediction: Prediction) -> dict[str, float]:
    """All numbers of one cell; those on energies in meV. ``evaluate`` says what they are."""
    error = on_pairs(prediction, cell.pairs) - cell.hamiltonian
    shift = best_shift(error, cell.overlap)
    overlap = bloch_sum(cell.pairs, cell.overlap, cell.k_points)
    levels = eigenvalues(bloch_sum(*prediction, cell.k_points), overlap)[:, : cell.bands.shape[1]]
    in_window = np.abs(cell.bands - cell.fermi_level) <= WINDOW
    band_error = (levels - cell.bands)[in_window]
    gap, reference_gap = (e[:, cell.n_occupied].min() - e[:, cell.n_occupied - 1].max() for e in (levels, cell.bands))
    stored = {tuple(pair) for pair in cell.pairs.tolist()}
    predicted = {tuple(pair) for pair in prediction[0].tolist()}
    return {
        "h_mae": 1e3 * float(np.abs(error).mean()),
        "h_mae_shifted": 1e3 * float(np.abs(error - shift * cell.overlap).mean()),
        "shift": 1e3 * shift,
        "h_rmse": 1e3 * float(np.sqrt(np.square(error).mean())),
        "h_max": 1e3 * float(np.abs(error).max()),
        "bands_rms": 1e3 * float(np.sqrt(np.square(band_error).mean())),
        "bands_rms_shifted": 1e3 * float(band_error.std()),
        "bands_max": 1e3 * float(np.abs(band_error).max()),
        "gap_error": 1e3 * float(gap - reference_gap),
        "lambda_min": float(np.linalg.eigvalsh(overlap).min()),
        "n_elements": error.size,
        "n_levels": band_error.size,
        "missing_pairs": len(stored - predicted),
        "extra_pairs": len(predicted - stored),
    }


def evaluate(cells: Mapping[int, ReferenceCell], predictions: Mapping[int, Prediction]) -> dict[str, Any]:
    """Errors of the predicted H over all cells, and of each.

    A pair that is not predicted counts as zero. A pair that is not stored has no reference: it is counted in
    ``extra_pairs``, and acts on the bands alone.

    Args:
        cells: from ``held_out_cells``.
        predictions: frame → (pairs, blocks [eV]); of each pair its reverse too. One for each cell.

    Returns:
        ``h_mae`` [meV] over all stored matrix elements; ``h_mae_shifted`` after the best μ S of each cell is removed
        (``shift`` [meV] is that μ); ``h_rmse`` and ``h_max``; ``bands_rms`` [meV] of the levels within ``WINDOW`` of
        the reference's E_F at the reference's k-points, nothing aligned; ``bands_rms_shifted`` after the best constant
        of each cell is removed; ``bands_max``; ``gap_error`` [meV], signed, the largest of the cells at the top level;
        ``lambda_min`` of S(k) at the same k-points. Means over elements and over levels, not over cells; the same
        per frame under ``cells``.

    Raises:
        ValueError: a cell without prediction, or a prediction without cell.
    """
    if set(cells) != set(predictions):
        raise ValueError(f"predictions are for frames {sorted(predictions)}, the cells are {sorted(cells)}")
    scores = {frame: score_cell(cell, predictions[frame]) for frame, cell in cells.items()}
    column = {name: np.array([score[name] for score in scores.values()]) for name in next(iter(scores.values()))}
    elements, levels = column["n_elements"], column["n_levels"]

    def root(name: str, weights: NDArray[Any]) -> float:
        return float(np.sqrt(np.average(np.square(column[name]), weights=weights)))

    return {
        "h_mae": float(np.average(column["h_mae"], weights=elements)),
        "h_mae_shifted": float(np.average(column["h_mae_shifted"], weights=elements)),
        "h_rmse": root("h_rmse", elements),
        "h_max": float(column["h_max"].max()),
        "bands_rms": root("bands_rms", levels),
        "bands_rms_shifted": root("bands_rms_shifted", levels),
        "bands_max": float(column["bands_max"].max()),
        "gap_error": float(column["gap_error"][np.abs(column["gap_error"]).argmax()]),
        "lambda_min": float(column["lambda_min"].min()),
        "missing_pairs": int(column["missing_pairs"].sum()),
        "extra_pairs": int(column["extra_pairs"].sum()),
        "cells": {str(frame): score for frame, score in scores.items()},
    }


def main(path: str) -> None:
    """Score the reference itself, with symmetric noise of 1 meV, and with 100 meV · S added."""
    cells = held_out_cells(path)
    perfect = {frame: (cell.pairs, cell.hamiltonian) for frame, cell in cells.items()}
    generator = np.random.default_rng(0)
    noisy = {}
    for frame, cell in cells.items():
        noise = generator.normal(0.0, 1e-3 * np.sqrt(np.pi / 2), cell.hamiltonian.shape)
        reverse = (cell.pairs * [-1, -1, -1, 1, 1])[:, [0, 1, 2, 4, 3]]
        twin = on_pairs((cell.pairs, noise), reverse).transpose(0, 2, 1)
        noisy[frame] = (cell.pairs, cell.hamiltonian + (noise + twin) / np.sqrt(2))
    shifted = {frame: (cell.pairs, cell.hamiltonian + 0.1 * cell.overlap) for frame, cell in cells.items()}
    for name, predictions in {"reference": perfect, "1 meV noise": noisy, "100 meV · S": shifted}.items():
        report = evaluate(cells, predictions)
        print(f"{name:12s}" + "".join(f"  {key} {value:.4g}" for key, value in report.items() if key != "cells"))


if __name__ == "__main__":
    main(*sys.argv[1:])
