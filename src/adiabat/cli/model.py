"""``adiabat model``: look into a model file without loading it into PyTorch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def model() -> None:
    """Look into a model file."""


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Model file (.safetensors).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print what a model is: architecture, elements, outputs, training provenance and content hash."""
    from adiabat.models.package import inspect_model

    description = inspect_model(path)
    if as_json:
        typer.echo(json.dumps(description, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        _print_table(path, description)


def _print_table(path: Path, description: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(path.name), show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _flatten(description):
        table.add_row(Text(key), Text(value))
    Console().print(table)


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Turn nested mappings into (dotted key, text) rows."""
    if isinstance(value, Mapping) and value:
        return [row for key, item in value.items() for row in _flatten(item, f"{prefix}.{key}" if prefix else str(key))]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return [(prefix, text)]
