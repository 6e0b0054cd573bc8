"""The quickstart, much reduced: every stage on real calculations, and nothing done twice."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from adiabat.campaigns.quickstart_settings import QuickstartSettings
from adiabat.cli.main import app
from adiabat.core.errors import FileFormatError
from adiabat.models.config import ModelConfig, OperatorConfig
from adiabat.reports.quickstart_results import load_results

STAGES = ["labels", "training", "test", "dynamics", "electrons", "checks"]


def _tiny(seed: int) -> QuickstartSettings:
    """Hartree–Fock in a minimal basis, cold, for as few steps as still give a molecule that holds together."""
    return QuickstartSettings(
        seed=seed,
        xc="hf",
        basis="sto-3g",
        grid_level=0,
        n_train=12,
        n_validation=3,
        n_test=3,
        temperatures=(300.0,),
        training_steps=300,
        validation_interval=60,
        model=ModelConfig(
            channels=16, hidden=32, layers=1, order=2, operator=OperatorConfig(channels=16, hidden=32, order=2)
        ),
        dynamics_steps=40,
        start_temperature=50.0,
        n_checkpoints=2,
    )


@pytest.mark.slow
def test_quickstart_ends_in_a_page_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QuickstartSettings, "crude", classmethod(lambda _cls, seed: _tiny(seed)))
    command = ["quickstart", "-o", str(tmp_path), "--fast", "--workers", "1"]
    first = CliRunner().invoke(app, command, catch_exceptions=False)
    assert first.exit_code == 0
    assert str(tmp_path / "report.html") in first.output

    results = load_results(tmp_path)
    assert list(results.stages) == STAGES
    assert len(results.training_positions) == 12
    assert results.test.n_structures == 3
    assert len(results.dynamics.time) == 41
    assert len(results.electronic.time) == len(results.dynamics.frame_time) == 11
    assert (results.electronic.gap > 0).all()
    assert len(results.checkpoints.time) == 2
    # What the model adds is worth more than nothing, even after so short a training.
    assert results.test.hamiltonian.mae < results.test.h0_mae
    page = (tmp_path / "report.html").read_text(encoding="utf-8")

    (tmp_path / "report.html").unlink()
    again = CliRunner().invoke(app, command, catch_exceptions=False)
    assert again.output.count("done before") == len(STAGES)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page

    other = CliRunner().invoke(app, [*command, "--seed", "1"])
    assert other.exit_code == 1
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_report_of_an_unfinished_run_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"log\.jsonl"):
        load_results(tmp_path)
