"""Which formats there are, how a path shows which one it is, and the one way to read any of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import ConfigError, FileFormatError, LabelError
from adiabat.core.operators import BlockOperator
from adiabat.data.hamiltonian_formats.abacus import read_abacus
from adiabat.data.hamiltonian_formats.contents import Crystal, with_valence
from adiabat.data.hamiltonian_formats.cp2k_run import read_cp2k
from adiabat.data.hamiltonian_formats.deeph import HAMILTONIAN as DEEPH_FILE
from adiabat.data.hamiltonian_formats.deeph import read_deeph
from adiabat.data.hamiltonian_formats.deeph_legacy import HAMILTONIAN as LEGACY_FILE
from adiabat.data.hamiltonian_formats.deeph_legacy import read_deeph_legacy
from adiabat.data.hamiltonian_formats.openmx import read_openmx
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions
from adiabat.data.hamiltonian_formats.self_check import self_check
from adiabat.data.hamiltonian_formats.siesta import read_siesta
from adiabat.data.hamiltonian_formats.wannier90 import read_wannier90
from adiabat.data.record import Provenance, Record


@dataclass(frozen=True)
class HamiltonianFormat:
    """One format.

    Attributes:
        read: from the path and the options; the path is as the user gave it.
        marks: glob patterns of files that only this format has, in a folder or as the path itself.
        takes_structure: whether ``--structure`` may replace what the files say.
    """

    read: Callable[[Path, HamiltonianOptions], Crystal]
    marks: tuple[str, ...]
    takes_structure: bool = False


FORMATS: Final[dict[str, HamiltonianFormat]] = {
    "deeph": HamiltonianFormat(lambda path, _: read_deeph(_folder(path)), (DEEPH_FILE,)),
    "deeph-legacy": HamiltonianFormat(lambda path, _: read_deeph_legacy(_folder(path)), (LEGACY_FILE,)),
    "siesta": HamiltonianFormat(read_siesta, ("*.HSX", "*.TSHS")),
    "openmx": HamiltonianFormat(read_openmx, ("*.scfout",)),
    "abacus": HamiltonianFormat(
        read_abacus,
        ("data-HR-sparse_SPIN0.csr", "hrs1_nao.csr", "OUT.*/data-HR-sparse_SPIN0.csr", "OUT.*/hrs1_nao.csr"),
        takes_structure=True,
    ),
    "wannier90": HamiltonianFormat(read_wannier90, ("*_hr.dat",), takes_structure=True),
    "cp2k": HamiltonianFormat(read_cp2k, ("*-KS_SPIN_1_R_*.csr",), takes_structure=True),
}
"""Every format, by its name in the command line."""


def detect_format(path: Path) -> str | None:
    """The one format whose files a path is or holds; None if it is none of them.

    Raises:
        FileFormatError: the files of several formats in one folder.
    """
    if path.is_dir():
        found = [name for name, kind in FORMATS.items() if any(any(path.glob(mark)) for mark in kind.marks)]
    else:
        found = [name for name, kind in FORMATS.items() if any(path.match(mark) for mark in kind.marks)]
    if len(found) > 1:
        raise FileFormatError(
            f"{path.name} with files of {' and '.join(found)}",
            expected="one calculation in a folder",
            suggestion=f"say which one to read: --format {found[0]}",
        )
    return found[0] if found else None


def read_hamiltonian(
    path: Path, name: str, options: HamiltonianOptions, *, method: str = "", fidelity: str = ""
) -> tuple[Record, list[str]]:
    """Read H, S and what goes with them; returns a record and what was found and checked.

    Args:
        path: folder or file.
        name: format, a key of :data:`FORMATS`.
        options: what the user adds.
        method: level of theory.
        fidelity: name under which labels of this level are grouped.

    Raises:
        FileFormatError, LabelError, BasisError, StructureError: files that are damaged, contradict each other, or
            hold matrices that cannot be a Hamiltonian and an overlap.
    """
    if options.structure is not None and not FORMATS[name].takes_structure:
        raise ConfigError(
            f"--structure {options.structure.name} for format {name}, whose files hold their structure",
            expected=f"--structure with {', '.join(n for n, kind in FORMATS.items() if kind.takes_structure)} only",
            suggestion="leave --structure out",
        )
    crystal = FORMATS[name].read(path, options)
    crystal = replace(crystal, basis=with_valence(crystal.basis, options.valence or _shared_valence(crystal)))
    crystal = _with_charge(crystal, path.name)
    crystal, notes = self_check(crystal, path.name)
    labels: dict[str, npt.NDArray[np.float64] | BlockOperator] = {
        "hamiltonian": crystal.hamiltonian,
        "overlap": crystal.overlap,
    }
    if crystal.fermi_level is not None:
        labels["fermi_level"] = np.asarray(crystal.fermi_level)
    if crystal.energy is not None:
        labels["energy"] = np.asarray(crystal.energy)
    settings = {"format": name, "spin": crystal.hamiltonian.spin}
    provenance = Provenance(
        crystal.code, crystal.code_version, method, settings, fidelity or method, crystal.basis, path.name
    )
    structure = crystal.structure
    if crystal.n_electrons is not None:  # how they are shared between elements may not be known; their number is
        structure = replace(structure, info={**structure.info, "n_electrons": float(crystal.n_electrons)})
    return Record(structure, labels, provenance), [*crystal.notes, *notes]


def _shared_valence(crystal: Crystal) -> dict[int, float]:
    """Electrons of the one element that a file with a total number of electrons has; none if there are several."""
    kinds = set(crystal.structure.atomic_numbers.tolist())
    if crystal.n_electrons is None or crystal.basis.valence is not None or len(kinds) > 1:
        return {}
    return {kinds.pop(): crystal.n_electrons / crystal.structure.n_atoms}


def _with_charge(crystal: Crystal, place: str) -> Crystal:
    """The charge that the valence electrons and the number of electrons give, where both are known."""
    valence, numbers = crystal.basis.valence or {}, crystal.structure.atomic_numbers
    if crystal.n_electrons is None or any(int(z) not in valence for z in numbers):
        return crystal
    charge = crystal.basis.n_electrons(numbers) - crystal.n_electrons
    if abs(charge - round(charge)) > 1e-3:
        raise LabelError(
            f"{place}: {crystal.n_electrons:g} electrons in the files, but {crystal.basis.n_electrons(numbers):g} from "
            "the valence electrons of its atoms",
            expected="numbers that differ by a whole charge",
            suggestion="correct --valence",
        )
    return replace(crystal, structure=replace(crystal.structure, charge=round(charge)))


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent
