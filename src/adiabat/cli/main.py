"""The ``adiabat`` command: a table of subcommands, imported only when called, and one way to report errors."""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from adiabat.core.errors import AdiabatError, FileFormatError

EXIT_USER_ERROR: Final = 1
EXIT_INTERRUPTED: Final = 130
"""What a shell expects of a program that was ended with Ctrl-C: 128 + SIGINT."""


@dataclass(frozen=True)
class LazyCommand:
    """A subcommand that is imported when it is called, so that ``adiabat --help`` need not load PyTorch.

    Attributes:
        module: where it is defined.
        attribute: its function, or its ``typer.Typer`` if it has subcommands of its own.
        summary: the line that stands in the overview.
    """

    module: str
    attribute: str
    summary: str


COMMANDS: Final[Mapping[str, LazyCommand]] = {
    "quickstart": LazyCommand("adiabat.cli.quickstart", "quickstart", "Run the whole chain on water, with a page."),
    "demo-crystal": LazyCommand(
        "adiabat.cli.demo_crystal", "demo_crystal", "Run the whole chain on a layer of hBN, with a page."
    ),
    "label": LazyCommand("adiabat.cli.label", "label", "Compute labels for structures with a reference engine."),
    "data": LazyCommand("adiabat.cli.data", "app", "Import, inspect, audit, split, subtract and export datasets."),
    "train": LazyCommand("adiabat.cli.train", "train", "Train a model on any of energy, forces, stress and H."),
    "evaluate": LazyCommand("adiabat.cli.evaluate", "evaluate", "Compare a model with labels it has not seen."),
    "campaign": LazyCommand("adiabat.cli.campaign", "app", "Learn actively: explore, select, label, retrain, test."),
    "uncertainty": LazyCommand(
        "adiabat.cli.uncertainty", "app", "Make a model that knows how far it may be off, and calibrate it."
    ),
    "md": LazyCommand("adiabat.cli.md", "md", "Run molecular dynamics, with electronic structure on request."),
    "bands": LazyCommand("adiabat.cli.bands", "bands", "Compute and draw bands; find the Fermi level and the gap."),
    "dos": LazyCommand("adiabat.cli.dos", "dos", "Compute and draw the density of states, projected on request."),
    "fermi": LazyCommand("adiabat.cli.fermi", "fermi", "Find the Fermi level and the gap of a crystal."),
    "model": LazyCommand("adiabat.cli.model", "app", "Look into a model file."),
    "schema": LazyCommand("adiabat.cli.schema", "schema", "Print the JSON Schema of a configuration."),
}


def load_command(name: str) -> TyperCommand | TyperGroup:
    """Import a subcommand and turn it into a command."""
    entry = COMMANDS[name]
    target = getattr(import_module(entry.module), entry.attribute)
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False)
        target.command(name)(function)
    command: Any = get_command(target)
    command.name = name
    _keep_brackets(command)
    return command


def _keep_brackets(command: Any) -> None:
    """Show units and defaults in square brackets, which Rich would take for its markup and swallow."""
    for part in (command, *command.params):
        if getattr(part, "help", None):
            part.help = escape(part.help)
    for subcommand in getattr(command, "commands", {}).values():
        _keep_brackets(subcommand)


class LazyGroup(TyperGroup):
    """A group that lists the table and imports the one command that is called."""

    def __init__(self, **attributes: Any) -> None:
        """Fill the group with a placeholder, name and summary, for each command of the table."""
        super().__init__(**attributes)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.summary))

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table, which is the order of a project."""
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the imported command in place of its placeholder."""
        if args and args[0] in COMMANDS:
            self.add_command(load_command(args[0]))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error of the user or the system ends in three parts and exit code 1, Ctrl-C in 130."""
        try:
            return super().invoke(ctx)
        except AdiabatError as error:
            if ctx.params["debug"]:
                raise
            print_error(error)
            raise typer.Exit(EXIT_USER_ERROR) from error
        except OSError as error:
            # A broken pipe is the reader's choice, and click ends quietly on it.
            if ctx.params["debug"] or error.errno == errno.EPIPE:
                raise
            print_error(_of_the_system(error))
            raise typer.Exit(EXIT_USER_ERROR) from error
        except KeyboardInterrupt as interrupt:
            Console(stderr=True).print("interrupted", style="bold red")
            raise typer.Exit(EXIT_INTERRUPTED) from interrupt


def _of_the_system(error: OSError) -> FileFormatError:
    """What the operating system refuses, wherever it was met: no such folder, no permission, a full disk."""
    place = f" {error.filename}" if error.filename else ""
    return FileFormatError(
        f"{error.strerror or error}{':' if place else ''}{place}",
        expected="paths that can be read and written, and room on the disk",
        suggestion="check the path, the permissions and the free space; --debug before the command shows where",
    )


def print_error(error: AdiabatError) -> None:
    """Write what was got, what was expected and what to try to stderr."""
    message = Text()
    for label, style, text in (
        ("got", "bold red", error.got),
        ("expected", "bold", error.expected),
        ("try", "bold green", error.suggestion),
    ):
        message.append(f"{label}: ", style=style).append(f"{text}\n")
    # Long paths and commands stay in one piece, so that they can be copied.
    Console(stderr=True, soft_wrap=True).print(message, end="")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adiabat {metadata.version('adiabat')}")
        raise typer.Exit


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def adiabat(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """One model for the potential-energy surface and the electronic Hamiltonian."""


def main() -> None:
    """Entry point of the ``adiabat`` script."""
    app(prog_name="adiabat")
