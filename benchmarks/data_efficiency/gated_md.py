"""Molecular dynamics that stays whole: ethanol at 600 K, learned on the fly through a gate, against the same without.

    python benchmarks/data_efficiency/gated_md.py runs/ethanol_ef_train.lmdb runs/gated_md

Three geometries of rMD17 are labelled anew with PySCF (PBE/def2-SVP), so that all labels are of one level, and three
small models are trained on them. First, dynamics without a gate until the molecule breaks. Then dynamics with a gate:
where it closes, the frame is labelled, the three models are trained on a little further, and the run goes on from where
it stood, until 50 ps are done. Killed, the same command goes on. Results: benchmarks/results/gated_md.json and .md.
"""

import json
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from rich.console import Console

from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import EngineError, SimulationError
from adiabat.data.graph import collate
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.engines.registry import create_engine
from adiabat.models.model import Model
from adiabat.models.package import load_model
from adiabat.simulation.calculator import AdiabatCalculator
from adiabat.simulation.connectivity import is_broken, largest_stretch
from adiabat.simulation.md import MdResult, run_md
from adiabat.simulation.settings import GateSettings, MdSettings
from adiabat.training.batches import build_examples
from adiabat.training.config_parsing import parse_config
from adiabat.training.setup import default_targets
from adiabat.training.trainer import Trainer
from adiabat.uncertainty.ensemble import DeepEnsemble
from adiabat.uncertainty.last_layer_fit import fit_last_layer

N_START = 3
N_CONTROL = 10
"""So many first frames, and dynamics without a gate again: what a better start would have been worth."""
N_MEMBERS = 3
THRESHOLD = 0.4
"""eV/Å; forces of ethanol at 600 K are 1.8 eV/Å (rms of an atom's)."""
LOOK_EVERY = 10
STEPS = 100_000
CHUNK = 5_000
CHECK_EVERY = 50
"""Steps between frames whose bonds are looked at."""
SEEDS = (0, 1, 2)
STEPS_WITHOUT = {"central": 100_000, "mean": 15_000}
"""Steps after which a run without a gate that is still whole is let be; the mean of three models costs three."""
SCRATCH = {"steps": 2500, "rate": 0.005, "ema": 0.998}
FURTHER = {"steps": 300, "rate": 0.002, "ema": 0.99}
DYNAMICS = {
    "ensemble": "langevin",
    "timestep_fs": 0.5,
    "temperature_K": 600.0,
    "friction_per_fs": 0.01,
    "log_interval": CHECK_EVERY,
    "trajectory_interval": CHECK_EVERY,
    "restart_interval": 1000,
}
RESULTS = Path(__file__).parents[1] / "results"


