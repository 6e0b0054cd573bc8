"""The gate of molecular dynamics: it stops where the model is not sure, or goes back, and either survives a kill."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.cluster import Octahedron
from pydantic import ValidationError

from adiabat.core.errors import ModelError, SimulationError
from adiabat.core.units import BOLTZMANN
from adiabat.data.structure import Structure
from adiabat.simulation.calculator import largest_force_uncertainty
from adiabat.simulation.md import run_md
from adiabat.simulation.run_files import RestartPoint
from adiabat.simulation.settings import BiasSettings, GateSettings, MdSettings
from known_committees import Committee, argon_committee
from known_models import LennardJones

CLUSTER = Structure.from_ase(Octahedron("Ar", 2, latticeconstant=5.3))
FILES = ("trajectory.xyz", "log.jsonl", "gated.xyz", "gate.jsonl")
OPEN = MdSettings(
    timestep_fs=4.0,
    steps=40,
    temperature_K=20.0,
    log_interval=1,
    trajectory_interval=5,
    restart_interval=7,
    gate=GateSettings(threshold=100.0),
)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in FILES}


def changed(settings: MdSettings, **gate) -> MdSettings:
    assert settings.gate is not None
    return settings.model_copy(update={"gate": settings.gate.model_copy(update=gate)})


@pytest.fixture(scope="module")
def spread_by_step(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Largest force uncertainty at each step of a run that nothing stops."""
    directory = tmp_path_factory.mktemp("open")
    run_md(argon_committee(), CLUSTER, OPEN, directory / "run")
    return [line["largest_force_uncertainty"] for line in lines(directory / "run" / "log.jsonl")]


@pytest.fixture(scope="module")
def threshold(spread_by_step: list[float]) -> float:
    """A limit that is first passed between two restart points, some way into the run."""
    return float(np.max(spread_by_step[:18]))


class Dies(LennardJones):
    """A member that dies at a chosen evaluation."""

    def __init__(self, evaluation: int) -> None:
        super().__init__()
        self.remaining = evaluation

    def forward(self, graph, outputs):
        self.remaining -= 1
        if self.remaining == 0:
            raise RuntimeError("the power went off")
        return super().forward(graph, outputs)


def dying(evaluation: int) -> Committee:
    committee = argon_committee()
    return Committee([committee.members[0], Dies(evaluation), committee.members[2]])


def test_the_run_stops_at_the_first_frame_beyond_the_threshold(
    tmp_path: Path, spread_by_step: list[float], threshold: float
) -> None:
    expected = next(step for step, value in enumerate(spread_by_step) if value > threshold)
    result = run_md(argon_committee(), CLUSTER, changed(OPEN, threshold=threshold), tmp_path / "run")
    assert (result.step, result.gated, result.finished, result.stopped_by) == (expected, True, False, None)
    (frame,) = ase.io.read(tmp_path / "run" / "gated.xyz", ":")
    assert frame.info["step"] == expected
    sigma = largest_force_uncertainty(frame.arrays["forces_uncertainty"])
    assert sigma == pytest.approx(spread_by_step[expected], abs=3e-8)  # eight decimals a component
    assert frame.info["energy_uncertainty"] > 0
    (entry,) = lines(tmp_path / "run" / "gate.jsonl")
    assert (entry["step"], entry["action"]) == (expected, "stop")
    assert entry["largest_force_uncertainty"] == spread_by_step[expected]


def test_it_looks_only_as_often_as_asked(tmp_path: Path, spread_by_step: list[float], threshold: float) -> None:
    beyond = [step for step, value in enumerate(spread_by_step) if value > threshold]
    looked_at = [step for step in beyond if step % 5 == 0 or step % OPEN.restart_interval == 0]
    assert looked_at[0] != beyond[0]
    result = run_md(argon_committee(), CLUSTER, changed(OPEN, threshold=threshold, every=5), tmp_path / "run")
    assert result.step == looked_at[0]


