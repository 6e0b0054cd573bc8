"""Whether a configuration may take the place of the one that a campaign was made or last run with."""

import json
from collections.abc import Mapping
from typing import Any

from adiabat.campaigns.active.config import FIXED, CampaignConfig
from adiabat.campaigns.active.database import Database
from adiabat.campaigns.active.events import log_event
from adiabat.campaigns.active.label_settings import check_labelling
from adiabat.campaigns.active.structures import decode_structure
from adiabat.core.errors import ConfigError


def accept_config(database: Database, config: CampaignConfig | None) -> CampaignConfig:
    """The configuration to run with: the stored one, or another one that may follow it and is stored then.

    Raises:
        ConfigError: a key differs that may not.
    """
    row = database.row("SELECT value FROM meta WHERE name = 'config'")
    assert row is not None
    before = CampaignConfig.model_validate_json(row["value"])
    if config is None:
        return before
    old, new = (_flat(item.model_dump(mode="json")) for item in (before, config))
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    refused = [key for key in changed if any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED)]
    if refused:
        key = refused[0]
        raise ConfigError(
            f"{key} = {new.get(key)}, which was {old.get(key)} when the campaign was made",
            expected=f"{', '.join(FIXED)} as they were; everything else may change between runs",
            suggestion="put it back, or make another campaign; `initial.labelled` can take over this one's labels, "
            "data/train.lmdb",
        )
    if changed:
        start = database.row("SELECT structure FROM starts ORDER BY number LIMIT 1")
        assert start is not None
        check_labelling(config.label, decode_structure(start["structure"]))
        with database.transaction():
            database.execute("UPDATE meta SET value = ? WHERE name = 'config'", config.model_dump_json())
            log_event(database, "configuration", "changed: " + ", ".join(changed))
    return config


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Leaves by their dotted key, as text."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(value, sort_keys=True)
    return flat
