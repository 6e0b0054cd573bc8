"""Labelled crystals in one small file: H in steps of 1 µeV and one direction of each pair, S left to be computed.

Half a step is 0.02 µHa, far below what an SCF converges H to. A frame of two atoms takes 25 kB instead of 400.
"""

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import FileFormatError, LabelError
from adiabat.core.operators import BlockOperator
from adiabat.data.record import Labels, Provenance, Record
from adiabat.data.structure import Structure
from adiabat.physics.crystal_overlap import crystal_overlap
from adiabat.physics.gaussian_basis import GaussianBasis

_STEP: Final = 1e-6
"""eV."""

_VERSION: Final = 1
_PLAIN: Final = ("energy", "forces", "stress", "fermi_level")


def pack_crystals(records: Sequence[Record], path: Path) -> None:
    """Write records to one compressed file.

    Args:
        records: with H of no spin, and the basis functions in their settings.
        path: the file, name.npz.

    Raises:
        LabelError: a record without H, or without its basis functions.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    for index, record in enumerate(records):
        hamiltonian = record.labels.get("hamiltonian")
        if not isinstance(hamiltonian, BlockOperator) or hamiltonian.spin != "none":
            raise LabelError(
                f"record {index} ({record.structure.formula}) without a Hamiltonian of one spin component",
                expected="H without spin in every record",
                suggestion="label with --engine cp2k and the default targets",
            )
        _basis_of(record.provenance)
        structure = record.structure
        geometry = {
            "numbers": structure.atomic_numbers.astype(np.int16),
            "positions": structure.positions,
            "cell": structure.cell,
            "pbc": structure.pbc,
        }
        labels = {name: np.asarray(record.labels[name]) for name in _PLAIN if name in record.labels}
        pairs, planes = _half(hamiltonian)
        note = {"provenance": record.provenance.to_json(), "info": dict(structure.info)}
        parts = {**geometry, **labels, "pairs": pairs, "planes": planes, "note": np.array(json.dumps(note))}
        arrays |= {f"{index}/{name}": value for name, value in parts.items()}
    arrays["version"] = np.array(_VERSION)
    arrays["count"] = np.array(len(records))
    np.savez_compressed(path, allow_pickle=False, **arrays)


def unpack_crystals(path: Path) -> list[Record]:
    """Read them back, S computed.

    Raises:
        FileFormatError: the file is damaged or of another version.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if int(file["version"]) != _VERSION:
                raise _damaged(path, f"version {int(file['version'])}")
            return [_record(file, f"{index}/") for index in range(int(file["count"]))]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, str(error)) from error


def _record(file: Mapping[str, npt.NDArray[Any]], prefix: str) -> Record:
    note = json.loads(str(file[prefix + "note"]))
    provenance = Provenance.from_json(note["provenance"])
    structure = Structure(
        file[prefix + "numbers"].astype(np.int64),
        file[prefix + "positions"],
        file[prefix + "cell"],
        file[prefix + "pbc"],
        info=note["info"],
    )
    basis = _basis_of(provenance)
    n_orbitals = basis.orbital_basis.n_orbitals(structure.atomic_numbers)
    hamiltonian = _whole(file[prefix + "pairs"].astype(np.int64), file[prefix + "planes"], n_orbitals)
    labels: dict[str, npt.NDArray[np.float64] | BlockOperator] = {
        name: file[prefix + name] for name in _PLAIN if prefix + name in file
    }
    labels |= {"hamiltonian": hamiltonian, "overlap": crystal_overlap(structure, basis, hamiltonian.pairs)}
    complete: Labels = labels
    return Record(structure, complete, provenance)


def _half(operator: BlockOperator) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Of each pair and its reverse the first, unless H rounds to nothing there; its values, byte by byte.

    The high bytes of neighboring values are alike, so they are laid side by side for the compression.
    """
    symmetric = operator.symmetrized()
    rows = np.arange(len(operator))
    steps = np.rint(symmetric.values / _STEP).astype("<i4")
    filled = np.maximum.reduceat(np.abs(steps), symmetric.offsets[:-1]) > 0
    kept = (rows <= operator.partners) & (filled | (rows == operator.partners))
    values = steps[np.repeat(kept, np.diff(symmetric.offsets))]
    return operator.pairs[kept].astype(np.int16), values.view(np.uint8).reshape(-1, 4).T.copy()


def _whole(
    pairs: npt.NDArray[np.int64], planes: npt.NDArray[np.uint8], n_orbitals: npt.NDArray[np.int64]
) -> BlockOperator:
    values = np.ascontiguousarray(planes.T).view("<i4").ravel() * _STEP
    sizes = n_orbitals[pairs[:, 3]] * n_orbitals[pairs[:, 4]]
    half = BlockOperator(pairs, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), values, n_orbitals)
    reverse = np.concatenate([-pairs[:, :3], pairs[:, 4:], pairs[:, 3:4]], axis=1)
    blocks = [block for _, block in half.blocks()]
    other = np.flatnonzero(np.any(reverse != pairs, axis=1))
    return BlockOperator.from_blocks(
        np.concatenate([pairs, reverse[other]]), [*blocks, *(blocks[row].T for row in other)], n_orbitals
    )


def _basis_of(provenance: Provenance) -> GaussianBasis:
    data = provenance.settings.get("gaussian_basis")
    if not isinstance(data, Mapping):
        raise LabelError(
            f"labels of {provenance.method} without their basis functions",
            expected="settings with 'gaussian_basis', from which S follows",
            suggestion="label with --engine cp2k or pyscf-crystal",
        )
    return GaussianBasis.from_json(data)


def _damaged(path: Path, why: str) -> FileFormatError:
    return FileFormatError(
        f"{path.name}, which cannot be read ({why})",
        expected=f"a file of packed crystals, version {_VERSION}",
        suggestion="install the package anew, or run scripts/make_crystal_demo_data.py",
    )
