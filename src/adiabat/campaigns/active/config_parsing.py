"""From a plain mapping to a campaign's configuration, paths made absolute so that workers find them anywhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from adiabat.campaigns.active.config import CampaignConfig
from adiabat.training.config_parsing import parse_as

_PATHS: Final[Sequence[Sequence[str]]] = (
    ("structures",),
    ("initial", "labelled"),
    ("test", "store"),
    ("train", "isolated_atoms"),
    ("label", "options", "basis_file"),
)


def parse_campaign(data: Mapping[str, Any], folder: Path) -> CampaignConfig:
    """Check a nested mapping, as read from YAML.

    Args:
        data: the mapping.
        folder: what its relative paths are relative to.

    Raises:
        ConfigError: an unknown key (the nearest valid one is named), a value out of range, or a missing section.
    """
    absolute: Any = data
    for place in _PATHS:
        absolute = _with_absolute(absolute, place, folder)
    explore = absolute.get("explore")
    if isinstance(explore, Mapping) and isinstance(explore.get("sources"), (list, tuple)):
        sources = [
            _with_absolute(source, ("path",), folder) if isinstance(source, Mapping) else source
            for source in explore["sources"]
        ]
        absolute = {**absolute, "explore": {**explore, "sources": sources}}
    return parse_as(CampaignConfig, absolute, schema="adiabat schema campaign")


def _with_absolute(data: Any, place: Sequence[str], folder: Path) -> Any:
    """A copy in which the path at a place, or each of a list, is absolute; what is no path stays for the checks."""
    if not isinstance(data, Mapping) or place[0] not in data:
        return data
    value = data[place[0]]
    if len(place) > 1:
        changed = _with_absolute(value, place[1:], folder)
    elif isinstance(value, (list, tuple)):
        changed = [str((folder / item).absolute()) if isinstance(item, str) else item for item in value]
    else:
        changed = str((folder / value).absolute()) if isinstance(value, str) else value
    return {**data, place[0]: changed}
