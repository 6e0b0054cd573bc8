"""Label the crystal demo's cells with CP2K and pack them into the file that the package ships.

    nice -n 5 python scripts/make_crystal_demo_data.py /tmp/boron_nitride.lmdb

About an hour on one core; run it again to go on after a stop.
"""

import argparse
from pathlib import Path

from adiabat.campaigns.crystal_demo_data import DEMO_FILE, demo_engine, demo_structures
from adiabat.campaigns.labelling import LabellingReport, label_structures
from adiabat.campaigns.packed_crystals import pack_crystals, unpack_crystals
from adiabat.data.store import DatasetStore

TARGETS = ["energy", "forces", "stress", "hamiltonian", "overlap", "fermi_level"]


def tell(report: LabellingReport) -> None:
    """One line a structure."""
    print(f"{report.n_labelled + report.n_skipped} of {report.n_structures}, {len(report.failures)} failed", flush=True)


def main() -> None:
    """Label, pack, and read back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output", type=Path, default=DEMO_FILE)
    arguments = parser.parse_args()
    report = label_structures(
        demo_structures(),
        demo_engine(),
        arguments.store,
        targets=TARGETS,
        n_workers=arguments.workers,
        on_progress=tell,
    )
    for failure in report.failures:
        print(failure.index, failure.error)
    if report.n_remaining or report.failures:
        return
    with DatasetStore.open(arguments.store) as store:
        by_structure = {record.structure.content_hash: record for record in store}
    records = [by_structure[structure.content_hash] for structure in demo_structures()]
    arguments.output.parent.mkdir(exist_ok=True)
    pack_crystals(records, arguments.output)
    print(f"{len(unpack_crystals(arguments.output))} records, {arguments.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
