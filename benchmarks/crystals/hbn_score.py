"""Score a trained model on the held-out hBN cells, by the file that scores every peer.

python benchmarks/crystals/hbn_score.py ../shared/data/hbn_ham runs/hbn_test.lmdb runs/hbn/model.safetensors
"""

import json
import platform
import sys
from pathlib import Path

import numpy as np
import torch
from hbn_evaluation import evaluate, held_out_cells

from adiabat.data.store import DatasetStore
from adiabat.models.package import inspect_model, load_model


def main(source: str, store: str, path: str) -> None:
    """Print errors of H and bands, and what the model package says of its training."""
    torch.set_num_threads(1)
    model = load_model(path)
    cells = held_out_cells(str(Path(source) / "hbn_pbe_szvp.npz"))
    predictions = {}
    with DatasetStore.open(store) as records:
        for record in records:
            operator = model.hamiltonian(record.structure)
            blocks = operator.values.reshape(len(operator), 9, 9)
            predictions[int(record.structure.info["frame"])] = operator.pairs, np.asarray(blocks)
    provenance = inspect_model(path)["provenance"]
    report = {
        "model": "adiabat",
        "steps": provenance["step"],
        "training_minutes": provenance["minutes"],
        "n_train": provenance["n_train"],
        "n_parameters": sum(value.numel() for value in model.parameters()),
        "machine": f"{platform.machine()}, torch {torch.__version__}, 1 thread",
        "errors": evaluate(cells, predictions),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
