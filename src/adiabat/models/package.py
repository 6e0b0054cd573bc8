"""A model on disk: one safetensors file with JSON in its header. No pickle, so loading runs no code.

The header holds the schema version, the configuration, the elements, the Hamiltonian's level of theory, where the
weights come from, and a SHA-256 of all of it and of the weights.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import ValidationError
from torch import Tensor

import adiabat
from adiabat.core.errors import FileFormatError
from adiabat.core.tensor_file import TensorFile
from adiabat.models.config import ModelConfig, OperatorReference
from adiabat.models.model import Model, build_model

SCHEMA_VERSION: Final = 1
"""Version of the layout of a model package."""

_FILE: Final = TensorFile(
    kind="adiabat model",
    schema_version=SCHEMA_VERSION,
    expected="a model package, model.safetensors of a training run",
    confusion="give the model file, not a checkpoint",
    remedy="check the path, or copy the file again",
    other_version="load it with the adiabat version that wrote it, or train again",
)


def save_model(model: Model, path: str | Path, provenance: Mapping[str, Any]) -> None:
    """Write a model package, atomically.

    Args:
        model: its weights are stored in their own precision.
        path: a ``.safetensors`` file.
        provenance: where the weights come from, as plain JSON values.
    """
    text = json.dumps({**describe(model), "provenance": dict(provenance)}, sort_keys=True)
    tensors = weights_of(model)
    _FILE.write(Path(path), tensors, {"model": text, "content_hash": content_hash(text, tensors)})


def describe(model: Model) -> dict[str, Any]:
    """What a model is, apart from its weights, as plain JSON values."""
    return {
        "config": model.config.model_dump(mode="json"),
        "atomic_numbers": list(model.atomic_numbers),
        "reference": model.references.model_dump(mode="json") if model.references else None,
        "dtype": str(model.dtype).removeprefix("torch."),
        "adiabat_version": adiabat.__version__,
    }


def weights_of(model: Model) -> dict[str, Tensor]:
    """Its weights by name, as a file takes them."""
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}


def load_model(path: str | Path, *, dtype: torch.dtype | None = None) -> Model:
    """Read a model package, ready for inference.

    Args:
        path: a ``.safetensors`` file that :func:`save_model` wrote.
        dtype: precision to compute in; that of training if not given.

    Raises:
        FileFormatError: there is no such file, or it is damaged or no model package.
        SchemaVersionError: it was written under another version of the format.
    """
    path = Path(path)
    header, tensors = _read(path)
    return rebuild(json.loads(header["model"]), tensors, path, dtype=dtype)


def rebuild(
    description: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path, *, dtype: torch.dtype | None = None
) -> Model:
    """The model that :func:`describe` and :func:`weights_of` were taken from, ready for inference.

    Args:
        description: of the model.
        tensors: its weights.
        path: the file that they are from, for errors.
        dtype: as of :func:`load_model`.

    Raises:
        FileFormatError: they do not fit each other, or this version.
    """
    try:
        config = ModelConfig.model_validate(description["config"])
        reference = OperatorReference.model_validate(description["reference"]) if description["reference"] else None
    except ValidationError as error:
        raise FileFormatError(
            f"{path} with a configuration that this version does not know: {error.errors()[0]['loc']}",
            expected=f"a model of schema version {SCHEMA_VERSION}",
            suggestion=f"load it with adiabat {description['adiabat_version']}",
        ) from error
    precision = dtype or getattr(torch, description["dtype"])
    model = build_model(config, description["atomic_numbers"], reference, dtype=precision)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:  # names or shapes
        raise FileFormatError(
            f"{path}, whose weights do not fit its own configuration",
            expected="a model package as it was written",
            suggestion="copy the file again, or load it with the adiabat version that wrote it",
        ) from error
    return model.eval()


def inspect_model(path: str | Path) -> dict[str, Any]:
    """What a model package says of itself, without building the model.

    Returns: ``schema_version``, ``content_hash``, ``n_values``, ``bytes``, and the header's ``config``,
        ``atomic_numbers``, ``reference``, ``dtype``, ``adiabat_version`` and ``provenance``.

    Raises:
        FileFormatError, SchemaVersionError: see :func:`load_model`.
    """
    path = Path(path)
    header, tensors = _read(path)
    return {
        "schema_version": int(header["schema_version"]),
        "content_hash": header["content_hash"],
        "n_values": sum(value.numel() for value in tensors.values()),
        "bytes": path.stat().st_size,
        **json.loads(header["model"]),
    }


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    tensors, header = _FILE.read(path)
    if header.get("content_hash") != content_hash(header.get("model", ""), tensors):
        raise FileFormatError(
            f"{path}, whose content does not match its hash",
            expected="a model package as it was written",
            suggestion="copy the file again; it was changed or damaged",
        )
    return header, tensors


def content_hash(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a header and of all tensors, in the order of their names."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
