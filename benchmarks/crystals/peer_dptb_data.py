"""The hBN set in DeePTB's own format, there and back; runs in DeePTB's environment."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from dptb.data import AtomicData, AtomicDataDict
from dptb.data.build import build_dataset
from dptb.data.interfaces.ham_to_feature import feature_to_block
from dptb.nn.hr2hk import HR2HK
from dptb.utils.argcheck import collect_cutoffs
from hbn_evaluation import WINDOW, Prediction, ReferenceCell, cell_of, eigenvalues, evaluate

BASIS = {"B": "1s1p1d", "N": "1s1p1d"}
"""DeePTB's orbitals are s, (y, z, x), (xy, yz, z², xz, x²−y²), as the set's."""


def convert(frames: Any, chosen: list[int], directory: Path, prefix: str) -> None:
    """Write folders ``prefix.<frame>`` as DeePTB's DefaultDataset reads them: a cell each, H in eV."""
    for frame in chosen:
        folder = directory / f"{prefix}.{frame:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        atoms = slice(*frames["atom_ptr"][frame : frame + 2])
        np.savetxt(folder / "cell.dat", frames["cell"][frame], fmt="%.17g")
        np.savetxt(folder / "positions.dat", frames["pos"][atoms], fmt="%.17g")
        np.savetxt(folder / "atomic_numbers.dat", frames["Z"][atoms], fmt="%d")
        (folder / "info.json").write_text(json.dumps({"nframes": 1, "pos_type": "cart", "pbc": True}))
        (pairs, hamiltonian), overlap = cell_of(frames, frame)
        for name, blocks in {"hamiltonians": hamiltonian, "overlaps": overlap}.items():
            with h5py.File(folder / f"{name}.h5", "w") as file:
                group = file.create_group("0")
                for (rx, ry, rz, i, j), block in zip(pairs.tolist(), blocks, strict=True):
                    group[f"{i}_{j}_{rx}_{ry}_{rz}"] = block


def load(config: dict[str, Any], directory: Path, prefix: str) -> Any:
    """The converted folders as a DeePTB data set with H and S, in the order of their frames."""
    return build_dataset(
        **collect_cutoffs(config),
        root=str(directory),
        prefix=prefix,
        get_Hamiltonian=True,
        get_overlap=True,
        basis=BASIS,
    )


def prediction(data: dict[str, Any], idp: Any) -> Prediction:
    """Pairs and blocks [eV] of what DeePTB's features say; it keeps one of each pair and its reverse."""
    blocks = {}
    for key, block in feature_to_block(data, idp).items():
        i, j, *shift = map(int, key.split("_"))
        matrix = block.detach().numpy().astype(np.float64)
        blocks[(*shift, i, j)] = matrix
        blocks[(*(-r for r in shift), j, i)] = matrix.T
    return np.array(list(blocks), dtype=np.int64), np.stack(list(blocks.values()))


def own_levels(data: dict[str, Any], idp: Any, cell: ReferenceCell) -> np.ndarray:
    """ε [eV] of the labels through DeePTB's own H(k) and S(k)."""
    data = {**data, AtomicDataDict.KPOINT_KEY: torch.as_tensor(cell.k_points)}
    fields = {
        "hamiltonian": (AtomicDataDict.EDGE_FEATURES_KEY, AtomicDataDict.NODE_FEATURES_KEY),
        "overlap": (AtomicDataDict.EDGE_OVERLAP_KEY, AtomicDataDict.NODE_OVERLAP_KEY),
    }
    matrices = [
        HR2HK(idp=idp, edge_field=edge, node_field=node, overlap=name == "overlap", dtype=torch.float64)(dict(data))[
            AtomicDataDict.HAMILTONIAN_KEY
        ].numpy()
        for name, (edge, node) in fields.items()
    ]
    return eigenvalues(*matrices)[:, : cell.bands.shape[1]]


def round_trip(
    config: dict[str, Any], directory: Path, prefix: str, cells: dict[int, ReferenceCell]
) -> dict[str, float]:
    """What conversion loses, in float64 [meV]: of the labels as DeePTB holds them, and of its own bands of them."""
    torch.set_default_dtype(torch.float64)
    data_set = load(config, directory, prefix)
    idp, labels, levels = data_set.type_mapper, {}, []
    for (frame, cell), item in zip(cells.items(), data_set, strict=True):
        data = idp(AtomicData.to_AtomicDataDict(item))
        labels[frame] = prediction(data, idp)
        error = np.abs(own_levels(data, idp, cell) - cell.bands)
        levels.append(1e3 * float(error[np.abs(cell.bands - cell.fermi_level) <= WINDOW].max()))
    torch.set_default_dtype(torch.float32)
    report = evaluate(cells, labels)
    kept = ("h_mae", "h_max", "bands_rms", "missing_pairs", "extra_pairs")
    return {**{name: report[name] for name in kept}, "own_bands_max": max(levels)}