def main(source: str, directory: str) -> None:
    """Run every stage that is not done yet, and write the results."""
    torch.set_num_threads(1)
    work = Path(directory)
    (work / "control").mkdir(parents=True, exist_ok=True)
    label_start(source, work)
    for member in range(N_MEMBERS):
        train(work, 0, member)
    results = {
        "machine": describe_machine(work),
        "settings": {
            "start_frames": N_START, "members": N_MEMBERS, "threshold_eV_per_A": THRESHOLD, "look_every": LOOK_EVERY,
            "steps": STEPS, "steps_without_gate": STEPS_WITHOUT, "dynamics": DYNAMICS,
            "scratch": SCRATCH, "further": FURTHER,
        },
    }  # fmt: skip
    results["without_gate"] = [without_gate(work, seed, drive) for drive in ("central", "mean") for seed in SEEDS]
    label_start(source, work / "control", N_CONTROL)
    results["control"] = [without_gate(work / "control", seed, "central", N_CONTROL) for seed in SEEDS[1:]]
    results["with_gate"] = with_gate(work)
    results["check"] = check_against_reference(work) | describe_trajectory(work)
    results["cost"] = measure_cost(work)
    (RESULTS / "gated_md.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    (RESULTS / "gated_md.md").write_text(report(results))
    print(report(results))


# ---------------------------------------------------------------- labels and models
def label_start(source: str, work: Path, n_start: int = N_START) -> None:
    """Label the first geometries of a store."""
    with open_store(work) as labels, DatasetStore.open(source) as geometries:
        engine = create_engine("pyscf")
        for index in range(len(labels), n_start):
            labels.append(engine.label(geometries[index].structure, ("energy", "forces")))


def open_store(work: Path) -> DatasetStore:
    """The labels so far, for writing."""
    path = work / "labels.lmdb"
    return DatasetStore.open(path, writable=True) if path.exists() else DatasetStore.create(path)


def train(work: Path, labels_added: int, member: int, n_start: int = N_START) -> Model:
    """Member of the ensemble after so many labels were added; begun from the one before, the first from nothing."""
    run = work / "models" / f"{labels_added:03d}-{member}"
    path = run / "model.safetensors"
    if not path.exists():
        start = work / "models" / f"{labels_added - 1:03d}-{member}" / "model.safetensors"
        plan = FURTHER if labels_added else SCRATCH
        warm = {"init_model": str(start), "init_references": "keep"} if labels_added else {}
        config = parse_config(
            {
                "data": {"train": {"path": str(work / "labels.lmdb"), "first": n_start + labels_added}},
                "model": {"cutoff": 5.0, "channels": 32, "l_max": 2, "layers": 2},
                "targets": {
                    "energy": {"weight": 0.3, "scale": 0.112, "loss": "huber"},
                    "forces": {"weight": 1.0, "scale": 1.12, "loss": "norm"},
                },
                "optimizer": {"learning_rate": plan["rate"], "clip_norm": 0.05},
                "schedule": {"max_steps": plan["steps"], "warmup_steps": 50, "final_factor": 0.01},
                "training": {
                    "batch_size": 5,
                    "seed": 100 * member + labels_added,
                    "ema_decay": plan["ema"],
                    "num_threads": 1,
                    "checkpoint_interval": 1000,
                    "tensorboard": False,
                    **warm,
                },
            }
        )
        resume = (run / "checkpoint.safetensors").exists()
        Trainer(config, run, console=Console(quiet=True)).fit(resume=resume)
    return load_model(path)


def ensemble(work: Path, labels_added: int, n_start: int = N_START) -> DeepEnsemble:
    """All members after so many added labels."""
    return DeepEnsemble([train(work, labels_added, member, n_start) for member in range(N_MEMBERS)])


# ---------------------------------------------------------------- dynamics
def without_gate(work: Path, seed: int, drive: str, n_start: int = N_START) -> dict[str, Any]:
    """Run until the molecule breaks, or to the end; the models of the first labels alone."""
    done = work / f"without-{drive}-{seed}.json"
    if done.exists():
        return json.loads(done.read_text())
    members = ensemble(work, 0, n_start)
    model = members.model if drive == "central" else members
    run = work / f"without-{drive}-{seed}"
    start = start_structure(work)
    result: dict[str, Any] = {"drive": drive, "seed": seed, "broken_after_fs": None, "why": None}
    for steps in range(CHUNK, STEPS_WITHOUT[drive] + 1, CHUNK):
        settings = MdSettings(steps=steps, seed=seed, **(DYNAMICS | {"trajectory_interval": 10}))
        error = None
        try:
            heed(run_md(model, start, settings, run, resume=(run / "restart.npz").exists()))
        except SimulationError as caught:
            error = caught
        broken = first_break(run, start)
        if broken is not None:
            result |= {"broken_after_fs": broken[0], "why": broken[1]}
            break
        if error is not None:
            result |= {"broken_after_fs": float(ase.io.read(run / "failed.xyz").info["time_fs"]), "why": error.got}
            break
        result["whole_for_fs"] = 0.5 * steps
    print("without gate", json.dumps(result, ensure_ascii=False), flush=True)
    write_atomically(done, json.dumps(result, ensure_ascii=False).encode())
    return result


def with_gate(work: Path) -> dict[str, Any]:
    """Run, label where the gate closes, train on, go on."""
    path = work / "with-gate.json"
    state: dict[str, Any] = {"labels_added": 0, "part": 0, "done_before": 0, "events": [], "breaks": [], "cpu_s": {}}
    if path.exists():
        state = json.loads(path.read_text())
    start = start_structure(work)
    model = ensemble(work, state["labels_added"])
    while not state.get("finished"):
        run = work / f"with-gate-{state['part']}"
        gate = GateSettings(threshold=THRESHOLD, every=LOOK_EVERY, drive="central")
        begun = time.process_time()
        step, gated, broken = 0, False, None
        target = STEPS - state["done_before"]
        try:
            settings = MdSettings(steps=target, seed=10 + state["part"], gate=gate, **DYNAMICS)
            settings = settings.model_copy(update={"steps": min(target, next_chunk(run))})
            result = heed(run_md(model, start, settings, run, resume=(run / "restart.npz").exists()))
            step, gated = result.step, result.gated
            broken = first_break(run, start)
        except SimulationError as caught:
            failed = ase.io.read(run / "failed.xyz").info
            step, broken = failed["step"], first_break(run, start) or (failed["time_fs"], caught.got)
        spend(state, "dynamics", begun)
        if broken is not None:
            event = {"part": state["part"], "time_fs": broken[0], "why": broken[1]}
            state["breaks"].append(event)
            state["done_before"] += int(broken[0] / 0.5)
            state["part"] += 1
            print("broken", json.dumps(event, ensure_ascii=False), flush=True)
        elif gated:
            begun = time.process_time()
            event = label_gated(work, run, state)
            spend(state, "labels", begun)
            if event["labelled"]:
                state["labels_added"] += 1
                save(path, state)
                begun = time.process_time()
                model = ensemble(work, state["labels_added"])
                spend(state, "training", begun)
            state["events"].append(event)
            print("gate", json.dumps(event), flush=True)
        elif step >= target:
            state["finished"] = True
        print(f"part {state['part']} step {step} · {state['labels_added']} labels · {time.ctime()}", flush=True)
        save(path, state)
    return state


def heed(result: MdResult) -> MdResult:
    """Stop as well where a signal stopped the dynamics; the same command goes on."""
    if result.stopped_by is not None:
        raise SystemExit(128 + result.stopped_by)
    return result


def next_chunk(run: Path) -> int:
    """Steps until the bonds are looked at again."""
    log = run / "log.jsonl"
    last = json.loads(log.read_text().splitlines()[-1])["step"] if log.exists() else 0
    return (last // CHUNK + 1) * CHUNK


def label_gated(work: Path, run: Path, state: dict[str, Any]) -> dict[str, Any]:
    """Label the frame at which the gate closed, and compare what was predicted with it."""
    frame = ase.io.read(run / "gated.xyz", index=-1)
    structure = Structure.from_ase(frame, charge=0, spin=0)
    event: dict[str, Any] = {
        "part": state["part"],
        "step": int(frame.info["step"]),
        "uncertainty": float(np.linalg.norm(frame.arrays["forces_uncertainty"], axis=1).max()),
        "labelled": False,
    }
    try:
        record = create_engine("pyscf").label(structure, ("energy", "forces"))
    except EngineError as error:
        return event | {"why": error.got}
    errors = np.linalg.norm(frame.get_forces() - np.asarray(record.labels["forces"]), axis=1)
    with open_store(work) as labels:
        # A kill between the label and the note of it leaves the label; it is not counted twice.
        if len(labels) == N_START + state["labels_added"]:
            labels.append(record)
    return event | {"labelled": True, "largest_error": float(errors.max()), "mean_error": float(errors.mean())}


def start_structure(work: Path) -> Structure:
    """The first labelled geometry."""
    with DatasetStore.open(work / "labels.lmdb") as labels:
        return labels[0].structure


def first_break(run: Path, start: Structure) -> tuple[float, str] | None:
    """Time [fs] and bond of the first frame of a trajectory that is not whole."""
    for frame in ase.io.iread(run / "trajectory.xyz"):
        why = is_broken(start, Structure.from_ase(frame))
        if why is not None:
            return float(frame.info["time_fs"]), why
    return None


def check_against_reference(work: Path, n_frames: int = 20) -> dict[str, Any]:
    """Forces of the last models against PySCF, on frames spread evenly over the run with the gate."""
    done = work / "check.json"
    if done.exists():
        return json.loads(done.read_text())
    state = json.loads((work / "with-gate.json").read_text())
    frames = ase.io.read(work / f"with-gate-{state['part']}" / "trajectory.xyz", index=":")
    chosen = [frames[index] for index in np.linspace(1, len(frames) - 1, n_frames).astype(int)]
    model, engine = ensemble(work, state["labels_added"]), create_engine("pyscf")
    structures = [Structure.from_ase(frame) for frame in chosen]
    graph = collate([model.model.graph(structure, ("energy", "forces")) for structure in structures])
    predicted = model.predict(graph, ("energy", "forces")).mean.forces
    reference = np.concatenate([engine.label(one, ("energy", "forces")).labels["forces"] for one in structures])
    errors = predicted.double().numpy() - reference
    result = {"n_frames": n_frames, "force_mae_eV_per_A": float(np.abs(errors).mean()),
              "largest_component_error": float(np.abs(errors).max())}  # fmt: skip
    write_atomically(done, json.dumps(result).encode())
    return result


def describe_trajectory(work: Path) -> dict[str, Any]:
    """How far bonds were stretched, and how hot it was, over the last part of the run with the gate."""
    state, start = json.loads((work / "with-gate.json").read_text()), start_structure(work)
    frames = ase.io.read(work / f"with-gate-{state['part']}" / "trajectory.xyz", index=":")
    stretches = [largest_stretch(start, Structure.from_ase(frame)) for frame in frames]
    # The thermostat moves the centre of mass as well: 3 n_atoms components, as ASE counts them.
    temperature = float(np.mean([frame.get_temperature() for frame in frames]))
    return {"largest_stretch": max(stretches), "mean_temperature_K": temperature}


def measure_cost(work: Path, steps: int = 60) -> dict[str, float]:
    """CPU time of a step [ms]: a plain model, an ensemble's mean, its central model with a look every few steps."""
    done = work / "cost.json"
    if done.exists():
        return json.loads(done.read_text())
    members = ensemble(work, 0)
    with DatasetStore.open(work / "labels.lmdb") as labels:
        records = [labels[index] for index in range(N_START)]
    targets = default_targets(records, members.model.config)
    examples = build_examples(records, members.model, targets, [str(index) for index in range(N_START)])
    posterior = fit_last_layer(members.model, examples)
    found = {}
    for name, model, every in (
        ("plain model", members.model, 0),
        ("mean of the ensemble", members, 0),
        (f"central model, ensemble asked every {LOOK_EVERY}", members, LOOK_EVERY),
        (f"central model, last layer's posterior asked every {LOOK_EVERY}", posterior, LOOK_EVERY),
    ):
        atoms = start_structure(work).to_ase()
        atoms.calc = AdiabatCalculator(model, drive="central" if every else "mean")
        atoms.get_forces()
        begun = time.process_time()
        for step in range(steps):
            atoms.rattle(1e-3, seed=step)
            atoms.get_forces()
            if every and step % every == 0:
                atoms.calc.get_largest_force_uncertainty(atoms)
        found[name] = 1e3 * (time.process_time() - begun) / steps
    write_atomically(done, json.dumps(found, ensure_ascii=False).encode())
    return found


def report(results: dict[str, Any]) -> str:
    """What the json says, for reading."""
    gated, check, settings = results["with_gate"], results["check"], results["settings"]
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    plain = [_row(one, settings["start_frames"]) for one in results["without_gate"]]
    plain += [_row(one, N_CONTROL) for one in results["control"]]
    events = [
        f"| {one['step'] * 0.5e-3:.3f} | {one['uncertainty']:.2f} | {one.get('largest_error', float('nan')):.2f} |"
        for one in gated["events"]
    ]
    cost = [f"| {name} | {value:.1f} |" for name, value in results["cost"].items()]
    duration = 0.5e-3 * settings["steps"]
    return "\n".join(
        [
            "# Dynamics with a gate: ethanol at 600 K",
            "",
            f"Made by `benchmarks/data_efficiency/gated_md.py`. {machine}.",
            "",
            f"Ensemble of {settings['members']} small models, begun from {settings['start_frames']} labels "
            f"(PySCF, PBE/def2-SVP). Langevin, 0.5 fs. The gate looks every {settings['look_every']} steps and closes "
            f"at {settings['threshold_eV_per_A']} eV/Å, uncalibrated. After each label, every model is trained on for "
            f"{settings['further']['steps']} steps.",
            "",
            "## Without a gate, from the first labels alone",
            "",
            "| first labels | moved by | seed | what came of it |",
            "|---|---|---|---|",
            *plain,
            "",
            "## With the gate",
            "",
            f"{duration:g} ps at 600 K with {len(gated['breaks'])} broken molecules and {gated['labels_added']} labels "
            f"beyond the first {settings['start_frames']}.",
            "",
            f"On {check['n_frames']} frames spread over the run, labelled afterwards: mean absolute error of forces "
            f"{1e3 * check['force_mae_eV_per_A']:.0f} meV/Å, largest of a component "
            f"{check['largest_component_error']:.2f} eV/Å. The longest bond of all frames was "
            f"{check['largest_stretch']:.2f} sums of covalent radii (1.6 counts as broken); the mean temperature "
            f"{check['mean_temperature_K']:.0f} K.",
            "",
            "CPU seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in gated["cpu_s"].items()) + ".",
            "",
            "| gate closed at [ps] | largest σ of an atom's force [eV/Å] | largest error of one [eV/Å] |",
            "|---|---|---|",
            *events,
            "",
            "## What a step costs",
            "",
            "| | CPU ms |",
            "|---|---|",
            *cost,
            "",
        ]
    )


def _row(one: dict[str, Any], n_labels: int) -> str:
    after = one["broken_after_fs"]
    if after is None:
        what = f"whole for {one['whole_for_fs'] / 1e3:g} ps, as far as it ran"
    else:
        what = f"broken after {after / 1e3:.2f} ps: {one['why']}"
    return f"| {n_labels} | {one['drive']} | {one['seed']} | {what} |"


def spend(state: dict[str, Any], what: str, begun: float) -> None:
    """Add CPU time of one stage."""
    state["cpu_s"][what] = state["cpu_s"].get(what, 0.0) + time.process_time() - begun


def save(path: Path, state: dict[str, Any]) -> None:
    """Keep the state."""
    write_atomically(path, json.dumps(state, indent=1, ensure_ascii=False).encode())


def describe_machine(work: Path) -> dict[str, Any]:
    """What numbers depend on, as it was when the run was begun."""
    path = work / "machine.json"
    if path.exists():
        return json.loads(path.read_text())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    machine = {
        "machine": platform.machine(),
        "threads": 1,
        "python": platform.python_version(),
        "torch": version("torch"),
        "pyscf": version("pyscf"),
        "commit": commit.strip(),
    }
    write_atomically(path, json.dumps(machine).encode())
    return machine


if __name__ == "__main__":
    main(*sys.argv[1:])
