"""Waters labelled at two levels of theory: the costly one has stiffer springs, deeper atoms, and more of ΔH."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from adiabat.core.operators import BlockOperator
from adiabat.data.record import Record

LOW, HIGH = "toy/toy", "costly/toy"
SHIFT = -123.0
"""eV; difference of the reference energies of one water."""


def costly(records: Sequence[Record], *, factor: float = 1.3) -> list[Record]:
    """The same structures, labelled by another method."""
    return [_relabelled(record, factor) for record in records]


def _relabelled(record: Record, factor: float) -> Record:
    labels = dict(record.labels)
    if "energy" in labels:
        labels["energy"] = np.asarray(SHIFT - 2000.0 + factor * (float(record.labels["energy"]) + 2000.0))
    if "forces" in labels:
        labels["forces"] = factor * record.labels["forces"]
    hamiltonian, h0 = labels.get("hamiltonian"), labels.get("h0")
    if isinstance(hamiltonian, BlockOperator) and isinstance(h0, BlockOperator):
        labels["hamiltonian"] = h0.with_values(h0.values + factor * (hamiltonian.values - h0.values))
    settings = {**record.provenance.settings, "xc": "pbe0"}
    return replace(record, labels=labels, provenance=replace(record.provenance, method=HIGH, settings=settings))
