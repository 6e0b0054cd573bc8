"""With what settings each attempt at a label is made, and that safer ones do not change its numbers."""

from collections.abc import Mapping
from typing import Any, Final

from adiabat.campaigns.active.config import LabelConfig
from adiabat.core.errors import ConfigError, EngineError, LabelError, MissingExtraError
from adiabat.core.fields import field
from adiabat.data.structure import Structure
from adiabat.engines.base import Engine
from adiabat.engines.registry import create_engine

SAFER: Final[Mapping[str, tuple[Mapping[str, Any], ...]]] = {
    "pyscf": (
        {"level_shift": 5.0, "max_cycles": 200},
        {"level_shift": 5.0, "damping": 0.3, "max_cycles": 400, "coarse_grid_level": None},
        {"second_order": True, "max_cycles": 200},
    ),
    "pyscf-crystal": ({"max_cycles": 200},),
    "cp2k": ({"mixing": 0.2, "max_cycles": 200}, {"mixing": 0.05, "max_cycles": 500}),
    "cp2k-gfn1": ({"mixing": 0.2, "max_cycles": 200}, {"mixing": 0.05, "max_cycles": 500}),
    "gfn1": ({"max_cycles": 1000},),
    "gfn2": ({"max_cycles": 1000},),
}
"""What is tried, in order, where ``label.retries`` does not say."""


def retries_of(config: LabelConfig) -> tuple[Mapping[str, Any], ...]:
    """Settings of the attempts after the first."""
    return config.retries if config.retries is not None else SAFER.get(config.engine, ())


def n_attempts(config: LabelConfig) -> int:
    """Attempts before a structure is set aside."""
    return config.max_attempts if config.max_attempts is not None else 1 + len(retries_of(config))


def options_of(config: LabelConfig, attempt: int) -> dict[str, Any]:
    """Engine settings of an attempt, counted from 0; the last retry serves all that follow."""
    retries = retries_of(config)
    return {**config.options, **(retries[min(attempt, len(retries)) - 1] if attempt and retries else {})}


def engine_here(config: LabelConfig) -> Engine | None:
    """The engine of the first attempt; None if this machine does not have it, though its workers may.

    Raises:
        ConfigError: no such engine, or an option that it does not have.
    """
    try:
        return create_engine(config.engine, **config.options)
    except (MissingExtraError, EngineError, ImportError):
        return None


def check_labelling(config: LabelConfig, structure: Structure) -> None:
    """Refuse, before any work, an engine's options, targets and retries that cannot be meant.

    Raises:
        ConfigError: an option that the engine does not have, or a retry that would change the numbers.
        LabelError, FieldError: a target that it does not give.
    """
    for target in config.targets:
        field(target)
    engine = engine_here(config)
    if engine is None:
        return
    engine.check([structure], config.targets)
    expected = engine.provenance(structure).settings_hash
    for number, retry in enumerate(retries_of(config), start=1):
        other = create_engine(config.engine, **{**config.options, **retry})
        if other.provenance(structure).settings_hash != expected:
            raise ConfigError(
                f"retry {number} of label.retries, {dict(retry)}, which changes the numbers",
                expected="settings that change how a calculation converges, so that all labels stay comparable",
                suggestion=f"for instance {[dict(safer) for safer in SAFER.get(config.engine, ())] or 'no retries'}",
            )


def check_same_method(engine: Engine | None, config: LabelConfig, records: Mapping[str, Any]) -> None:
    """Refuse labels that are to be taken over but are of another method, or lack a target.

    Args:
        engine: of the campaign; None if it is not installed here, and nothing is compared then.
        config: of the labels.
        records: by a name for messages.

    Raises:
        LabelError: the first that does not fit.
    """
    for name, record in records.items():
        missing = sorted(set(config.targets) - set(record.labels))
        if missing:
            raise LabelError(
                f"{name} without {', '.join(missing)}",
                expected=f"every target of the campaign: {', '.join(config.targets)}",
                suggestion="label these structures again, or ask for fewer targets",
            )
        if engine is None:
            continue
        ours = engine.provenance(record.structure)
        if ours.settings_hash != record.provenance.settings_hash:
            raise LabelError(
                f"{name}, labelled by {record.provenance.code} {record.provenance.method!r} with other settings",
                expected=f"labels of {ours.code} {ours.method!r} with the settings of the campaign's engine",
                suggestion="label them with that engine, or, if you know that the method is the same, set "
                "initial.same_method: true",
            )
