"""An uncertain model on disk: one safetensors file with JSON in its header, whatever the method.

It holds what the method needs (all members, or one model and the factors of its posteriors), the calibration, what the
training set's atoms look like, where it comes from, and a SHA-256 of everything. No pickle.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import ValidationError
from torch import Tensor

import adiabat
from adiabat.core.errors import FileFormatError, ModelError
from adiabat.core.tensor_file import TensorFile, kind_of_tensor_file
from adiabat.models.model import Model
from adiabat.models.package import content_hash, describe, inspect_model, load_model, rebuild, weights_of
from adiabat.models.posterior import Posterior
from adiabat.uncertainty.calibrated import Calibrated, uncalibrated
from adiabat.uncertainty.calibration import Calibration
from adiabat.uncertainty.ensemble import DeepEnsemble
from adiabat.uncertainty.interface import UncertainModel
from adiabat.uncertainty.last_layer import LastLayer
from adiabat.uncertainty.operator_posterior import KindPosterior, OperatorPosterior
from adiabat.uncertainty.out_of_distribution import FeatureReference
from adiabat.uncertainty.shallow import ShallowEnsemble

UNCERTAIN_SCHEMA_VERSION: Final = 1
"""Version of the layout of an uncertain model's file."""

_FILE: Final = TensorFile(
    kind="adiabat uncertain model",
    schema_version=UNCERTAIN_SCHEMA_VERSION,
    expected="an uncertain model, as save_uncertain_model writes it",
    confusion="a plain model is loaded by load_model, and either kind by load_any_model",
    remedy="check the path, or copy the file again",
    other_version="load it with the adiabat version that wrote it, or make it again from its models",
)


def save_uncertain_model(uncertain: UncertainModel, path: str | Path, provenance: Mapping[str, Any]) -> None:
    """Write an uncertain model, atomically.

    Args:
        uncertain: of any method of this package, calibrated or not.
        path: a ``.safetensors`` file.
        provenance: where it comes from, as plain JSON values.

    Raises:
        ModelError: a method of somebody else's.
    """
    raw = uncalibrated(uncertain)
    models, tensors, settings = _parts(raw)
    for index, model in enumerate(models):
        tensors |= _prefixed(f"model.{index}", weights_of(model))
    header: dict[str, Any] = {
        "method": raw.method,
        "models": [describe(model) for model in models],
        "settings": settings,
        "calibration": uncertain.calibration.to_json(),
        "adiabat_version": adiabat.__version__,
        "provenance": dict(provenance),
    }
    if raw.out_of_distribution is not None:
        of_reference, header["out_of_distribution"] = raw.out_of_distribution.state()
        tensors |= _prefixed("out_of_distribution", of_reference)
    text = json.dumps(header, sort_keys=True)
    _FILE.write(Path(path), tensors, {"uncertain_model": text, "content_hash": content_hash(text, tensors)})


def load_uncertain_model(path: str | Path, *, dtype: torch.dtype | None = None) -> UncertainModel:
    """Read an uncertain model, with its calibration if it has one.

    Args:
        path: a ``.safetensors`` file that :func:`save_uncertain_model` wrote.
        dtype: precision to compute in; that of training if not given.

    Raises:
        FileFormatError: there is no such file, or it is damaged or no uncertain model.
        SchemaVersionError: it was written under another version of the format.
    """
    path = Path(path)
    header, tensors = _read(path)
    models = [
        rebuild(described, _below(f"model.{index}", tensors), path, dtype=dtype)
        for index, described in enumerate(header["models"])
    ]
    try:
        raw = _assembled(header, models, tensors)
        calibration = Calibration.from_json(header["calibration"])
    except (KeyError, ValidationError) as error:
        raise FileFormatError(
            f"{path} of method {header.get('method')!r}, a part of which is missing or unknown: {error}",
            expected=f"an uncertain model of schema version {UNCERTAIN_SCHEMA_VERSION}",
            suggestion=f"load it with adiabat {header.get('adiabat_version')}",
        ) from error
    if "out_of_distribution" in header:
        of_reference = _below("out_of_distribution", tensors)
        raw.out_of_distribution = FeatureReference.from_state(of_reference, header["out_of_distribution"])
    return raw if calibration == Calibration() else Calibrated(raw, calibration)


def load_any_model(path: str | Path, *, dtype: torch.dtype | None = None) -> Model | UncertainModel:
    """Read a model, or an uncertain model, whichever the file holds.

    Raises:
        FileFormatError, SchemaVersionError: see :func:`load_model` and :func:`load_uncertain_model`.
    """
    if kind_of_tensor_file(Path(path)) == _FILE.kind:
        return load_uncertain_model(path, dtype=dtype)
    return load_model(path, dtype=dtype)


