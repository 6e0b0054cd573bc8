"""Every ``[key]`` that a docstring or a page cites is in the bibliography."""

import re
from pathlib import Path

import pytest

CITATION = re.compile(r"\[([a-z_]+(?:\d{4}[a-z]*|_format))\](?!\()")


def keys_of(text: str) -> set[str]:
    return set(CITATION.findall(text))


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


@pytest.mark.parametrize("text", ["Source: [nobody1900] eq. 2.", "as in [nobody_format]"])
def test_a_citation_is_recognised(text: str) -> None:
    assert keys_of(text)