def test_a_stopped_run_stays_where_it_is_until_something_is_new(tmp_path: Path, threshold: float) -> None:
    settings = changed(OPEN, threshold=threshold)
    stopped = run_md(argon_committee(), CLUSTER, settings, tmp_path / "run")
    before = contents(tmp_path / "run")
    again = run_md(argon_committee(), CLUSTER, settings, tmp_path / "run", resume=True)
    assert (again.step, again.gated) == (stopped.step, True)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("new", ["model", "threshold"])
def test_a_stopped_run_goes_on_with_a_new_model_or_threshold(tmp_path: Path, threshold: float, new: str) -> None:
    settings = changed(OPEN, threshold=threshold)
    stopped = run_md(argon_committee(), CLUSTER, settings, tmp_path / "run")
    model = argon_committee((0.99, 1.0, 1.01)) if new == "model" else argon_committee()
    settings = changed(OPEN, threshold=10 * threshold) if new == "threshold" else settings
    result = run_md(model, CLUSTER, settings, tmp_path / "run", resume=True)
    assert result.finished
    assert not result.gated
    assert [line["step"] for line in lines(tmp_path / "run" / "log.jsonl")] == list(range(41))
    assert len(ase.io.read(tmp_path / "run" / "gated.xyz", ":")) == 1
    assert stopped.step < 40


def test_a_run_that_no_gate_stopped_does_not_take_a_new_model(tmp_path: Path) -> None:
    run_md(argon_committee(), CLUSTER, OPEN, tmp_path / "run")
    with pytest.raises(SimulationError, match="model"):
        run_md(argon_committee((0.9, 1.1)), CLUSTER, OPEN, tmp_path / "run", resume=True)


def test_rewinding_leaves_only_trusted_frames(tmp_path: Path, threshold: float) -> None:
    settings = changed(OPEN, threshold=threshold, action="rewind", max_rewinds=50)
    result = run_md(argon_committee(), CLUSTER, settings, tmp_path / "run")
    assert result.finished
    assert result.rewinds > 0
    log = lines(tmp_path / "run" / "log.jsonl")
    assert [line["step"] for line in log] == list(range(41))
    assert max(line["largest_force_uncertainty"] for line in log) <= threshold
    gate = lines(tmp_path / "run" / "gate.jsonl")
    assert [entry["rewinds"] for entry in gate] == list(range(1, result.rewinds + 1))
    assert all(entry["to_step"] % OPEN.restart_interval == 0 < entry["step"] - entry["to_step"] for entry in gate)
    assert len(ase.io.read(tmp_path / "run" / "gated.xyz", ":")) == result.rewinds


def test_new_velocities_have_the_temperature(tmp_path: Path, spread_by_step: list[float], threshold: float) -> None:
    settings = changed(OPEN, threshold=threshold, action="rewind", max_rewinds=1)
    settings = settings.model_copy(update={"restart_interval": 100})
    closed = next(step for step, value in enumerate(spread_by_step) if value > threshold)
    with pytest.raises(RuntimeError, match="power"):  # dies at the first step after the rewind, evaluated twice before
        run_md(dying(closed + 3), CLUSTER, settings, tmp_path / "run")
    point = RestartPoint.load(tmp_path / "run" / "restart.npz")
    assert (point.step, point.rewinds) == (0, 1)
    kinetic = 0.5 * (point.momenta**2).sum() / CLUSTER.to_ase().get_masses()[0]
    assert 2 * kinetic / (15 * BOLTZMANN) == pytest.approx(20.0, rel=1e-12)


def test_rewinds_are_bounded(tmp_path: Path, spread_by_step: list[float]) -> None:
    # No velocities keep below a limit that the trusted state itself just meets.
    settings = changed(OPEN, threshold=spread_by_step[0], action="rewind", max_rewinds=3)
    result = run_md(argon_committee(), CLUSTER, settings, tmp_path / "run")
    assert (result.gated, result.rewinds) == (True, 3)
    entries = lines(tmp_path / "run" / "gate.jsonl")
    assert [entry["action"] for entry in entries[:3]] == ["rewind"] * 3
    assert "3 rewinds" in entries[3]["action"]