def inspect_uncertain_model(path: str | Path) -> dict[str, Any]:
    """What an uncertain model's file says of itself, without building any model.

    Returns: ``method``, ``models``, ``settings``, ``calibration``, ``adiabat_version``, ``provenance``,
        ``schema_version``, ``content_hash``, ``n_values`` and ``bytes``, and ``out_of_distribution`` where it is known.

    Raises:
        FileFormatError, SchemaVersionError: see :func:`load_uncertain_model`.
    """
    header, tensors = _read(Path(path))
    n_values = sum(value.numel() for value in tensors.values())
    sizes = {"n_values": n_values, "bytes": Path(path).stat().st_size}
    digest = content_hash(json.dumps(header, sort_keys=True), tensors)
    return {"schema_version": UNCERTAIN_SCHEMA_VERSION, "content_hash": digest, **sizes, **header}


def inspect_any_model(path: str | Path) -> dict[str, Any]:
    """What a file of either kind says of itself; that of an uncertain model has a ``method``.

    Raises:
        FileFormatError, SchemaVersionError: see :func:`load_any_model`.
    """
    if kind_of_tensor_file(Path(path)) == _FILE.kind:
        return inspect_uncertain_model(path)
    return inspect_model(path)


def _parts(raw: UncertainModel) -> tuple[list[Model], dict[str, Tensor], dict[str, Any]]:
    """Models, further tensors, and settings of a method."""
    if isinstance(raw, DeepEnsemble):
        return list(raw.members), {}, {}
    if isinstance(raw, ShallowEnsemble):
        return [raw.model], {}, {}
    if isinstance(raw, LastLayer):
        tensors = {} if raw.posterior is None else {"energy.factor": _packed(raw.posterior)}
        if raw.operator is not None:
            for part, kinds in (("onsite", raw.operator.onsite), ("pair", raw.operator.pair)):
                for index, kind in enumerate(kinds):
                    tensors[f"{part}.{index}.factor"] = _packed(kind.posterior)
                    tensors[f"{part}.{index}.noise"] = kind.noise.cpu().contiguous()
        return [raw.model], tensors, {"n_draws": raw.n_draws, "seed": raw.seed, "summary": raw.summary}
    raise ModelError(
        f"an uncertain model of class {type(raw).__name__}, asked to be saved",
        expected="DeepEnsemble, ShallowEnsemble or LastLayer, calibrated or not",
        suggestion="save the models that it is made of",
    )


def _assembled(header: Mapping[str, Any], models: list[Model], tensors: Mapping[str, Tensor]) -> UncertainModel:
    """Inverse of :func:`_parts`."""
    method: Literal["ensemble", "shallow-ensemble", "last-layer", "linear"] = header["method"]
    if method == "ensemble":
        return DeepEnsemble(models)
    if method == "shallow-ensemble":
        return ShallowEnsemble(models[0])
    if method not in ("last-layer", "linear"):
        raise KeyError(method)
    energy = _unpacked(tensors["energy.factor"]) if "energy.factor" in tensors else None
    operator = None
    if "onsite.0.factor" in tensors:
        operator = OperatorPosterior(_kinds("onsite", tensors), _kinds("pair", tensors))
    settings = header["settings"]
    return LastLayer(
        models[0], energy, operator, n_draws=settings["n_draws"], seed=settings["seed"], method=method,
        summary=settings["summary"],
    )  # fmt: skip


def _kinds(part: str, tensors: Mapping[str, Tensor]) -> tuple[KindPosterior, ...]:
    n = sum(name.startswith(f"{part}.") and name.endswith(".noise") for name in tensors)
    return tuple(
        KindPosterior(_unpacked(tensors[f"{part}.{index}.factor"]), tensors[f"{part}.{index}.noise"])
        for index in range(n)
    )


def _packed(posterior: Posterior) -> Tensor:
    """The lower triangle of L, row by row."""
    rows, columns = torch.tril_indices(posterior.size, posterior.size)
    return posterior.factor.cpu()[rows, columns].contiguous()


def _unpacked(values: Tensor) -> Posterior:
    n = int((2 * len(values)) ** 0.5)
    rows, columns = torch.tril_indices(n, n)
    factor = torch.zeros(n, n, dtype=torch.float64)
    factor[rows, columns] = values
    return Posterior(factor)


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    tensors, header = _FILE.read(path)
    text = header.get("uncertain_model", "")
    if header.get("content_hash") != content_hash(text, tensors):
        raise FileFormatError(
            f"{path}, whose content does not match its hash",
            expected="an uncertain model as it was written",
            suggestion="copy the file again; it was changed or damaged",
        )
    return json.loads(text), tensors
