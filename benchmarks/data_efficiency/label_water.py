"""Label waters at PBE0/def2-SVP: 50 of the training set, spread over its three temperatures, and the whole test set.

    python benchmarks/data_efficiency/label_water.py RUNS

RUNS holds the stores of benchmarks/foundation/import_water.py. About a CPU-second a frame.
"""

import sys
from pathlib import Path

from adiabat.data.store import DatasetStore
from adiabat.engines.pyscf_molecule import PyscfEngine

TARGETS = ("energy", "forces", "hamiltonian", "overlap", "h0")


def main(runs: str) -> None:
    """Write ``water_pbe0_train.lmdb`` and ``water_pbe0_test.lmdb``."""
    engine = PyscfEngine(xc="pbe0", basis="def2-svp", grid_level=5)
    for part, n_frames in (("train", 50), ("test", 60)):
        with (
            DatasetStore.open(Path(runs) / f"water_{part}.lmdb") as source,
            DatasetStore.create(Path(runs) / f"water_pbe0_{part}.lmdb") as store,
        ):
            for index in range(0, len(source), len(source) // n_frames)[:n_frames]:
                store.append(engine.label(source[index].structure, TARGETS))


if __name__ == "__main__":
    main(sys.argv[1])