def test_a_start_that_is_not_trusted_is_not_left(tmp_path: Path, spread_by_step: list[float]) -> None:
    for action in ("stop", "rewind"):
        settings = changed(OPEN, threshold=spread_by_step[0] / 2, action=action)
        result = run_md(argon_committee(), CLUSTER, settings, tmp_path / action)
        assert (result.step, result.gated) == (0, True)


@pytest.mark.parametrize("action", ["stop", "rewind"])
@pytest.mark.parametrize("drive", ["mean", "central"])
def test_a_gated_run_that_died_resumes_to_the_same_bytes(
    tmp_path: Path, threshold: float, action: str, drive: str
) -> None:
    settings = changed(OPEN, threshold=threshold, action=action, drive=drive, every=2, max_rewinds=50)
    settings = settings.model_copy(update={"ensemble": "langevin"})
    whole = run_md(argon_committee(), CLUSTER, settings, tmp_path / "whole")
    assert whole.rewinds or whole.gated
    # At each of these evaluations of one member: before, at and after rewinds and restart points.
    for evaluation in (2, 9, 19, 21, 30) if drive == "mean" else (2, 6, 14):
        directory = tmp_path / f"died {evaluation}"
        try:
            run_md(dying(evaluation), CLUSTER, settings, directory)
        except RuntimeError:
            for name in FILES:
                with (directory / name).open("a") as file:
                    file.write('{"half a li')
            run_md(argon_committee(), CLUSTER, settings, directory, resume=True)
        assert contents(directory) == contents(tmp_path / "whole")
        found, expected = (RestartPoint.load(path / "restart.npz") for path in (directory, tmp_path / "whole"))
        assert np.array_equal(found.momenta, expected.momenta)
        assert (found.rewinds, found.gated, found.lengths) == (expected.rewinds, expected.gated, expected.lengths)


def test_a_signal_between_restart_points_does_not_change_where_a_run_goes_back_to(
    tmp_path: Path, threshold: float, spread_by_step: list[float]
) -> None:
    settings = changed(OPEN, threshold=threshold, action="rewind", max_rewinds=50)
    run_md(argon_committee(), CLUSTER, settings, tmp_path / "whole")
    closed = next(step for step, value in enumerate(spread_by_step) if value > threshold)
    # As a run that SIGTERM stopped one step before the gate closes: ended, and saved, at a step of its own.
    run_md(argon_committee(), CLUSTER, settings.model_copy(update={"steps": closed - 1}), tmp_path / "parts")
    run_md(argon_committee(), CLUSTER, settings, tmp_path / "parts", resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_the_central_model_drives_alone_and_members_are_asked_when_the_gate_looks(tmp_path: Path) -> None:
    committee = dying(10_000)
    settings = changed(OPEN, drive="central", every=20).model_copy(update={"restart_interval": 20})
    run_md(committee, CLUSTER, settings, tmp_path / "central")
    assert 10_000 - committee.members[1].remaining == 3
    plain = OPEN.model_copy(update={"gate": None, "restart_interval": 20})
    run_md(committee.model, CLUSTER, plain, tmp_path / "plain")
    energies = [
        [line["potential_energy"] for line in lines(tmp_path / name / "log.jsonl")] for name in ("central", "plain")
    ]
    assert energies[0] == energies[1]


@pytest.mark.parametrize("change", [{}, {"bias": BiasSettings(strength=1.0), "gate": None}])
def test_a_gate_or_bias_needs_an_uncertain_model(tmp_path: Path, change: dict) -> None:
    with pytest.raises(ModelError, match="uncertain"):
        run_md(LennardJones(), CLUSTER, OPEN.model_copy(update=change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"gate": {"threshold": 0.0}},
        {"gate": {"threshold": 1.0, "action": "run"}},
        {"gate": {"threshold": 1.0, "drive": "central"}, "bias": {"strength": 1.0}},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        MdSettings(**wrong)
