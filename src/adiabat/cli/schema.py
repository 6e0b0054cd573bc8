"""``adiabat schema``: the JSON Schema of a configuration, for editors and for reading."""

import json
from enum import StrEnum
from typing import Annotated

import typer


class Kind(StrEnum):
    """Configurations that there are."""

    train = "train"
    campaign = "campaign"


def schema(
    kind: Annotated[
        Kind, typer.Argument(help="Which configuration: of `adiabat train`, or of a campaign.")
    ] = Kind.train,
) -> None:
    """Print the JSON Schema of a configuration: every key with its meaning, range and default."""
    from adiabat.campaigns.active.config import CampaignConfig
    from adiabat.training.config import TrainConfig

    model = CampaignConfig if kind is Kind.campaign else TrainConfig
    typer.echo(json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False))
