"""Files as labelled records: extended XYZ, all that ASE reads, PySCF checkpoints, Hamiltonians of crystals.

Nothing is guessed in silence: a reading says which keys became which labels, in which units, and what was changed.
"""

import sqlite3
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.io.formats import UnknownFileTypeError

from adiabat.core.errors import ConfigError, FileFormatError, LabelError, StructureError
from adiabat.data.extxyz import XyzFrame, read_frames
from adiabat.data.frame_slice import parse_frames
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions
from adiabat.data.hamiltonian_formats.registry import FORMATS, detect_format, read_hamiltonian
from adiabat.data.label_keys import LABELS, LabelKeys, Quantities, frame_quantities, resolve_keys, to_ours
from adiabat.data.label_units import LENGTH_UNITS, Array, LabelUnits, stress_convention
from adiabat.data.pyscf_checkpoint import is_pyscf_checkpoint, read_pyscf_checkpoint
from adiabat.data.record import Provenance, Record
from adiabat.data.structure import Structure
from adiabat.data.vacuum_box import VACUUM, is_molecule_in_box, made_whole, without_cell

_XYZ_SUFFIXES = (".xyz", ".extxyz")


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file.

    Attributes:
        keys: key of each label; None means: find it.
        units: what the numbers mean.
        frames: which frames, as a Python slice or index: ``:100``, ``::10``, ``-1``.
        keep_cell: keep a cell that holds a molecule in vacuum.
        skip: labels that are not read at all.
        file_format: ASE's name of the format, ``extxyz``, ``pyscf`` or a format of Hamiltonians; None: from the name
            and content.
        method: level of theory, as in ``PBE/def2-SVP``.
        fidelity: name under which labels of this level are grouped.
        hamiltonian: what the files of a Hamiltonian do not say.
    """

    keys: LabelKeys = field(default_factory=LabelKeys)
    units: LabelUnits = field(default_factory=LabelUnits)
    frames: str = ":"
    keep_cell: bool = False
    skip: frozenset[str] = frozenset()
    file_format: str | None = None
    method: str = ""
    fidelity: str = ""
    hamiltonian: HamiltonianOptions = field(default_factory=HamiltonianOptions)


@dataclass(frozen=True)
class Reading:
    """What a file held.

    Attributes:
        records: one a frame.
        keys: the key that each label was read from.
        notes: one sentence each on what was found, converted or dropped.
    """

    records: list[Record]
    keys: LabelKeys
    notes: list[str]


def read_records(
    path: str | Path, *, keys: LabelKeys | None = None, options: ReadOptions | None = None
) -> list[Record]:
    """Labelled records of a file; :func:`read_file` also says what was found.

    Raises:
        FileFormatError: a missing, truncated or damaged file, with the frame and line.
        LabelError: two keys that may hold one label and disagree, or a key that is not there.
    """
    options = options or ReadOptions()
    return read_file(path, replace(options, keys=keys) if keys is not None else options).records


def read_file(path: str | Path, options: ReadOptions | None = None) -> Reading:
    """Read a file and report what was found in it.

    Raises:
        FileFormatError: a missing, truncated or damaged file, with the frame and line.
        LabelError: two keys that may hold one label and disagree, or a key that is not there.
        StructureError: a frame that cannot be meant, such as one with an unknown element.
    """
    path, options = Path(path), options or ReadOptions()
    if not path.exists():
        raise FileFormatError(
            f"no file at {path}", expected="a file with structures", suggestion="check the path and the working folder"
        )
    name = options.file_format or detect_format(path)
    if name in FORMATS:
        record, notes = read_hamiltonian(
            path, name, options.hamiltonian, method=options.method, fidelity=options.fidelity
        )
        return Reading([record], LabelKeys(), notes)
    if options.hamiltonian.structure is not None or options.hamiltonian.valence:
        raise ConfigError(
            f"--structure or --valence for {path.name}, which holds no Hamiltonian of a known format",
            expected=f"one of {', '.join(FORMATS)}",
            suggestion="leave the option out, or name the format: --format",
        )
    if path.is_dir():
        raise FileFormatError(
            f"{path}, a folder without files of a known calculation",
            expected=f"a file with structures, or a folder of {', '.join(FORMATS)}",
            suggestion="name the file, or the format: --format",
        )
    if options.file_format == "pyscf" or (options.file_format is None and is_pyscf_checkpoint(path)):
        record, notes = read_pyscf_checkpoint(path, method=options.method, fidelity=options.fidelity)
        return Reading([record], LabelKeys(), notes)
    frames = _read_with_ase(path, options)
    if not frames:
        raise FileFormatError(
            f"no frames in {path.name} with --frames {options.frames}",
            expected="at least one structure",
            suggestion="check the file and the slice",
        )
    return _to_records(path, frames, options)


def _read_with_ase(path: Path, options: ReadOptions) -> list[XyzFrame]:
    wanted = parse_frames(options.frames)
    if options.file_format == "extxyz" or (options.file_format is None and path.suffix in _XYZ_SUFFIXES):
        frames = _take(read_frames(path), wanted)
    else:
        try:
            read = ase.io.read(path, index=wanted, format=options.file_format)
        except UnknownFileTypeError as error:
            raise FileFormatError(
                f"{path.name}, whose format ASE does not recognise",
                expected="a format of ase.io, extended XYZ, or a PySCF checkpoint",
                suggestion="name it: --format vasp-outcar, for instance",
            ) from error
        # ASE's readers share no error class: these are what a damaged file makes them raise.
        except (ase.io.ParseError, OSError, ValueError, KeyError, IndexError, StopIteration, AttributeError, TypeError,
                AssertionError, EOFError, ImportError, RuntimeError, SyntaxError, zipfile.BadZipFile,
                sqlite3.Error) as error:  # fmt: skip
            raise FileFormatError(
                f"{path.name}, which ASE cannot read ({type(error).__name__}: {error})",
                expected="a complete file of the format that its name says",
                suggestion="check that the calculation finished and the file is complete, or name the format: --format",
            ) from error
        frames = [XyzFrame(atoms, 0, True) for atoms in (read if isinstance(read, list) else [read])]
    return frames


def _take(frames: Iterable[XyzFrame], wanted: slice) -> list[XyzFrame]:
    """Frames of a slice, without parsing what lies behind its end: so the intact start of a damaged file is read."""
    numbers = (wanted.start or 0, wanted.stop or 0, wanted.step or 1)
    if min(numbers[:2]) < 0 or numbers[2] < 1:
        return list(frames)[wanted]
    return list(islice(frames, wanted.start, wanted.stop, wanted.step))


def _to_records(path: Path, frames: Sequence[XyzFrame], options: ReadOptions) -> Reading:
    atoms = [_in_angstrom(frame.atoms, options.units) for frame in frames]
    quantities = [frame_quantities(frame) for frame in atoms]
    keys = resolve_keys(atoms, quantities, options.keys, options.units, options.skip)
    provenance = Provenance(
        code="file", method=options.method, fidelity=options.fidelity or options.method, source=path.name
    )
    changes: dict[str, int] = {}
    records = []
    for index, frame in enumerate(frames):
        try:
            structure = _structure(atoms[index], frame.declares_pbc, keys, options, changes)
            labels = _labels(atoms[index], quantities[index], structure, keys, options.units, changes)
            records.append(Record(structure, labels, provenance))
        except (StructureError, LabelError) as error:
            raise error.at(f"frame {index} of {path.name}" + f", line {frame.line}" * bool(frame.line)) from error
    notes = _describe(keys, quantities, options) + [f"{text} ({n} frames)" for text, n in changes.items()]
    return Reading(records, keys, notes)


def _in_angstrom(atoms: Atoms, units: LabelUnits) -> Atoms:
    factor = LENGTH_UNITS[units.positions]
    if factor != 1.0:
        calculator = atoms.calc
        atoms.set_cell(atoms.cell.array * factor)
        atoms.set_positions(atoms.positions * factor)
        atoms.calc = calculator
    return atoms


def _structure(
    atoms: Atoms, declares_pbc: bool, keys: LabelKeys, options: ReadOptions, changes: dict[str, int]
) -> Structure:
    bare = atoms.copy()
    for label in LABELS:
        bare.info.pop(str(getattr(keys, label)).removeprefix("info:"), None)
    structure = Structure.from_ase(bare, charge=_integer(bare, "charge"), spin=_spin(bare))
    if options.keep_cell or not np.any(structure.cell):
        return structure
    if not structure.pbc.any():
        _count(changes, "cell dropped: no direction is periodic; --keep-cell to keep it")
        return without_cell(structure)
    if structure.pbc.all() and is_molecule_in_box(structure):
        size = max(np.linalg.norm(structure.cell, axis=1))
        if declares_pbc:
            _count(
                changes, f"periodic cell kept although {VACUUM:.0f} Å of vacuum surround the atoms, as pbc is declared"
            )
            return structure
        _count(changes, f"Lattice {size:.0f} Å with no periodicity: treated as a molecule; --keep-cell to keep it")
        return without_cell(made_whole(structure))
    return structure


def _integer(atoms: Atoms, key: str) -> int:
    found = atoms.info.get(key, 0)
    try:
        value = float(found)
    except (TypeError, ValueError):  # a word, or several numbers
        value = np.nan
    if not value.is_integer():
        raise LabelError(
            f"{key} {found}", expected="a whole number", suggestion=f"correct {key!r} in the file's comment lines"
        )
    return round(value)


def _spin(atoms: Atoms) -> int:
    """2S, from ``spin`` or else from ``multiplicity`` = 2S + 1."""
    if "spin" in atoms.info or "multiplicity" not in atoms.info:
        return _integer(atoms, "spin")
    return _integer(atoms, "multiplicity") - 1


def _labels(
    atoms: Atoms,
    quantities: Quantities,
    structure: Structure,
    keys: LabelKeys,
    units: LabelUnits,
    changes: dict[str, int],
) -> dict[str, Array]:
    labels: dict[str, Array] = {}
    for label in LABELS:
        key = getattr(keys, label)
        if key is None or key not in quantities:
            continue
        if label == "stress" and not structure.pbc.all():
            _count(changes, "stress dropped: a structure that is not periodic in all directions has no volume")
            continue
        labels[label] = to_ours(label, key, quantities[key], atoms, units)
    return labels


def _count(changes: dict[str, int], text: str) -> None:
    changes[text] = changes.get(text, 0) + 1


def _describe(keys: LabelKeys, quantities: Sequence[Quantities], options: ReadOptions) -> list[str]:
    notes = []
    units = options.units
    claimed: set[str] = set()
    for label in LABELS:
        key = getattr(keys, label)
        if key is None:
            continue
        claimed.add(key)
        unit = {
            "energy": units.energy,
            "forces": units.forces,
            "stress": str(stress_convention(key, units)),
            "charges": "e",
            "dipole": units.dipole,
        }[label]
        count = sum(key in frame for frame in quantities)
        notes.append(f"{label}: key {key!r} in {count} of {len(quantities)} frames, taken as {unit}")
    if keys.energy is None and "energy" not in options.skip:
        notes.append("energy: no key found; name it with --energy-key if there is one")
    others = sorted({key for frame in quantities for key in frame} - claimed)
    if others and not options.skip:
        notes.append(f"not read as labels: {', '.join(others)}")
    return notes
