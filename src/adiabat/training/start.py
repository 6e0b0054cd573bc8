"""Start a run from a trained model: its sizes, its weights, and what of them stays as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adiabat.core.errors import ConfigError
from adiabat.models.config import ModelConfig
from adiabat.models.model import Model
from adiabat.models.package import inspect_model, load_model
from adiabat.models.warm_start import carry_over, refit_means
from adiabat.training.batches import Example
from adiabat.training.config import Part, TrainConfig


@dataclass(frozen=True)
class Start:
    """What was taken from another model.

    Attributes:
        notes: lines for the log.
        provenance: for the model package.
    """

    notes: tuple[str, ...]
    provenance: dict[str, Any]


def architecture_of(config: TrainConfig) -> ModelConfig:
    """The model section, its gaps filled with the sizes of the model that the run starts from.

    A head that the other model lacks may be had by naming it: its energy head is there by default.

    Raises:
        ConfigError: keys that do not go together.
        FileFormatError: ``training.init_model`` is no model package.
    """
    path = config.training.init_model
    if path is None:
        return config.model
    theirs = {key: value for key, value in inspect_model(path)["config"].items() if key != "energy"}
    given = config.model.model_dump(exclude_unset=True) if "model" in config.model_fields_set else {}
    return ModelConfig.model_validate({**theirs, **given})


def start_from(config: TrainConfig, model: Model, train: Sequence[Example], *, given: bool) -> Start | None:
    """Carry weights over from ``training.init_model``; None where there is none.

    Args:
        config: the run.
        model: with the statistics of the training set; changed in place.
        train: the training set.
        given: whether reference energies are given, and stay.

    Raises:
        ModelError: the trunks are of different sizes.
        FileFormatError: the file is no model package.
    """
    path = config.training.init_model
    if path is None:
        return None
    source = load_model(path, dtype=model.dtype)
    references = None if model.energy_head is None else model.energy_head.reference.clone()
    found = carry_over(source, model, config.training.init_parts)
    if given and model.energy_head is not None and references is not None:
        model.energy_head.reference.copy_(references)
    if config.training.init_references == "refit":
        energies = not given and "energy_head" in config.training.init_parts
        refit_means(model, train, energies=energies)
    forgotten = [symbol for symbol in source.symbols if symbol not in model.symbols]
    notes = [f"starts from {path}", *found.lines()]
    if forgotten:
        notes.append(f"forgotten, for no training frame has them: the elements {', '.join(forgotten)}")
    return Start(
        notes=tuple(notes),
        provenance={"file": Path(path).name, "content_hash": inspect_model(path)["content_hash"], **found.to_json()},
    )


def freeze(model: Model, parts: Sequence[Part]) -> None:
    """Let the weights of some parts stay as they are.

    Raises:
        ConfigError: the model has no such part, or nothing is left to train.
    """
    for part in parts:
        module = getattr(model, part)
        if module is None:
            raise ConfigError(
                f"training.freeze: {part}, for a model without one",
                expected="parts that the targets of this run train",
                suggestion=f"take {part} out of training.freeze",
            )
        module.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            f"training.freeze: {', '.join(parts)}, which leaves nothing to train",
            expected="at least one part that is trained",
            suggestion="freeze the trunk alone, or nothing",
        )
