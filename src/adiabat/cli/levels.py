"""Levels of theory on the command line: which of a model's to predict, and what lies under a model of a difference."""

from pathlib import Path
from typing import TYPE_CHECKING

from adiabat.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from adiabat.engines.base import Engine
    from adiabat.models.model import Model
    from adiabat.simulation.baseline import Baseline
    from adiabat.uncertainty.interface import UncertainModel


def at_fidelity(model: "Model | UncertainModel", fidelity: str | None) -> "Model | UncertainModel":
    """A model that predicts at a level of theory; its target by default.

    Raises:
        ModelError: a level that it was not trained on.
        ConfigError: an uncertain model, which knows how far its target is off, and no other level.
    """
    from adiabat.models.model import Model

    if fidelity is None:
        return model
    if not isinstance(model, Model):
        raise ConfigError(
            f"--fidelity {fidelity} with an uncertain model",
            expected="a plain model; an uncertain one was fitted to the labels of its target",
            suggestion="give the file of the model itself",
        )
    return model.at_fidelity(fidelity)


def baseline_engine(text: str) -> "Engine":
    """Engine of a lower level of theory, named by its word or by a model file.

    Raises:
        ConfigError: neither an engine nor a file.
        AdiabatError: whatever the engine refuses.
    """
    from adiabat.campaigns.model_engine import ModelEngine
    from adiabat.engines.registry import ENGINES, create_engine
    from adiabat.models.package import inspect_model

    if Path(text).is_file():
        return ModelEngine(Path(text), inspect_model(text)["content_hash"])
    if text not in ENGINES:
        raise ConfigError(
            f"--baseline {text}",
            expected=f"a model file, or one of {', '.join(ENGINES)}",
            suggestion=nearest(text, ENGINES),
        )
    return create_engine(text)


def baseline_of(text: str | None) -> "Baseline | None":
    """The lower level under a model of a difference, for a simulation; None where there is none.

    Raises:
        ConfigError: neither an engine nor a file.
        AdiabatError: whatever the engine refuses.
    """
    from adiabat.engines.calculator import EngineCalculator
    from adiabat.models.package import inspect_model, load_model
    from adiabat.simulation.baseline import Baseline
    from adiabat.simulation.calculator import AdiabatCalculator

    if text is None:
        return None
    if Path(text).is_file():
        return Baseline(AdiabatCalculator(load_model(text)), str(inspect_model(text)["content_hash"]))
    engine = baseline_engine(text)
    return Baseline(EngineCalculator(engine), repr(engine))
