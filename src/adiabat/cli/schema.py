"""``adiabat schema``: the JSON Schema of a training configuration, for editors and for reading."""

import json

import typer


def schema() -> None:
    """Print the JSON Schema of a training configuration: every key with its meaning, range and default."""
    from adiabat.training.config import TrainConfig

    typer.echo(json.dumps(TrainConfig.model_json_schema(), indent=2, ensure_ascii=False))
