"""From plain mappings to a checked configuration, with errors that name the nearest key."""

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from adiabat.core.errors import ConfigError, nearest
from adiabat.training.config import TrainConfig

Config = TypeVar("Config", bound=BaseModel)


def parse_config(data: Mapping[str, Any]) -> TrainConfig:
    """Check a nested mapping, as read from YAML.

    Raises:
        ConfigError: an unknown key (the nearest valid one is named), a value out of range, or a missing section.
    """
    return parse_as(TrainConfig, data, schema="adiabat schema")


def parse_as(kind: type[Config], data: Mapping[str, Any], *, schema: str) -> Config:
    """Check a nested mapping against any configuration.

    Args:
        kind: the configuration.
        data: as read from YAML.
        schema: command that prints its keys.

    Raises:
        ConfigError: as for :func:`parse_config`.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise _config_error(error, kind, schema) from error


def set_nested(data: dict[str, Any], assignment: str, value: Any) -> None:
    """Apply one override such as ``training.batch_size`` to a nested mapping, in place.

    Raises:
        ConfigError: the path leads through something that is not a section.
    """
    *sections, key = assignment.split(".")
    place: Any = data
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise ConfigError(
                f"the override {assignment!r}, where {section!r} is a value and not a section",
                expected="section.key=value",
                suggestion=f"remove {section!r} from the file, or set it as a whole",
            )
    place[key] = value


def _config_error(error: ValidationError, kind: type[BaseModel], schema: str) -> ConfigError:
    """Turn the first complaint, unknown keys before all others, into our three parts."""
    complaints = sorted(error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden")
    first = complaints[0]
    location = [str(part) for part in first["loc"]]
    where = ".".join(location) or "the configuration"
    if first["type"] == "extra_forbidden":
        section = ".".join(location[:-1])
        known = _fields_at(kind, location[:-1])
        hint = nearest(location[-1], known)
        return ConfigError(
            f"an unknown key {location[-1]!r}" + (f" in section {section!r}" if section else ""),
            expected=f"one of {', '.join(sorted(known))}",
            suggestion=hint,
        )
    if first["type"] == "missing":
        return ConfigError(
            f"a configuration without {where!r}",
            expected="this key to be given",
            suggestion=f"add it; `{schema}` lists every key with its meaning",
        )
    return ConfigError(
        f"{where} = {first['input']!r}" if location else "settings that do not go together",
        expected=first["msg"].removeprefix("Value error, "),
        suggestion=f"correct the value; `{schema}` lists every key with its range",
    )


def _fields_at(section: type[BaseModel], path: Sequence[str]) -> set[str]:
    """Names of the keys of the section that a validation error's location points to."""
    sections = [section]
    for part in path:
        fields = [candidate.model_fields[part] for candidate in sections if part in candidate.model_fields]
        # A part that names no field is a list index or a union tag; it stays within the same candidates.
        sections = [found for field in fields for found in _sections_in(field.annotation)] or sections
    return {name for candidate in sections for name in candidate.model_fields}


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    """Every configuration section that an annotation can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, tuple, list) or get_args(annotation):
        return [found for argument in get_args(annotation) for found in _sections_in(argument)]
    return []
