import json
import os
import signal
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.cluster import Octahedron
from pydantic import ValidationError
from rich.console import Console

from adiabat.core.errors import FileFormatError, ModelError, SchemaVersionError, SimulationError, StructureError
from adiabat.core.units import BOLTZMANN
from adiabat.data.graph import Graph
from adiabat.data.structure import Structure
from adiabat.models.model import Prediction
from adiabat.simulation.md import MdSettings, free_components, initial_momenta, run_md
from adiabat.simulation.run_files import RestartPoint
from known_models import HuckelHydrogen, LennardJones

CLUSTER = Structure.from_ase(Octahedron("Ar", 2, latticeconstant=5.3))
FILES = ("trajectory.xyz", "log.jsonl", "electrons.jsonl", "restart.npz")
SHORT = MdSettings(
    timestep_fs=4.0, steps=30, temperature_K=20.0, log_interval=1, trajectory_interval=5, restart_interval=7
)


def hydrogen() -> Structure:
    return Structure.from_ase(molecule("H2"))


def contents(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in FILES[:3] if (directory / name).exists()}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class FailsAt(LennardJones):
    """Breaks in a chosen way at a chosen evaluation."""

    def __init__(self, evaluation: int, way: str) -> None:
        super().__init__()
        self.remaining, self.way = evaluation, way

    def forward(self, graph: Graph, outputs) -> Prediction:
        self.remaining -= 1
        result = super().forward(graph, outputs)
        if self.remaining > 0:
            return result
        if self.way == "raise":
            raise RuntimeError("the power went off")
        if self.way == "interrupt":
            os.kill(os.getpid(), signal.SIGTERM)
            return result
        factor = {"nan": torch.nan, "hot": 1e5}[self.way]
        return Prediction(energy=result.energy, forces=result.forces * factor)


def test_files_hold_what_is_asked(tmp_path: Path) -> None:
    result = run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "run")
    assert (result.step, result.finished, result.stopped_by) == (30, True, None)
    log = lines(tmp_path / "run" / "log.jsonl")
    assert [entry["step"] for entry in log] == list(range(31))
    assert log[3]["time_fs"] == 12.0
    assert log[3]["conserved_energy"] == log[3]["potential_energy"] + log[3]["kinetic_energy"]
    frames = ase.io.read(tmp_path / "run" / "trajectory.xyz", ":")
    assert [frame.info["step"] for frame in frames] == [0, 5, 10, 15, 20, 25, 30]
    # Extended XYZ holds eight decimals.
    assert frames[2].get_potential_energy() == pytest.approx(log[10]["potential_energy"], abs=1e-8)
    assert frames[2].get_kinetic_energy() == pytest.approx(log[10]["kinetic_energy"], abs=1e-8)
    assert frames[2].get_forces().shape == (6, 3)


def test_what_is_followed_is_that_of_the_frame(tmp_path: Path) -> None:
    follow = ("gap", "homo", "lumo", "orbital_energies", "charges", "dipole")
    settings = MdSettings(timestep_fs=0.1, steps=6, follow=follow, follow_interval=3, trajectory_interval=3)
    run_md(HuckelHydrogen(), hydrogen(), settings, tmp_path / "run")
    followed = lines(tmp_path / "run" / "electrons.jsonl")
    assert [entry["step"] for entry in followed] == [0, 3, 6]
    assert set(followed[0]) == {"step", "time_fs", *follow}
    assert followed[1]["gap"] == followed[1]["orbital_energies"][1] - followed[1]["orbital_energies"][0]
    assert followed[1]["gap"] != followed[2]["gap"]
    assert np.shape(followed[1]["charges"]) == (2,)


