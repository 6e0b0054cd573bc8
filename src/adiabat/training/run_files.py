"""What stands in a run's directory, and whether a run there may be begun or resumed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adiabat.core.errors import ConfigError, TrainingError
from adiabat.training.config import TrainConfig

_MAY_CHANGE = ("schedule.max_steps", "schedule.max_minutes", "training.log_interval", "training.tensorboard")


@dataclass(frozen=True)
class RunFiles:
    """Paths of one run.

    Attributes:
        directory: the run's directory.
    """

    directory: Path

    @property
    def checkpoint(self) -> Path:
        """All that is needed to go on."""
        return self.directory / "checkpoint.safetensors"

    @property
    def model(self) -> Path:
        """The model package: the best so far while the run lasts, the result at its end."""
        return self.directory / "model.safetensors"

    @property
    def config(self) -> Path:
        """The configuration as it was understood, defaults filled in, as JSON (which is YAML too)."""
        return self.directory / "config.json"

    def check_unused(self) -> None:
        """Refuse to begin where a run is already.

        Raises:
            TrainingError: there is a run in it already.
        """
        if self.checkpoint.exists():
            raise TrainingError(
                f"{self.directory}, which holds a run already",
                expected="a new or empty directory for a new run",
                suggestion="go on with that run with --resume, or choose another directory with -o",
            )


def check_resumable(state: Mapping[str, Any], config: TrainConfig, data_hash: str) -> None:
    """Refuse to resume a run as something that it is not.

    Raises:
        ConfigError: the configuration differs in more than its length and its logging.
        TrainingError: the frames differ.
    """
    before, now = (_comparable(settings) for settings in (state["config"], config.model_dump(mode="json")))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        key = changed[0]
        raise ConfigError(
            f"{key} = {now.get(key)!r} on resuming, which was {before.get(key)!r} ({len(changed)} keys differ: "
            f"{', '.join(changed)})",
            expected=f"the configuration of the run, except {', '.join(_MAY_CHANGE)}",
            suggestion="restore the value, or begin a new run with another -o",
        )
    if state["data_hash"] != data_hash:
        raise TrainingError(
            f"training and validation frames with hash {data_hash[:12]}",
            expected=f"the frames that the run began with, hash {state['data_hash'][:12]}",
            suggestion="restore the stores and slices under data, or begin a new run with another -o",
        )


def _comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted key, without those that may change; frames are compared by their hash, not by their path."""
    flat = _flattened({name: section for name, section in settings.items() if name != "data"})
    return {key: value for key, value in flat.items() if key not in _MAY_CHANGE}


def _flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
