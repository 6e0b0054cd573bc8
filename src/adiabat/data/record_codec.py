"""A record as bytes and back: safetensors for arrays, JSON in its metadata for everything else, never pickle."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from adiabat.core.errors import StoreError
from adiabat.core.fields import FIELDS
from adiabat.core.operators import BlockOperator
from adiabat.data.record import Provenance, Record
from adiabat.data.structure import Structure


def encode_record(record: Record) -> bytes:
    """Serialise a record.

    Operators that share one pair list (H, S and the density matrix of a molecule do) store that list once.

    Raises:
        StoreError: ``info`` or provenance holds something that is not plain JSON.
    """
    structure = record.structure
    arrays = {
        "atomic_numbers": structure.atomic_numbers.astype(np.int32),
        "positions": structure.positions,
        "cell": structure.cell,
        "pbc": np.asarray(structure.pbc, dtype=np.uint8),
    }
    layouts: list[BlockOperator] = []
    layout_of: dict[str, int] = {}
    operators: dict[str, dict[str, Any]] = {}
    for name, value in record.labels.items():
        if isinstance(value, BlockOperator):
            layout_of[name] = _find_or_add(layouts, value)
            arrays[f"label.{name}"] = _as_reals(value.values)
            if value.spin != "none" or np.iscomplexobj(value.values):
                operators[name] = {"spin": value.spin, "complex": bool(np.iscomplexobj(value.values))}
        else:
            arrays[f"label.{name}"] = value
    for index, operator in enumerate(layouts):
        arrays[f"layout{index}.pairs"] = operator.pairs.astype(np.int32)
        arrays[f"layout{index}.n_orbitals"] = operator.n_orbitals.astype(np.int32)
    header = {
        "charge": structure.charge,
        "spin": structure.spin,
        "info": dict(structure.info),
        "provenance": record.provenance.to_json(),
        "layouts": layout_of,
    }
    if operators:
        header["operators"] = operators
    try:
        text = json.dumps(header, sort_keys=True)
    except TypeError as error:
        raise StoreError(
            f"structure info or provenance that is not plain JSON ({error})",
            expected="text, numbers, lists and dictionaries",
            suggestion="convert arrays and objects before appending the record",
        ) from error
    contiguous = {key: np.ascontiguousarray(value).reshape(value.shape) for key, value in arrays.items()}
    return save(contiguous, metadata={"record": text})


def decode_record(data: bytes) -> Record:
    """Inverse of :func:`encode_record`.

    Raises:
        StoreError: the bytes are not a record.
    """
    try:
        arrays = load(data)
        header = read_header(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise StoreError(
            f"{len(data)} bytes that are not a record ({error})",
            expected="safetensors with a 'record' entry in its metadata",
            suggestion="the store is damaged; restore it from a copy",
        ) from error
    structure = Structure(
        atomic_numbers=arrays["atomic_numbers"].astype(np.int64),
        positions=arrays["positions"],
        cell=arrays["cell"],
        pbc=arrays["pbc"].astype(bool),
        charge=header["charge"],
        spin=header["spin"],
        info=MappingProxyType(header["info"]),
    )
    layout_of, operators = header["layouts"], header.get("operators", {})
    labels: dict[str, npt.NDArray[np.float64] | BlockOperator] = {}
    for name in FIELDS:
        value = arrays.get(f"label.{name}")
        if value is not None:
            is_operator = name in layout_of
            labels[name] = _operator(arrays, layout_of[name], value, operators.get(name, {})) if is_operator else value
    return Record(structure, labels, Provenance.from_json(header["provenance"]))


def read_header(data: bytes) -> dict[str, Any]:
    """Metadata of an encoded record without its arrays.

    Source: [safetensors_format] an 8-byte little-endian length, then JSON.
    """
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["record"])


def _find_or_add(layouts: list[BlockOperator], operator: BlockOperator) -> int:
    for index, known in enumerate(layouts):
        if np.array_equal(known.pairs, operator.pairs) and np.array_equal(known.n_orbitals, operator.n_orbitals):
            return index
    layouts.append(operator)
    return len(layouts) - 1


def _as_reals(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Complex numbers as pairs of reals, real part first; reals as they are."""
    if not np.iscomplexobj(values):
        return values
    return np.ascontiguousarray(values, dtype=np.complex128).view(np.float64)


def _operator(
    arrays: Mapping[str, npt.NDArray[Any]], index: int, values: npt.NDArray[Any], kind: Mapping[str, Any]
) -> BlockOperator:
    pairs = arrays[f"layout{index}.pairs"].astype(np.int64)
    n_orbitals = arrays[f"layout{index}.n_orbitals"].astype(np.int64)
    sizes = n_orbitals[pairs[:, 3]] * n_orbitals[pairs[:, 4]]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    if kind.get("complex"):
        values = np.ascontiguousarray(values).view(np.complex128)
    return BlockOperator(pairs, offsets, values, n_orbitals, kind.get("spin", "none"))
