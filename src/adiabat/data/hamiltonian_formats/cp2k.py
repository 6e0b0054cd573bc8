"""CP2K's CSR files: H(R) and S(R) as ``&KS_CSR_WRITE`` and ``&S_CSR_WRITE`` with ``REAL_SPACE T`` print them.

One file holds one image and spin, ``PROJECT-KS_SPIN_1_R_12-1_0.csr``; which R image 12 is stands in the log alone.
Binary files are Fortran records (row, column, value), text files the same as three columns. Source: [kuehne2020].
"""

import re
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse

from adiabat.core.errors import FileFormatError
from adiabat.core.operators import BlockOperator
from adiabat.core.units import HARTREE
from adiabat.data.hamiltonian_formats.elements import Elements, block_operators

_RECORD: Final = np.dtype([("head", "<i4"), ("row", "<i4"), ("column", "<i4"), ("value", "<f8"), ("tail", "<i4")])
_LENGTH: Final = 16
"""Bytes that a record's own length counts: two integers and a double."""

_NAME: Final = re.compile(
    r"^(?P<project>.+)-(?P<quantity>KS|S)_SPIN_(?P<spin>\d)_R_(?P<image>\d+)-1_(?P<step>\d+)\.csr$"
)


def read_cp2k_csr(path: Path, n_orb: int | None = None) -> scipy.sparse.csr_array:
    """One CSR file, binary or text, as a sparse matrix in CP2K's unit and orbital order (which is ours).

    Args:
        path: the file; which kind it is is seen from its first bytes. A file without elements is a zero matrix.
        n_orb: number of orbitals; by default the largest index.

    Raises:
        FileFormatError: a file that is truncated or holds something else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileFormatError(
            f"{path.name}, which cannot be read ({error})",
            expected="one file for each image of CP2K's list",
            suggestion="copy all files of the run: PROJECT-KS_SPIN_*_R_*.csr, PROJECT-S_SPIN_*_R_*.csr and the log",
        ) from error
    rows, columns, values = _binary(path, data) if data[:4] == _LENGTH.to_bytes(4, "little") else _text(path, data)
    size = int(max(rows.max(initial=0), columns.max(initial=0))) if n_orb is None else n_orb
    if len(rows) and (min(rows.min(), columns.min()) < 1 or max(rows.max(), columns.max()) > size):
        raise FileFormatError(
            f"{path.name} with orbitals {min(rows.min(), columns.min())} to {max(rows.max(), columns.max())}",
            expected=f"orbitals 1 to {size}",
            suggestion="check that the file and the log belong to one run",
        )
    return scipy.sparse.coo_array((values, (rows - 1, columns - 1)), shape=(size, size)).tocsr()


def _binary(path: Path, data: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    whole = len(data) // _RECORD.itemsize
    records = np.frombuffer(data, dtype=_RECORD, count=whole)
    if len(data) % _RECORD.itemsize or np.any(records["head"] != _LENGTH) or np.any(records["tail"] != _LENGTH):
        raise _damaged(path, f"{len(data)} bytes that are no sequence of {_RECORD.itemsize}-byte records")
    return records["row"].astype(np.int64), records["column"].astype(np.int64), records["value"].astype(np.float64)


def _text(path: Path, data: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    try:
        words = data.decode("ascii").split()
        if len(words) % 3 or (data and not data.endswith(b"\n")):
            raise _damaged(path, "a last line that is cut off")
        table = np.array(words, dtype=np.float64).reshape(-1, 3)
    except (UnicodeDecodeError, ValueError) as error:
        raise _damaged(path, f"{error}") from error
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2]


def _damaged(path: Path, what: str) -> FileFormatError:
    return FileFormatError(
        f"{path.name}: {what}",
        expected="row, column and value of each element, as CP2K writes them",
        suggestion="copy the file again, or let CP2K write it again",
    )


def images_from_log(text: str, quantity: str = "KS") -> npt.NDArray[np.int64]:
    """R of each image number, (n_images, 3), from CP2K's output; the last list if there are several.

    Args:
        text: the log.
        quantity: ``KS`` or ``S``; the two lists may differ.

    Raises:
        FileFormatError: no list, or one that is cut off.
    """
    found = list(re.finditer(rf"^ *{quantity} CSR write\| +(\d+) periodic images *\n.*\n", text, re.MULTILINE))
    if not found:
        raise FileFormatError(
            f"a CP2K log without a list of images for {quantity}",
            expected=f"'{quantity} CSR write|  … periodic images'",
            suggestion=f"run CP2K with k-points and &PRINT &{quantity}_CSR_WRITE REAL_SPACE T in &DFT",
        )
    n_images = int(found[-1][1])
    table = [line.split() for line in text[found[-1].end() :].splitlines()[:n_images]]
    try:
        numbers = np.array(table, dtype=np.int64)
    except ValueError:
        numbers = np.zeros((0, 4), dtype=np.int64)
    if numbers.shape != (n_images, 4) or not np.array_equal(numbers[:, 0], np.arange(1, n_images + 1)):
        raise FileFormatError(
            f"a list of images for {quantity} that is cut off",
            expected=f"{n_images} lines: number, R_x, R_y, R_z",
            suggestion="take the complete log of the run",
        )
    return numbers[:, 1:]


def read_cp2k_operators(
    folder: Path, project: str, log: str, n_orbitals: npt.NDArray[np.int64]
) -> tuple[BlockOperator, BlockOperator]:
    """H [eV] and S of a run over one pair list, in our convention.

    Images count from atoms as CP2K wraps them: ``images.moved_to_images`` gives the positions that belong to them.

    Args:
        folder: where the CSR files lie.
        project: CP2K's project name.
        log: text of the output.
        n_orbitals: (n_atoms,).

    Raises:
        FileFormatError: a log without image lists, a missing or damaged file.
    """
    n_orb = int(n_orbitals.sum())
    steps = {path.stem.rpartition("_")[2] for path in folder.glob(f"{project}-KS_SPIN_1_R_1-1_*.csr")}
    if len(steps) > 1:
        raise FileFormatError(
            f"{folder.name} with matrices of {len(steps)} steps",
            expected="the matrices of one step, whose positions are those of the input",
            suggestion="run RUN_TYPE ENERGY for each structure, in a folder of its own",
        )
    spins = [1, 2] if any(folder.glob(f"{project}-KS_SPIN_2_R_*.csr")) else [1]
    components = [_read_images(folder, project, "KS", spin, log, n_orb).scaled(HARTREE) for spin in spins]
    overlap = _read_images(folder, project, "S", 1, log, n_orb)
    both = block_operators(
        {
            "hamiltonian": ("collinear" if len(spins) == 2 else "none", components),
            "overlap": ("none", [overlap]),
        },
        np.asarray(n_orbitals, dtype=np.int64),
    )
    return both["hamiltonian"], both["overlap"]


def _read_images(folder: Path, project: str, quantity: str, spin: int, log: str, n_orb: int) -> Elements:
    images = images_from_log(log, quantity)
    paths = [folder / f"{project}-{quantity}_SPIN_{spin}_R_{k + 1}-1_0.csr" for k in range(len(images))]
    return Elements.of_matrices(images, [read_cp2k_csr(path, n_orb) for path in paths])
