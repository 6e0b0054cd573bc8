"""What each loss on Hamiltonians is good for: the same small model and steps, scored on cells taken from the 60 of hBN.

    python benchmarks/crystals/losses.py runs/hbn_train.lmdb runs/losses [steps]

Every run learns from 50 cells and is scored on 10 others of the training set; the held-out cells are not looked at.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adiabat.campaigns.crystal_errors import compare_crystals
from adiabat.models.package import load_model
from adiabat.training.config_parsing import parse_config
from adiabat.training.frames import load_frames
from adiabat.training.trainer import Trainer

LOSSES: dict[str, dict[str, Any]] = {
    "MAE of entries": {"hamiltonian": {}},
    "MSE of entries": {"hamiltonian": {"loss": "mse"}},
    "MAE of irreps": {"hamiltonian": {"space": "irreps"}},
    "MAE, best μ·S removed": {"hamiltonian": {"remove_shift": True}},
    "MAE + eigenvalues": {"hamiltonian": {}, "eigenvalues": {"weight": 0.02}},
    "MAE + wavefunctions": {"hamiltonian": {}, "wavefunctions": {"weight": 0.02}},
}


def main(store: str, directory: str, steps: str = "800") -> None:
    """Train with each loss, one after the other, and print a table."""
    torch.set_num_threads(1)
    rows = {}
    for name, targets in LOSSES.items():
        config = parse_config(
            {
                "data": {"train": store, "n_validation": 10, "split_seed": 3},
                "model": {"energy": False, "l_max": 3, "channels": 24, "operator": {"channels": 24, "hidden": 64}},
                "targets": targets,
                "schedule": {"max_steps": int(steps)},
                "training": {"batch_size": 4, "num_threads": 1, "validation_interval": 10000, "tensorboard": False},
            }
        )
        run = Path(directory) / name.replace(" ", "-").replace(",", "").replace("·", "")
        if not (run / "model.safetensors").exists():
            Trainer(config, run).fit()
        model = load_model(run / "model.safetensors")
        found = [compare_crystals(model, frame.record) for frame in load_frames(config.data).validation]
        bands = [part.energies_predicted - part.energies_reference for part in found]
        rows[name] = {
            "H_mae_meV": 1e3 * float(np.mean([np.abs(part.errors).mean() for part in found])),
            "onsite_mae_meV": 1e3 * float(np.mean([np.abs(part.errors[part.same_atom]).mean() for part in found])),
            "bands_rms_meV": 1e3 * float(np.sqrt(np.mean([np.square(part).mean() for part in bands]))),
            "bands_rms_median_meV": 1e3 * float(np.median([np.sqrt(np.square(part).mean()) for part in bands])),
            "fermi_level_mae_meV": 1e3 * float(np.mean([abs(part.fermi_level_error) for part in found])),
        }
        print(name, json.dumps({key: round(value, 2) for key, value in rows[name].items()}), flush=True)
    (Path(directory) / "losses.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
