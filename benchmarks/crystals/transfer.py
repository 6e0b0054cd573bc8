"""A model trained on small cells, on cells that are larger or more strained than any of them.

    python benchmarks/crystals/transfer.py runs/hbn/model.safetensors transfer/supercell.lmdb transfer/strained.lmdb

The two stores are made by ``make_transfer.py``.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from adiabat.campaigns.crystal_errors import compare_crystals
from adiabat.data.store import DatasetStore
from adiabat.models.package import load_model


def main(path: str, *stores: str) -> None:
    """Print H and band errors of every record."""
    torch.set_num_threads(1)
    model = load_model(path)
    for store in stores:
        with DatasetStore.open(store) as records:
            for record in records:
                found = compare_crystals(model, record)
                bands = found.energies_predicted - found.energies_reference
                numbers = {
                    "H_mae_meV": 1e3 * np.abs(found.errors).mean(),
                    "H_mae_less_shift_meV": 1e3 * np.abs(found.errors_without_shift).mean(),
                    "shift_meV": 1e3 * found.shift,
                    "bands_rms_meV": 1e3 * np.sqrt(np.square(bands).mean()),
                    "bands_rms_less_shift_meV": 1e3 * bands.std(),
                    "fermi_level_meV": 1e3 * found.fermi_level_error,
                    "gap_meV": None if found.gap is None else 1e3 * (found.gap[1] - found.gap[0]),
                    "seconds": found.seconds,
                }
                rounded = {key: value if value is None else round(float(value), 3) for key, value in numbers.items()}
                print(Path(store).stem, record.structure.n_atoms, json.dumps(rounded))


if __name__ == "__main__":
    main(*sys.argv[1:])
