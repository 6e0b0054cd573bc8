"""Records as files that other programs read: extended XYZ by ASE's conventions, and npz for operators."""

import io
from collections.abc import Iterable
from pathlib import Path

import ase.io
import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import FileFormatError, LabelError
from adiabat.core.fields import FIELDS
from adiabat.core.operators import BlockOperator
from adiabat.data.record import Record

_ASE_RESULTS = ("energy", "forces", "stress", "charges", "dipole")
"""Labels for which ASE has a name; the same as ours, in the same units and signs."""


def to_ase(record: Record) -> Atoms:
    """``Atoms`` with its labels in a ``SinglePointCalculator`` and its level of theory in ``info``."""
    atoms = record.structure.to_ase()
    results: dict[str, object] = {}
    for name in _ASE_RESULTS:
        if name in record.labels:
            value = np.asarray(record.labels[name])
            if name == "stress":
                value = value.ravel()[[0, 4, 8, 5, 2, 1]]
            results[name] = float(value) if name == "energy" else value
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    for name, text in (("method", record.provenance.method), ("fidelity", record.provenance.fidelity)):
        if text:
            atoms.info.setdefault(name, text)
    return atoms


def write_extxyz(records: Iterable[Record], path: Path) -> int:
    """Write structures with energy, forces, stress, charges and dipole; returns how many.

    The file appears only when it is complete.

    Raises:
        FileFormatError: there are no records.
    """
    frames = [to_ase(record) for record in records]
    if not frames:
        raise FileFormatError("no records to write", expected="at least one", suggestion="check the selection")
    text = io.StringIO()
    ase.io.write(text, frames, format="extxyz")
    write_atomically(path, text.getvalue().encode())
    return len(frames)


def write_operators(records: Iterable[Record], path: Path) -> int:
    """Write structures with all labels, operators included, as one npz; returns how many.

    Keys are ``<record>/atomic_numbers``, ``<record>/energy``, …; an operator has ``<record>/hamiltonian/pairs``,
    ``offsets``, ``values`` and ``n_orbitals``, and ``spin`` if it has any. The key ``units`` says what the numbers are.

    Raises:
        LabelError: no record has an operator.
    """
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    n_records, has_operator = 0, False
    for index, record in enumerate(records):
        n_records += 1
        structure = record.structure
        for name in ("atomic_numbers", "positions", "cell", "pbc"):
            arrays[f"{index}/{name}"] = getattr(structure, name)
        arrays[f"{index}/charge"], arrays[f"{index}/spin"] = np.array(structure.charge), np.array(structure.spin)
        for name, value in record.labels.items():
            if isinstance(value, BlockOperator):
                has_operator = True
                for part in ("pairs", "offsets", "values", "n_orbitals"):
                    arrays[f"{index}/{name}/{part}"] = getattr(value, part)
                if value.spin != "none":
                    arrays[f"{index}/{name}/spin"] = np.array(value.spin)
            else:
                arrays[f"{index}/{name}"] = value
    if not has_operator:
        raise LabelError(
            "records without operators",
            expected="a Hamiltonian, overlap, density matrix or H0",
            suggestion="export to extended XYZ instead: -o data.xyz",
        )
    arrays["units"] = np.array(
        "; ".join(f"{field.name} [{field.unit}]" for field in FIELDS.values())
        + "; positions, cell [Å]; orbitals: m = −l … l, p = (y, z, x)"
    )
    data = io.BytesIO()
    np.savez_compressed(data, allow_pickle=False, **arrays)
    write_atomically(path, data.getvalue())
    return n_records
