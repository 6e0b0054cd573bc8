import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from adiabat.cli import main
from adiabat.core.errors import StructureError

runner = CliRunner(env={"COLUMNS": "160"})


def failing(exception: BaseException) -> typer.Typer:
    """Stand-in for a subcommand's module."""
    command = typer.Typer(add_completion=False)

    @command.command()
    def run() -> None:
        raise exception

    return command


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> object:
    """Let the ``model`` command raise the given exception."""

    def install(exception: BaseException) -> None:
        monkeypatch.setattr("adiabat.cli.model.app", failing(exception))

    return install


USER_ERROR = StructureError("two [bold]atoms[/bold] at one place", expected="a distance", suggestion="remove one")


def test_help_lists_every_command_of_the_table() -> None:
    result = runner.invoke(main.app, ["--help"])
    assert result.exit_code == 0
    for name in main.COMMANDS:
        assert name in result.output


def test_version() -> None:
    result = runner.invoke(main.app, ["--version"])
    assert result.output.startswith("adiabat 0.")


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_of_the_table_imports_and_explains_itself(name: str) -> None:
    result = runner.invoke(main.app, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output


def test_help_keeps_square_brackets() -> None:
    result = runner.invoke(main.app, ["label", "--help"])
    assert "[default: pbe]" in result.output
    assert "[eV]" in result.output
    result = runner.invoke(main.app, ["data", "import", "--help"])
    assert "e*bohr" in result.output


def test_user_error_has_three_parts_and_exit_code_one(register) -> None:
    register(USER_ERROR)
    result = runner.invoke(main.app, ["model"])
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "got: two [bold]atoms[/bold] at one place",
        "expected: a distance",
        "try: remove one",
    ]
    assert result.stdout == ""


def test_debug_lets_the_traceback_through(register) -> None:
    register(USER_ERROR)
    result = runner.invoke(main.app, ["--debug", "model"])
    assert result.exception is USER_ERROR


def test_a_bug_is_not_dressed_up_as_a_user_error(register) -> None:
    register(ZeroDivisionError())
    result = runner.invoke(main.app, ["model"])
    assert isinstance(result.exception, ZeroDivisionError)
    assert "expected:" not in result.stderr


def test_interrupt_exits_with_130(register) -> None:
    register(KeyboardInterrupt())
    result = runner.invoke(main.app, ["model"])
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


def test_unknown_command_names_the_nearest() -> None:
    result = runner.invoke(main.app, ["modle"])
    assert result.exit_code == 2
    assert "model" in result.stderr


def test_help_loads_no_heavy_package() -> None:
    code = (
        "import sys\nfrom adiabat.cli.main import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'pyscf', 'ase', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_script_is_installed() -> None:
    script = Path(sys.executable).with_name("adiabat")
    result = subprocess.run([script, "--version"], check=True, capture_output=True, text=True)
    assert result.stdout.startswith("adiabat 0.")
