"""Which labels ``adiabat demo-crystal`` takes, and what it refuses."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from adiabat.campaigns import crystal_demo
from adiabat.campaigns.crystal_demo_settings import CrystalDemoSettings
from adiabat.cli.main import app

runner = CliRunner(env={"COLUMNS": "160"})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[CrystalDemoSettings]:
    """Settings that the campaign is called with; it then ends as if the user had stopped it."""
    seen: list[CrystalDemoSettings] = []

    def stopped(_directory: Path, settings: CrystalDemoSettings, **_options: object) -> dict[str, float]:
        seen.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(crystal_demo, "run_crystal_demo", stopped)
    return seen


def test_without_cp2k_the_shipped_labels_are_taken_and_it_says_so(
    asked: list[CrystalDemoSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADIABAT_CP2K", str(tmp_path / "none"))
    result = runner.invoke(app, ["demo-crystal", "-o", str(tmp_path / "run")])
    assert asked[0].source == "shipped"
    assert "CP2K is not installed" in result.output


def test_with_cp2k_it_labels_fewer_cells_itself(
    asked: list[CrystalDemoSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADIABAT_CP2K", "true")  # any program that exists: nothing is computed here
    result = runner.invoke(app, ["demo-crystal", "-o", str(tmp_path / "run")])
    assert asked[0].source == "cp2k"
    assert "not installed" not in result.output
    assert runner.invoke(app, ["demo-crystal", "--no-cp2k", "-o", str(tmp_path / "run")]).exit_code == 130
    assert asked[1].source == "shipped"
    assert asked[0].n_cells < asked[1].n_cells


def test_cp2k_that_is_asked_for_must_be_there(
    asked: list[CrystalDemoSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADIABAT_CP2K", str(tmp_path / "none"))
    result = runner.invoke(app, ["demo-crystal", "--cp2k", "-o", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "apt-get install cp2k" in result.output
    assert not asked
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--cp2k", "--no-cp2k"])
def test_fast_decides_about_labels_itself(asked: list[CrystalDemoSettings], tmp_path: Path, option: str) -> None:
    result = runner.invoke(app, ["demo-crystal", "--fast", option, "-o", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "leave --fast out" in result.output
    assert not asked


def test_a_file_in_place_of_the_directory_is_refused_before_any_work(
    asked: list[CrystalDemoSettings], tmp_path: Path
) -> None:
    (tmp_path / "run").write_text("")
    result = runner.invoke(app, ["demo-crystal", "--fast", "-o", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert not asked
