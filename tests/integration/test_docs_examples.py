"""Runs what the README and the docs show: fenced ``bash`` and ``python`` blocks of a page, in order, in one folder.

Fenced ``yaml`` blocks are pieces of a training configuration, ``yaml campaign`` blocks of a campaign's, and must be
valid ones.
"""

import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from adiabat.campaigns.active.config_parsing import parse_campaign
from adiabat.core.errors import ConfigError
from adiabat.training.config_parsing import parse_config

REPOSITORY = Path(__file__).resolve().parents[2]
MINIMAL_CONFIG = {"data": {"train": "data.lmdb", "n_validation": 1}, "schedule": {"max_steps": 1}}
MINIMAL_CAMPAIGN = {
    "name": "minimal",
    "structures": "starts.xyz",
    "label": {"engine": "lj"},
    "train": {"schedule": {"max_steps": 1}},
}
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>bash|python|yaml campaign|yaml)[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced example, with the line that it starts on."""

    language: str
    code: str
    line: int


def blocks_of(text: str) -> list[Block]:
    return [
        Block(match["language"], textwrap.dedent(match["code"]), text.count("\n", 0, match.start("code")) + 1)
        for match in FENCE.finditer(text)
    ]


def run_page(path: Path, folder: Path) -> None:
    """Run every block of a page; a failure names the page and the line."""
    namespace: dict[str, Any] = {"__name__": "__example__"}
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for block in blocks_of(path.read_text(encoding="utf-8")):
        if block.language == "python":
            # Leading newlines make the line numbers of a traceback those of the page.
            exec(compile("\n" * (block.line - 1) + block.code, path, "exec"), namespace)
            continue
        if block.language == "yaml campaign":
            parse_campaign(MINIMAL_CAMPAIGN | yaml.safe_load(block.code), folder)
            continue
        if block.language == "yaml":
            parse_config(MINIMAL_CONFIG | yaml.safe_load(block.code))
            continue
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.code],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert result.returncode == 0, (
            f"{path}:{block.line} ended with {result.returncode}\n{block.code}\n{result.stdout}\n{result.stderr}"
        )


PAGES = [
    path
    for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
    if blocks_of(path.read_text(encoding="utf-8"))
]


@pytest.mark.timeout(1800)  # a page labels and trains; ten times what the slowest takes on two quiet cores
@pytest.mark.parametrize("page", PAGES, ids=[str(path.relative_to(REPOSITORY)) for path in PAGES])
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path)


@pytest.mark.parametrize("block", ["```bash\nfalse\n```", "```python\nassert False\n```"])
def test_a_broken_example_is_noticed(block: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Text.\n\n{block}\n")
    with pytest.raises(AssertionError):
        run_page(page, tmp_path)


@pytest.mark.parametrize("block", ["```yaml\nmodel: {chanels: 64}", "```yaml campaign\nselect: {number: 3}"])
def test_a_misspelt_option_is_noticed(block: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{block}\n```\n")
    with pytest.raises(ConfigError):
        run_page(page, tmp_path)


def test_blocks_of_a_page_share_their_folder_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\necho 3 > number\n```\n\n1. In a list:\n\n    ```python\n    from pathlib import Path\n"
        "    seen = int(Path('number').read_text())\n    ```\n\n```python\nassert seen == 3\n```\n\n"
        "```console\n$ false\n```\n"
    )
    run_page(page, tmp_path)
