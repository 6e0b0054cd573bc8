"""Model files of either kind on the command line: a plain model, or one that knows how far it may be off."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from adiabat.models.model import Model
    from adiabat.uncertainty.interface import UncertainModel


def load_model_file(path: Path, device: "torch.device") -> "Model | UncertainModel":
    """Read a model of either kind, onto a device.

    Raises:
        FileFormatError, SchemaVersionError: see ``uncertainty.package.load_any_model``.
    """
    from adiabat.uncertainty.interface import UncertainModel
    from adiabat.uncertainty.package import load_any_model

    model = load_any_model(path)
    if not isinstance(model, UncertainModel):
        return model.to(device)
    for part in (model.model, *model.members):
        part.to(device)
    return model


def inspect_model_file(path: Path) -> dict[str, Any]:
    """What a file of either kind says of itself; that of an uncertain model has a ``method``."""
    from adiabat.core.tensor_file import kind_of_tensor_file
    from adiabat.models.package import inspect_model
    from adiabat.uncertainty.package import inspect_uncertain_model

    if kind_of_tensor_file(path) == "adiabat uncertain model":
        return inspect_uncertain_model(path)
    return inspect_model(path)