def test_following_needs_an_operator_head(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        run_md(LennardJones(), CLUSTER, MdSettings(follow=("gap",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ensemble", ["nve", "langevin"])
@pytest.mark.parametrize("evaluation", [2, 8, 9, 24])
def test_a_run_that_died_resumes_to_the_same_bytes(tmp_path: Path, ensemble: str, evaluation: int) -> None:
    settings = SHORT.model_copy(update={"ensemble": ensemble})
    run_md(LennardJones(), CLUSTER, settings, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power"):
        run_md(FailsAt(evaluation, "raise"), CLUSTER, settings, tmp_path / "died")
    # What a kill leaves behind: half a line and half a frame beyond the restart point.
    for name in ("log.jsonl", "trajectory.xyz"):
        with (tmp_path / "died" / name).open("a") as file:
            file.write('{"step": 99, "potential_en')
    run_md(LennardJones(), CLUSTER, settings, tmp_path / "died", resume=True)
    assert contents(tmp_path / "died") == contents(tmp_path / "whole")
    whole, died = (RestartPoint.load(tmp_path / name / "restart.npz") for name in ("whole", "died"))
    assert np.array_equal(whole.positions, died.positions)
    assert np.array_equal(whole.momenta, died.momenta)
    assert whole.random_state == died.random_state


def test_the_comparison_notices_another_seed(tmp_path: Path) -> None:
    settings = SHORT.model_copy(update={"ensemble": "langevin"})
    run_md(LennardJones(), CLUSTER, settings, tmp_path / "a")
    run_md(LennardJones(), CLUSTER, settings.model_copy(update={"seed": 1}), tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "b")


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "whole")
    run_md(LennardJones(), CLUSTER, SHORT.model_copy(update={"steps": 11}), tmp_path / "parts")
    result = run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "parts", resume=True)
    assert result.finished
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_sigterm_saves_the_state(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    result = run_md(FailsAt(6, "interrupt"), CLUSTER, SHORT, tmp_path / "run")
    assert (result.finished, result.stopped_by) == (False, signal.SIGTERM)
    assert RestartPoint.load(tmp_path / "run" / "restart.npz").step == result.step == 5
    assert signal.getsignal(signal.SIGTERM) == handler
    run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "run", resume=True)
    run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "whole")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.parametrize(("way", "message"), [("nan", "not finite"), ("hot", "temperature of")])
def test_a_run_that_breaks_keeps_the_frame_and_says_where(tmp_path: Path, way: str, message: str) -> None:
    with pytest.raises(SimulationError, match=message) as caught:
        run_md(FailsAt(10, way), CLUSTER, SHORT, tmp_path / "run")
    assert "at step 9 (36 fs)" in caught.value.got
    assert ase.io.read(tmp_path / "run" / "failed.xyz").info["step"] == 9
    assert lines(tmp_path / "run" / "log.jsonl")[-1]["step"] == 8


def test_an_atom_that_leaves_stops_the_run(tmp_path: Path) -> None:
    settings = MdSettings(timestep_fs=20.0, steps=400, temperature_K=900.0, seed=3)
    with pytest.raises(SimulationError, match="no neighbor"):
        run_md(LennardJones(), CLUSTER, settings, tmp_path / "run")


def test_atoms_that_collide_stop_the_run(tmp_path: Path) -> None:
    class Attraction(LennardJones):
        def forward(self, graph: Graph, outputs) -> Prediction:
            toward_centre = -2.5 * (graph.positions - graph.positions.mean(dim=0))
            return Prediction(energy=torch.zeros(1, dtype=torch.float64), forces=toward_centre)

    with pytest.raises(SimulationError, match=r"(distance of|no neighbor|temperature)"):
        run_md(Attraction(), CLUSTER, MdSettings(timestep_fs=40.0, steps=500, temperature_K=0.0), tmp_path / "run")


def test_a_refused_structure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(StructureError):
        run_md(LennardJones(), Structure.from_ase(molecule("H2O")), SHORT, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_earlier_run_is_left_untouched(tmp_path: Path) -> None:
    run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(SimulationError, match=r"trajectory\.xyz") as caught:
        run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "run")
    assert "--resume" in caught.value.suggestion
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("change", ["settings", "structure", "model"])
def test_resuming_something_else_is_refused(tmp_path: Path, change: str) -> None:
    run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "run")
    before = contents(tmp_path / "run")
    model, structure, settings = LennardJones(), CLUSTER, SHORT
    if change == "settings":
        settings = SHORT.model_copy(update={"timestep_fs": 1.0})
    elif change == "structure":
        structure = Structure.from_ase(Octahedron("Ar", 2, latticeconstant=5.4))
    else:
        model.epsilon.data *= 2
    with pytest.raises(SimulationError, match="timestep_fs" if change == "settings" else change):
        run_md(model, structure, settings, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == before


def test_resuming_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no restart file"):
        run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "run", resume=True)


def test_a_damaged_restart_file_is_refused(tmp_path: Path) -> None:
    run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "run")
    path = tmp_path / "run" / "restart.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FileFormatError, match="cannot be read"):
        run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "run", resume=True)


def test_a_log_shorter_than_the_restart_point_knows_is_refused(tmp_path: Path) -> None:
    run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "run")
    (tmp_path / "run" / "log.jsonl").write_text("")
    with pytest.raises(FileFormatError, match=r"log\.jsonl with 0 bytes"):
        run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "run", resume=True)


def test_a_restart_file_of_another_version_is_refused(tmp_path: Path) -> None:
    header = np.array(json.dumps({"version": 0}))
    np.savez(tmp_path / "restart.npz", header=header, positions=np.zeros((1, 3)), momenta=np.zeros((1, 3)))
    with pytest.raises(SchemaVersionError, match="version 0"):
        RestartPoint.load(tmp_path / "restart.npz")


def test_initial_momenta_have_the_temperature_and_no_drift() -> None:
    masses = np.array([1.0, 16.0, 40.0])
    momenta = initial_momenta(masses, 300.0, np.random.default_rng(0))
    np.testing.assert_allclose(momenta.sum(axis=0), 0.0, atol=1e-14)
    kinetic = 0.5 * (momenta**2 / masses[:, None]).sum()
    assert 2 * kinetic / (free_components(3) * BOLTZMANN) == pytest.approx(300.0, rel=1e-13)


def test_progress_is_shown_on_a_console(tmp_path: Path) -> None:
    console = Console(record=True, width=120, force_terminal=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        run_md(LennardJones(), CLUSTER, SHORT, tmp_path / "run", console=console)
        assert "30/30 steps" in console.export_text()


@pytest.mark.parametrize(
    "wrong", [{"timestep": 1.0}, {"timestep_fs": 0.0}, {"steps": 0}, {"ensemble": "npt"}, {"follow": ("mood",)}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        MdSettings(**wrong)
