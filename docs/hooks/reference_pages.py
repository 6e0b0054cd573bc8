"""MkDocs hook: write the reference pages from the code, so that no page can forget a module or a command."""

import ast
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(?=<code>)")
SOURCE = Path(__file__).resolve().parents[2] / "src"
PACKAGES = (
    "core",
    "equivariant",
    "data",
    "physics",
    "electronic",
    "models",
    "engines",
    "training",
    "simulation",
    "campaigns",
    "reports",
)
"""Folders from the ground up, as in the architecture."""


def on_files(files: Files, config: Any) -> Files:
    """Add the command-line page, one page a package, and their index."""
    pages = {"reference/cli.md": _command_page(), "reference/python/index.md": _index_page()}
    pages |= {f"reference/python/{package}.md": _package_page(package) for package in PACKAGES}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Show the names in docstrings without the roles (``:class:``) that editors understand."""
    return ROLE.sub("", html)


def _modules(package: str) -> list[Path]:
    return sorted(path for path in (SOURCE / "adiabat" / package).rglob("*.py") if path.name != "__init__.py")


def _summary(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return docstring.splitlines()[0] if docstring else ""


def _index_page() -> str:
    lines = ["# Python", "", "Folders from the ground up; each imports only from those above it.", ""]
    for package in PACKAGES:
        lines += [f"## [{package}]({package}.md)", "", _summary(SOURCE / "adiabat" / package / "__init__.py"), ""]
        lines += [f"- `{path.stem}`: {_summary(path)}" for path in _modules(package)] + [""]
    return "\n".join(lines)


def _package_page(package: str) -> str:
    lines = [f"# adiabat.{package}", "", _summary(SOURCE / "adiabat" / package / "__init__.py"), ""]
    for path in _modules(package):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        lines += [f"::: {name}", ""]
    return "\n".join(lines)


def _command_page() -> str:
    from typer.testing import CliRunner

    from adiabat.cli.main import COMMANDS, app, load_command

    runner = CliRunner(env={"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"})

    def help_of(*words: str) -> list[str]:
        result = runner.invoke(app, [*words, "--help"])
        if result.exit_code != 0:
            raise RuntimeError(f"adiabat {' '.join(words)} --help failed:\n{result.output}") from result.exception
        text = "\n".join(line.rstrip() for line in result.output.strip("\n").splitlines())
        return ["```text", text, "```", ""]

    lines = [
        "# Command line",
        "",
        "Every command prints errors in three parts (got, expected, try) and exits with 1 for a user's error,",
        "2 for a wrong option, and 130 after Ctrl-C.",
        "",
        *help_of(),
    ]
    for name in COMMANDS:
        command = load_command(name)
        lines += [f"## adiabat {name}", "", *help_of(name)]
        for subcommand in getattr(command, "commands", {}):
            lines += [f"### adiabat {name} {subcommand}", "", *help_of(name, subcommand)]
    return "\n".join(lines)
