"""Trained models put together into one that knows how far it may be off."""

from collections.abc import Sequence
from typing import Literal

from adiabat.data.record import Record
from adiabat.models.model import Model
from adiabat.training.batches import Example, build_examples
from adiabat.training.setup import default_targets
from adiabat.uncertainty.ensemble import DeepEnsemble
from adiabat.uncertainty.interface import UncertainModel
from adiabat.uncertainty.last_layer_fit import LastLayerSettings, fit_last_layer
from adiabat.uncertainty.shallow import ShallowEnsemble

Method = Literal["ensemble", "shallow-ensemble", "last-layer", "linear"]


def training_examples(model: Model, records: Sequence[Record], source: str) -> list[Example]:
    """A training set with every label that the model has a head for.

    Args:
        model: that was trained on them.
        records: the training set.
        source: what an error message calls it.

    Raises:
        LabelError: nothing that the model predicts is labelled.
    """
    names = [f"frame {index} of {source}" for index in range(len(records))]
    return build_examples(records, model, default_targets(records, model.config), names)


def make_uncertain(
    method: Method, models: Sequence[Model], examples: Sequence[Example], settings: LastLayerSettings | None = None
) -> UncertainModel:
    """An uncertain model of trained ones.

    Args:
        method: an ensemble takes all models, the others the first.
        models: trained.
        examples: the first one's training set; ``last-layer`` and ``linear`` need it.
        settings: of these two.

    Raises:
        ModelError, LabelError: models or labels that do not suit the method.
    """
    if method == "ensemble":
        return DeepEnsemble(models)
    if method == "shallow-ensemble":
        return ShallowEnsemble(models[0])
    return fit_last_layer(models[0], examples, settings)
