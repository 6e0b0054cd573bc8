"""Checkpoints of a training run: named groups of tensors and a JSON state in one file, replaced atomically."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from adiabat.core.tensor_file import TensorFile

SCHEMA_VERSION: Final = 1
"""Version of the layout of a checkpoint."""

_FILE: Final = TensorFile(
    kind="adiabat checkpoint",
    schema_version=SCHEMA_VERSION,
    expected="checkpoint.safetensors of a training run",
    confusion="a model package cannot be resumed; give the run directory that it came from",
    remedy="give the run directory of a started run, or start it without --resume",
    other_version="finish the run with the version of adiabat that began it",
)


def write_checkpoint(path: Path, groups: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Write named groups of tensors and a JSON state."""
    tensors = {
        # Buffers that modules share are copied apart: safetensors refuses tensors that overlap.
        f"{group}/{name}": value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for group, members in groups.items()
        for name, value in members.items()
    }
    _FILE.write(path, tensors, {"state": json.dumps(state)})


def read_checkpoint(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read what :func:`write_checkpoint` wrote.

    Raises:
        FileFormatError: there is no file, or it is damaged or not a checkpoint.
        SchemaVersionError: it is of another version.
    """
    tensors, header = _FILE.read(path)
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = value
    return groups, json.loads(header["state"])
