"""Structures as bytes, and when two labels of one structure say the same."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adiabat.core.operators import BlockOperator
from adiabat.data.record import Provenance, Record
from adiabat.data.record_codec import decode_record, encode_record
from adiabat.data.structure import Structure

_NOBODY = Provenance(code="none")


def encode_structure(structure: Structure) -> bytes:
    """A structure as a record without labels."""
    return encode_record(Record(structure, {}, _NOBODY))


def decode_structure(data: bytes) -> Structure:
    """Inverse of :func:`encode_structure`."""
    return decode_record(data).structure


def job_key(structure: Structure, engine: str, options: Mapping[str, Any], targets: Sequence[str]) -> str:
    """Identity of a job: the structure and the engine's settings.

    Unlike ``Record.key`` it can be told where the engine is not installed.
    """
    text = json.dumps([structure.content_hash, engine, options, sorted(targets)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def largest_difference(first: Record, second: Record) -> tuple[str, float]:
    """Of two records of one structure, the label that differs most, and the largest difference of its numbers.

    A label that only one of them has is not compared; one of another shape differs without bound.
    """
    worst, largest = "", 0.0
    for name in sorted(set(first.labels) & set(second.labels)):
        ours, theirs = (_numbers(record.labels[name]) for record in (first, second))
        difference = float(np.abs(ours - theirs).max(initial=0.0)) if ours.shape == theirs.shape else np.inf
        if difference > largest:
            worst, largest = name, difference
    return worst, largest


def _numbers(label: Any) -> Any:
    return label.values if isinstance(label, BlockOperator) else np.asarray(label)
