"""Checkpoints: one safetensors file with JSON in its header, replaced atomically, never pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import FileFormatError, SchemaVersionError

SCHEMA_VERSION: Final = 1
"""Version of the layout of a checkpoint."""


def write_checkpoint(path: Path, groups: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Write named groups of tensors and a JSON state."""
    tensors = {
        # Buffers that modules share are copied apart: safetensors refuses tensors that overlap.
        f"{group}/{name}": value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for group, members in groups.items()
        for name, value in members.items()
    }
    metadata = {"format": "adiabat checkpoint", "schema_version": str(SCHEMA_VERSION), "state": json.dumps(state)}
    write_atomically(path, save(tensors, metadata))


def read_checkpoint(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read what :func:`write_checkpoint` wrote.

    Raises:
        FileFormatError: there is no file, or it is damaged or not a checkpoint.
        SchemaVersionError: it is of another version.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata)
            for key in file.keys():  # noqa: SIM118 - not a dict
                group, _, name = key.partition("/")
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    except (SafetensorError, FileNotFoundError) as error:
        raise FileFormatError(
            f"{path}, which cannot be read as a checkpoint: {error}",
            expected="checkpoint.safetensors of a training run",
            suggestion="give the run directory of a started run, or start it without --resume",
        ) from error
    return groups, json.loads(metadata["state"])


def _check_format(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != "adiabat checkpoint":
        raise FileFormatError(
            f"{path}, a safetensors file that is no checkpoint",
            expected="checkpoint.safetensors of a training run",
            suggestion="a model package cannot be resumed; give the run directory that it came from",
        )
    if metadata.get("schema_version") != str(SCHEMA_VERSION):
        raise SchemaVersionError(
            f"{path} with checkpoint version {metadata.get('schema_version')}",
            expected=f"version {SCHEMA_VERSION}",
            suggestion="finish the run with the version of adiabat that began it",
        )
