"""Every ``[key]`` that a docstring or a page cites is in the bibliography."""

import re
from pathlib import Path

import pytest

DATED = re.compile(r"\[([a-z_]+\d{4}[a-z]*)\](?!\()")
"""A key with a year, anywhere; a link's text, which a bracket follows, is none."""
SOURCE_LINE = re.compile(r"Source: .*")
KEY = re.compile(r"\[([a-z][a-z0-9_]+)\]")
"""Any key, in the line of a docstring that names its source."""


def keys_of(text: str) -> set[str]:
    return {*DATED.findall(text), *(key for line in SOURCE_LINE.findall(text) for key in KEY.findall(line))}


def bibliography(repository: Path) -> list[str]:
    text = (repository / "docs" / "references.bib").read_text(encoding="utf-8")
    return re.findall(r"^@\w+\{(\w+),", text, re.M)


def test_every_cited_key_is_in_the_bibliography(repository: Path) -> None:
    known = set(bibliography(repository))
    pages = [*(repository / "src").rglob("*.py"), *(repository / "docs").rglob("*.md")]
    missing = {
        key: str(path.relative_to(repository))
        for path in pages
        for key in keys_of(path.read_text(encoding="utf-8")) - known
    }
    assert not missing


def test_bibliography_has_each_key_once(repository: Path) -> None:
    keys = bibliography(repository)
    assert len(keys) > 10
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    "text", ["Source: [nobody1900] eq. 2.", "Source: [nobody_wiki] says so.", "as in [nobody1900b]"]
)
def test_a_citation_is_recognised(text: str) -> None:
    assert keys_of(text)
