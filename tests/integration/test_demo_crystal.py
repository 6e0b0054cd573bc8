"""The crystal demo on a Slater–Koster model: every stage, killed once on the way, and nothing done twice."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from adiabat.cli.main import app
from adiabat.core.errors import FileFormatError
from adiabat.reports.crystal_demo_report import crystal_demo_page
from adiabat.reports.crystal_demo_results import load_results
from page_outline import Outline

STAGES = ["labels", "training", "test", "bands", "larger cell"]


def _kill_in_training(directory: Path) -> None:
    """Start the command, and kill −9 it once training has saved a checkpoint."""
    adiabat = [sys.executable, "-c", "from adiabat.cli.main import main; main()"]
    process = subprocess.Popen(
        [*adiabat, "demo-crystal", "--fast", "--workers", "1", "-o", str(directory)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not (directory / "training" / "checkpoint.safetensors").exists():
        assert process.poll() is None, "it ended before it trained"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_killed_demo_goes_on_and_ends_in_a_page(tmp_path: Path) -> None:
    run = tmp_path / "run"
    _kill_in_training(run)
    assert not (run / "evaluation").exists()
    command = ["demo-crystal", "--fast", "--workers", "1", "-o", str(run)]
    first = CliRunner().invoke(app, command, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    assert "1/5 labels: done before" in first.output
    assert "2/5 training: done before" not in first.output

    results = load_results(run)
    assert list(results.stages) == STAGES
    assert [cell.n_atoms for cell in results.cells] == [2, 8, 12]
    assert results.larger.dos.n_electrons == 4 * results.larger.n_atoms
    for cell in results.cells:
        assert cell.bands.reference is not None
        assert cell.bands.reference.comparison is not None
        # Bands judged on a mesh by the evaluation, and on a path by the figure, tell the same of the model.
        on_path = 1000 * cell.bands.reference.comparison.rms
        assert 0.2 < on_path / cell.errors["bands"].rmse < 5
        # A wrong match of model and reference would be off by electron-volts.
        assert on_path < 100
        for dos in (cell.dos, cell.reference_dos):
            assert dos.fermi_level is not None
            # A metal's Fermi level and its density are smeared by different functions.
            counted = np.interp(dos.fermi_level, dos.grid, dos.integrated)
            assert counted == pytest.approx(4 * cell.n_atoms, rel=0.02)
        for name in ("bands.png", "bands.svg", "bands.html", "bands.csv", "dos.png", "dos.svg", "dos.html"):
            assert (run / cell.folder / name).stat().st_size > 1000

    page = (run / "report.html").read_text(encoding="utf-8")
    assert "no number below says anything about boron nitride" in page
    assert f"{results.errors['hamiltonian_shifted'].mae:.3g}" in page
    (run / "report.html").unlink()
    again = CliRunner().invoke(app, command, catch_exceptions=False)
    assert again.output.count("done before") == len(STAGES)
    assert (run / "report.html").read_text(encoding="utf-8") == page

    other = CliRunner().invoke(app, [*command, "--seed", "1"])
    assert other.exit_code == 1
    assert (run / "report.html").read_text(encoding="utf-8") == page
    _check_page(crystal_demo_page(results), run)


def _check_page(page: str, run: Path) -> None:
    """It loads nothing, every reference has its target, every picture its words, every file that it names exists."""
    assert "default-src 'none'" in page
    assert not re.search(r"https?://", page)
    outline = Outline()
    outline.feed(page)
    assert outline.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert len(outline.identifiers) == len(set(outline.identifiers))
    files = [reference for reference in outline.references if "/" in reference]
    assert files
    assert all((run / file).is_file() for file in files)
    assert set(outline.references) - set(files) <= set(outline.identifiers)
    figures = [values for tag, values in outline.attributes if tag == "svg"]
    titles = re.findall(r"<title id=[^>]*>([^<]+)</title>", page)
    assert len(titles) == len(figures) == 11
    assert all(re.search(r"\d", title) for title in titles)


def test_report_of_an_unfinished_run_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"run\.json"):
        load_results(tmp_path)
