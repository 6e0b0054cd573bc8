"""Candidates: the same for one seed, physical, and taken up again after a kill."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.cluster import Octahedron
from pydantic import ValidationError

from adiabat.campaigns.exploration import explore as exploration
from adiabat.campaigns.exploration.config import (
    DisplaceSource,
    ExploreConfig,
    MdSource,
    NormalModesSource,
    StrainSource,
    TrajectorySource,
)
from adiabat.campaigns.exploration.displacements import random_strain
from adiabat.campaigns.exploration.dynamics import ENDED
from adiabat.campaigns.exploration.explore import SUMMARY, UNCERTAINTIES, explore
from adiabat.campaigns.exploration.judgement import Judgement
from adiabat.core.errors import ConfigError, StructureError
from adiabat.core.interruption import stop_on_signals
from adiabat.data.record import Provenance, Record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.simulation.settings import BiasSettings, GateSettings
from known_committees import argon_committee
from known_models import LennardJones

CLUSTER = Structure.from_ase(Octahedron("Ar", 2, latticeconstant=5.3))
ETHANOL = Structure.from_ase(molecule("CH3CH2OH"))
MD = MdSource(temperatures=(20.0, 40.0), steps=40, timestep_fs=4.0, save_interval=10)


def only(*sources, **settings) -> ExploreConfig:
    return ExploreConfig(sources=sources, **settings)


def positions(candidates) -> np.ndarray:
    return np.stack([candidate.structure.positions for candidate in candidates])


def counts(directory: Path) -> list[dict]:
    return json.loads((directory / SUMMARY).read_text())["sources"]


def test_displacements_have_the_asked_size_and_need_no_model(tmp_path: Path) -> None:
    found = explore(None, [ETHANOL], only(DisplaceSource(n=200, rms=0.06)), tmp_path, seed=1)
    moved = positions(found) - ETHANOL.positions
    # 200 × 27 normal numbers: their mean square is known to 2 %.
    assert np.sqrt((moved**2).sum(axis=2).mean()) == pytest.approx(0.06, rel=0.05)
    assert {candidate.source for candidate in found} == {"displace"}
    assert found[0].uncertainty is None
    assert found[3].details == {"start": 0, "number": 3}


def test_one_seed_gives_one_answer_and_another_another(tmp_path: Path) -> None:
    config = only(DisplaceSource(n=5), DisplaceSource(n=5))
    first, again, other = (
        positions(explore(None, [ETHANOL], config, tmp_path / name, seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert np.array_equal(first, again)
    assert not np.any(first == other)
    assert not np.any(first[:5] == first[5:])


def test_unphysical_candidates_are_dropped_and_counted(tmp_path: Path) -> None:
    found = explore(None, [ETHANOL], only(DisplaceSource(n=60, rms=0.9)), tmp_path, seed=0)
    (tally,) = counts(tmp_path)
    assert tally["made"] == 60 == sum(tally.get(key, 0) for key in ("kept", "broken", "too close", "evaporated"))
    assert tally["broken"] + tally.get("too close", 0) > 50
    assert len(found) == tally.get("kept", 0)
    kept = explore(None, [ETHANOL], only(DisplaceSource(n=60, rms=0.9), allow_reactions=True), tmp_path / "2", seed=0)
    assert len(kept) > len(found)


def test_strain_turns_nothing_and_keeps_to_periodic_directions(tmp_path: Path) -> None:
    slab = Atoms("BN", [[0, 0, 0], [1.25, 0.72, 0]], cell=[[2.5, 0, 0], [-1.25, 2.165, 0], [0, 0, 12]], pbc=(1, 1, 0))
    start = Structure.from_ase(slab)
    found = explore(None, [ETHANOL, start], only(StrainSource(n=8, largest=0.04)), tmp_path, seed=0)
    assert len(found) == 8
    for candidate in found:
        deformation = np.linalg.inv(start.cell) @ candidate.structure.cell
        np.testing.assert_allclose(deformation, deformation.T, atol=1e-14)
        np.testing.assert_allclose(deformation[2], [0, 0, 1], atol=1e-14)
        assert 0 < np.abs(deformation - np.eye(3)).max() <= 0.04
        np.testing.assert_allclose(candidate.structure.positions, start.positions @ deformation, atol=1e-12)
    tilted = replace(start, cell=start.cell @ np.linalg.qr(np.arange(9.0).reshape(3, 3) + np.eye(3))[0])
    strain = random_strain(tilted, 0.1, np.random.default_rng(0))
    np.testing.assert_allclose(strain @ np.cross(tilted.cell[0], tilted.cell[1]), 0.0, atol=1e-13)


def test_a_strain_of_molecules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StructureError, match="molecules"):
        explore(None, [ETHANOL], only(StrainSource()), tmp_path, seed=0)


def test_frames_of_a_file_are_held_against_the_start_of_their_kind(tmp_path: Path) -> None:
    ethanol = ETHANOL.to_ase()
    broken = ethanol.copy()
    broken.positions[-1] += 3.0
    shaken = ethanol.copy()
    shaken.rattle(0.02)
    ase.io.write(tmp_path / "frames.xyz", [ethanol, broken, shaken, molecule("H2O")])
    config = only(TrajectorySource(path=str(tmp_path / "frames.xyz")))
    found = explore(None, [ETHANOL], config, tmp_path / "out", seed=0)
    # The start itself is no candidate; water has no start and is its own.
    assert [candidate.details["frame"] for candidate in found] == [1, 2, 3][1:]
    assert counts(tmp_path / "out")[0] == {"source": "trajectory", "made": 4, "kept": 2, "broken": 1, "repeated": 1}


def test_frames_of_a_store_are_read_too(tmp_path: Path) -> None:
    with DatasetStore.create(tmp_path / "data.lmdb") as store:
        for shift in (0.01, 0.02, 0.03):
            structure = replace(ETHANOL, positions=ETHANOL.positions + shift * np.sin(ETHANOL.positions))
            store.append(Record(structure, {"energy": np.array(0.0)}, Provenance("test")))
    config = only(TrajectorySource(path=str(tmp_path / "data.lmdb"), frames="1:"))
    assert len(explore(None, [ETHANOL], config, tmp_path / "out", seed=0)) == 2


def test_dynamics_give_frames_of_each_temperature(tmp_path: Path) -> None:
    found = explore(LennardJones(), [CLUSTER], only(MD), tmp_path, seed=0)
    assert [(one.details["temperature_K"], one.details["step"]) for one in found] == [
        (temperature, step) for temperature in (20.0, 40.0) for step in (10, 20, 30, 40)
    ]
    assert found[0].uncertainty is None
    again = explore(LennardJones(), [CLUSTER], only(MD), tmp_path, seed=0)
    assert np.array_equal(positions(found), positions(again))


def test_an_uncertain_model_judges_every_candidate(tmp_path: Path) -> None:
    committee = argon_committee()
    found = explore(committee, [CLUSTER], only(MD, DisplaceSource(n=30, rms=0.3)), tmp_path, seed=0)
    for candidate in (found[0], found[-1]):
        graph = committee.model.graph(candidate.structure, ("energy", "forces"))
        spread = committee.predict(graph, ("energy", "forces")).spread.forces
        assert candidate.uncertainty == pytest.approx(float(spread.norm(dim=1).max()), rel=1e-12)
    assert found[-1].uncertainty > found[0].uncertainty


def test_uncertainties_are_kept_across_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = only(DisplaceSource(n=40, rms=0.2))
    whole = explore(argon_committee(), [CLUSTER], config, tmp_path / "whole", seed=0)
    done = Judgement._judge
    calls = []

    def dying(self, structures):
        if len(calls) == 2:
            raise RuntimeError("the power went off")
        calls.append(len(structures))
        return done(self, structures)

    monkeypatch.setattr(Judgement, "_judge", dying)
    with pytest.raises(RuntimeError, match="power"):
        explore(argon_committee(), [CLUSTER], config, tmp_path / "died", seed=0)
    with (tmp_path / "died" / UNCERTAINTIES).open("a") as file:
        file.write('{"structure": "half a li')
    judged = []
    monkeypatch.setattr(Judgement, "_judge", lambda self, some: judged.extend(some) or done(self, some))
    resumed = explore(argon_committee(), [CLUSTER], config, tmp_path / "died", seed=0)
    assert len(judged) == 40 - sum(calls) == 8
    assert [one.uncertainty for one in resumed] == [one.uncertainty for one in whole]
    assert (tmp_path / "died" / UNCERTAINTIES).read_bytes() == (tmp_path / "whole" / UNCERTAINTIES).read_bytes()


def test_dynamics_that_died_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dies(LennardJones):
        remaining = 60

        def forward(self, graph, outputs):
            self.remaining -= 1
            if not self.remaining:
                raise RuntimeError("the power went off")
            return super().forward(graph, outputs)

    whole = explore(LennardJones(), [CLUSTER], only(MD), tmp_path / "whole", seed=0)
    with pytest.raises(RuntimeError, match="power"):
        explore(Dies(), [CLUSTER], only(MD), tmp_path / "died", seed=0)
    resumed = explore(LennardJones(), [CLUSTER], only(MD), tmp_path / "died", seed=0)
    assert np.array_equal(positions(resumed), positions(whole))


def test_a_signal_stops_dynamics_saves_them_and_reaches_whoever_waits_for_it(tmp_path: Path) -> None:
    class Interrupts(LennardJones):
        remaining = 30

        def forward(self, graph, outputs):
            self.remaining -= 1
            if not self.remaining:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().forward(graph, outputs)

    whole = explore(LennardJones(), [CLUSTER], only(MD), tmp_path / "whole", seed=0)
    with stop_on_signals() as outer:
        with pytest.raises(KeyboardInterrupt):
            explore(Interrupts(), [CLUSTER], only(MD), tmp_path / "stopped", seed=0)
        assert outer.signal_number == signal.SIGTERM
    resumed = explore(LennardJones(), [CLUSTER], only(MD), tmp_path / "stopped", seed=0)
    assert np.array_equal(positions(resumed), positions(whole))


def test_a_folder_that_was_begun_with_something_else_is_refused(tmp_path: Path) -> None:
    explore(LennardJones(), [CLUSTER], only(DisplaceSource(n=2)), tmp_path, seed=0)
    other = LennardJones()
    other.epsilon.data *= 2
    with pytest.raises(ConfigError, match="another model"):
        explore(other, [CLUSTER], only(DisplaceSource(n=2)), tmp_path, seed=0)
    with pytest.raises(ConfigError, match="another config and another seed"):
        explore(LennardJones(), [CLUSTER], only(DisplaceSource(n=3)), tmp_path, seed=1)
    assert len(explore(LennardJones(), [CLUSTER], only(DisplaceSource(n=2)), tmp_path, seed=0)) == 2


def test_a_gate_gives_the_frame_at_which_it_closed(tmp_path: Path) -> None:
    quiet = explore(argon_committee(), [CLUSTER], only(MD), tmp_path / "quiet", seed=0)
    threshold = float(np.median([one.uncertainty for one in quiet]))
    gated = MD.model_copy(update={"gate": GateSettings(threshold=threshold)})
    found = explore(argon_committee(), [CLUSTER], only(gated), tmp_path / "gated", seed=0)
    closed = [one for one in found if one.details["gated"]]
    assert closed
    assert all(one.uncertainty > threshold for one in closed)
    assert all(one.uncertainty <= threshold for one in found if not one.details["gated"])
    assert {path.read_text() for path in (tmp_path / "gated").rglob(ENDED)} == {"gate\n"}


def test_dynamics_that_break_give_the_frames_before(tmp_path: Path) -> None:
    hot = MD.model_copy(update={"temperatures": (900.0,), "steps": 400, "timestep_fs": 20.0, "skip_steps": 15})
    found = explore(LennardJones(), [CLUSTER], only(hot, allow_reactions=True), tmp_path, seed=3)
    assert found[0].details["step"] == 20
    assert "no neighbor" in next(tmp_path.rglob(ENDED)).read_text()


def test_normal_modes_are_sampled_about_the_minimum(tmp_path: Path) -> None:
    source = NormalModesSource(n=6, temperatures=(5.0,))
    found = explore(argon_committee(), [CLUSTER], only(source), tmp_path, seed=0)
    again = explore(argon_committee(), [CLUSTER], only(source), tmp_path, seed=0)
    assert len(found) == 6
    assert np.array_equal(positions(found), positions(again))
    assert (tmp_path / "0-normal-modes" / "modes-0.npz").exists()


def test_a_crystal_is_explored(tmp_path: Path) -> None:
    crystal = Structure.from_ase(bulk("Ar", cubic=True, a=5.3))
    config = only(StrainSource(n=4), MD.model_copy(update={"temperatures": (20.0,)}), allow_reactions=True)
    found = explore(argon_committee(), [crystal], config, tmp_path, seed=0)
    assert len(found) == 8
    assert all(one.uncertainty is not None for one in found)


@pytest.mark.parametrize("source", [MD, NormalModesSource()], ids=["md", "normal modes"])
def test_a_source_that_needs_a_model_says_so(tmp_path: Path, source) -> None:
    with pytest.raises(ConfigError, match="without a model"):
        explore(None, [CLUSTER], only(source), tmp_path / "out", seed=0)
    assert not (tmp_path / "out").exists()


def test_a_bias_needs_an_uncertain_model(tmp_path: Path) -> None:
    biased = MD.model_copy(update={"bias": BiasSettings(strength=1.0)})
    with pytest.raises(ConfigError, match="uncertainty"):
        explore(LennardJones(), [CLUSTER], only(biased), tmp_path, seed=0)


def test_no_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StructureError, match="no start"):
        explore(None, [], only(DisplaceSource()), tmp_path, seed=0)


@pytest.mark.parametrize(
    "wrong",
    [{"sources": [{"kind": "dance"}]}, {"sources": [{"kind": "md", "n": 3}]}, {"sources": []}, {"closest": 1.5}],
)
def test_configurations_that_cannot_be_meant_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        ExploreConfig.model_validate(wrong)


def test_a_plain_mapping_is_enough() -> None:
    config = ExploreConfig.model_validate(
        {"sources": [{"kind": "md", "temperatures": [300, 600]}, {"kind": "displace"}]}
    )
    assert [source.kind for source in config.sources] == ["md", "displace"]
    assert {"md", "normal-modes"} == exploration.NEEDS_MODEL
