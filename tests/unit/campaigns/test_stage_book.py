"""The book of stages: what is done stays done, time adds up, and a run is not mixed with another."""

from pathlib import Path

import pytest

from adiabat.campaigns.stage_book import StageBook
from adiabat.core.errors import ConfigError, FileFormatError


def test_done_stage_is_remembered(tmp_path: Path) -> None:
    with StageBook(tmp_path, {"seed": 0}).stage("labels"):
        pass
    again = StageBook(tmp_path, {"seed": 0})
    assert again.is_done("labels")
    assert not again.is_done("training")


def test_interrupted_stage_is_not_done_but_its_time_counts(tmp_path: Path) -> None:
    book = StageBook(tmp_path, {})
    with pytest.raises(KeyboardInterrupt), book.stage("labels"):
        raise KeyboardInterrupt
    before = book.seconds["labels"]
    again = StageBook(tmp_path, {})
    assert not again.is_done("labels")
    with again.stage("labels"):
        pass
    assert again.seconds["labels"] > before > 0


def test_other_settings_are_refused_and_leave_the_book_alone(tmp_path: Path) -> None:
    StageBook(tmp_path, {"seed": 0})
    before = (tmp_path / "stages.json").read_bytes()
    with pytest.raises(ConfigError, match="seed = 1"):
        StageBook(tmp_path, {"seed": 1})
    assert (tmp_path / "stages.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": {}}'])
def test_damaged_book_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "stages.json").write_text(text)
    with pytest.raises(FileFormatError):
        StageBook(tmp_path, {})
