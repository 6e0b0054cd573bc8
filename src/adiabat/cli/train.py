"""``adiabat train``: from a YAML configuration to a trained model."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from adiabat.cli.output_directory import check_output_directory
from adiabat.core.errors import ConfigError

_EXIT_BY_SIGNAL = {"SIGINT": 130, "SIGTERM": 143}
"""What a shell expects of a program that a signal ended: 128 + its number."""


def train(
    config: Annotated[Path, typer.Argument(help="YAML configuration; `adiabat schema` describes its keys.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run directory; by default the configuration's name.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the run directory.")] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Override one key: --set schedule.max_steps=100. Repeatable.")
    ] = None,
) -> None:
    """Train a model on any of energy, forces, stress and H.

    Ctrl-C ends a run after the current step with everything saved; the same command with --resume goes on.
    """
    settings = read_yaml(config)
    run_directory = output if output is not None else config.with_suffix("")
    check_output_directory(run_directory)

    from adiabat.training.config_parsing import parse_config, set_nested
    from adiabat.training.trainer import Trainer

    for assignment in assignments or []:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(
                f"--set {assignment}", expected="--set section.key=value", suggestion="write an equals sign"
            )
        set_nested(settings, key.strip(), _parse(value, f"--set {assignment}"))
    result = Trainer(parse_config(settings), run_directory).fit(resume=resume)
    if result.interrupted:
        raise typer.Exit(_EXIT_BY_SIGNAL[result.reason])


def read_yaml(
    path: Path,
    *,
    sections: str = "data, model, targets, optimizer, schedule and training",
    page: str = "docs/how-to/train.md",
    schema: str = "adiabat schema",
) -> dict[str, Any]:
    """Read a mapping.

    Args:
        path: the file.
        sections: what it may hold, for messages.
        page: of the documentation that begins with one.
        schema: command that lists its keys.

    Raises:
        ConfigError: no file, no YAML, or no mapping.
    """
    if not path.is_file():
        raise ConfigError(
            f"no file {path}",
            expected="a YAML configuration",
            suggestion=f"{page} begins with one; `{schema}` lists every key",
        )
    try:
        settings = _parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}, which is not UTF-8 text ({error.reason} at byte {error.start})",
            expected="a YAML configuration",
            suggestion="give the configuration, or save it as UTF-8",
        ) from error
    if not isinstance(settings, dict):
        raise ConfigError(
            f"{path}, which holds {'nothing' if settings is None else type(settings).__name__} instead of sections",
            expected=f"a YAML mapping with the sections {sections}",
            suggestion=f"`{schema}` prints every section and key",
        )
    return settings


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{where}, which is not YAML: {error}",
            expected="YAML without tags",
            suggestion="check the indentation and the quotes at that place",
        ) from error
