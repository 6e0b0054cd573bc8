r"""Time and memory of the densities of states and of 50 states near the Fermi level, as cells grow to 10 000 atoms.

The matrices are those of one hBN frame (PBE/SZVP-MOLOPT-SR, CP2K, shared/data/hbn_ham), repeated, with a random
potential on each atom, (v_i + v_j)/2 · S_ij, so that no level is degenerate; or those that a trained model predicts for
a structure file or a twisted bilayer. Each case runs in a process of its own, whose peak memory counts everything.

    python benchmarks/crystals/electronic_scale.py --frames ../shared/data/hbn_ham/hbn_pbe_szvp.npz \
        --dos 9 13 18 25 36 --states 8 12 16 20
    python benchmarks/crystals/electronic_scale.py --model runs/hbn/model.safetensors \
        --structure layer.xyz --dos 1 --states 1    # or --layer hbn.xyz --twist 31 1
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adiabat.core.operators import BlockOperator
from adiabat.core.units import HARTREE
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.fermi_states import states_around_fermi_level, wrapped_coordinates
from adiabat.electronic.kpm import estimate_kpm, kpm_moments
from adiabat.electronic.kpm_density import kpm_density, kpm_fermi_level
from adiabat.electronic.kpm_settings import KpmSettings
from adiabat.electronic.shift_invert import SparsePencil
from adiabat.electronic.supercell import supercell_operator, supercell_positions

RESULTS = Path(__file__).parents[1] / "results"
DISORDER = 0.1
"""Standard deviation of the potential [eV]."""

N_STATES = 50
Arrays = tuple[Crystal, np.ndarray[Any, Any]]


def frame_crystal(path: Path, frame: int, repeats: int) -> Arrays:
    """Supercell of one frame of the hBN set, and its positions [Å]."""
    data = np.load(path, allow_pickle=False)
    atoms, edges = (slice(*data[name][frame : frame + 2]) for name in ("atom_ptr", "edge_ptr"))
    n_orbitals = np.full(atoms.stop - atoms.start, 9)
    pairs = np.concatenate([data["edge_R"][edges], data["edge_index"][edges]], axis=1)
    h, s = (
        supercell_operator(
            BlockOperator.from_blocks(pairs, data[name][edges] * unit, n_orbitals).symmetrized(), (repeats, repeats, 1)
        )
        for name, unit in (("H", HARTREE), ("S", 1.0))
    )
    cell, positions = data["cell"][frame], data["pos"][atoms]
    # B and N bring three and five electrons: four an atom.
    large = cell * np.array([repeats, repeats, 1])[:, None]
    crystal = Crystal(with_disorder(h, s), s, large, np.array([True, True, False]), 4.0 * h.n_atoms)
    return crystal, supercell_positions(positions, cell, (repeats, repeats, 1))


def with_disorder(h: BlockOperator, s: BlockOperator) -> BlockOperator:
    """H plus a random potential on each atom, which acts as (v_i + v_j)/2 · S_ij."""
    v = DISORDER * np.random.default_rng(0).normal(size=h.n_atoms)
    half = (v[h.pairs[:, 3]] + v[h.pairs[:, 4]]) / 2
    return h.with_values(h.values + np.repeat(half, np.diff(h.offsets)) * s.values)


def model_crystal(options: argparse.Namespace) -> Arrays:
    """H and S that a trained model predicts for a structure file or a twisted bilayer, and its positions [Å]."""
    from ase.io import read

    from adiabat.data.structure import Structure
    from adiabat.data.twisted_bilayer import twisted_bilayer
    from adiabat.models.package import load_model
    from adiabat.simulation.crystal_electrons import crystal_from_model

    structure = Structure.from_ase(read(options.structure or options.layer))
    if options.twist:
        structure = twisted_bilayer(structure, *options.twist, distance=options.distance)
    electrons = crystal_from_model(load_model(options.model), structure)
    return electrons.crystal, structure.positions


def measure_dos(crystal: Crystal, options: argparse.Namespace) -> dict[str, Any]:
    """Density of states of one cell."""
    settings = KpmSettings(resolution=options.resolution, n_vectors=options.vectors, batch=options.batch)
    estimate = estimate_kpm(crystal, settings)
    clock = Clock()
    moments = kpm_moments(crystal, settings, progress=clock.steps)
    level = kpm_fermi_level(moments, crystal.n_electrons)
    grid = np.arange(level.level - 20, level.level + 12, options.resolution / 4)
    density = kpm_density(moments, grid)
    inside = density.values[0] > 0.05 * density.values.max()
    return {
        **clock.times(),
        "estimated_gb": estimate.n_bytes / 1e9,
        "estimated_s": estimate.seconds,
        "n_moments": moments.values.shape[2],
        "n_vectors": moments.n_vectors,
        "resolution_ev": options.resolution,
        "inverse_error": moments.inverse_error,
        "reference_ev": moments.settings.reference,
        "fermi_ev": [level.low, level.level, level.high],
        "count_error_electrons": level.count_error,
        "relative_error": float(np.median(density.errors[0][inside] / density.values[0][inside])),
        "curve": {
            "energy_ev": grid.round(4).tolist(),
            "states_per_ev_per_atom": (density.values[0] / crystal.overlap.n_atoms).round(6).tolist(),
            "error": (density.errors[0] / crystal.overlap.n_atoms).round(6).tolist(),
        },
    }


def measure_states(crystal: Crystal, positions: np.ndarray[Any, Any], _: argparse.Namespace) -> dict[str, Any]:
    """States around the Fermi level of one cell."""
    coordinates = wrapped_coordinates(positions, crystal.cell, crystal.periodic)
    clock = Clock()
    pencil_estimate = SparsePencil(*_pencil(crystal), coordinates=coordinates).estimate(N_STATES)
    found = states_around_fermi_level(crystal, N_STATES, coordinates=coordinates, report=clock.say)
    (window,) = found.windows
    return {
        **clock.times(),
        "estimated_gb": pencil_estimate.n_bytes / 1e9,
        "estimated_s_per_factorization": pencil_estimate.seconds,
        "factorization_gflop": pencil_estimate.n_flops / 1e9,
        "n_states": len(window.energies),
        "n_factorizations": found.n_factorizations,
        "is_complete": window.is_complete,
        "homo_ev": found.homo,
        "lumo_ev": found.lumo,
        "largest_residual_ev": float(window.residuals.max()),
        "energies_ev": window.energies.round(9).tolist(),
    }


def _pencil(crystal: Crystal) -> tuple[BlockOperator, BlockOperator]:
    from adiabat.electronic.kpm import channels

    return channels(crystal, None)[0]


class Clock:
    """Wall and processor time since it was made, with a line of progress now and then."""

    def __init__(self) -> None:
        self._wall, self._cpu, self._said = time.perf_counter(), time.process_time(), 0.0

    def times(self) -> dict[str, float]:
        """Seconds."""
        return {
            "wall_s": round(time.perf_counter() - self._wall, 2),
            "cpu_s": round(time.process_time() - self._cpu, 2),
        }

    def say(self, what: str) -> None:
        """On standard error."""
        print(f"  {self.times()['wall_s']:8.1f} s  {what}", file=sys.stderr, flush=True)

    def steps(self, done: int, total: int) -> None:
        """Every minute."""
        now = time.perf_counter()
        if now - self._said > 60:
            self._said = now
            self.say(f"step {done} of {total}")


def run_case(task: str, repeats: int, options: argparse.Namespace) -> dict[str, Any]:
    """One row, measured in this process."""
    torch.set_num_threads(options.threads)
    clock = Clock()
    crystal, positions = (
        model_crystal(options) if options.model else frame_crystal(options.frames, options.frame, repeats)
    )
    built = clock.times()
    row = measure_dos(crystal, options) if task == "dos" else measure_states(crystal, positions, options)
    return {
        "task": task,
        "source": str(options.model or f"hbn_ham frame {options.frame}, {repeats}x{repeats}"),
        "n_atoms": crystal.overlap.n_atoms,
        "n_orbitals": crystal.n_orb,
        "n_nonzeros": len(crystal.overlap.values),
        "build_wall_s": built["wall_s"],
        "build_cpu_s": built["cpu_s"],
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "threads": options.threads,
        "commit": describe()["commit"],
        **row,
    }


def case(row: dict[str, Any]) -> tuple[object, ...]:
    """What a row is of: a later measurement of the same replaces it."""
    return tuple(row[key] for key in ("task", "source", "n_atoms"))


def exponent(rows: list[dict[str, Any]], key: str) -> float | None:
    """Slope of log(key) over log(n_atoms); None from fewer than three sizes."""
    if len({row["n_atoms"] for row in rows}) < 3:
        return None
    sizes, values = np.array([row["n_atoms"] for row in rows]), np.array([row[key] for row in rows])
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def table(results: dict[str, Any]) -> str:
    """The rows in Markdown."""
    lines = [
        f"{results['machine']}; {results['versions']}; commit {results['commit']}; {results['date']}. Processor time "
        "(cpu) is the measure where other work kept the machine busy; memory is the process's peak, with "
        "the input matrices.",
        "",
        "| task | atoms | orbitals | cpu [s] | wall [s] | threads | peak memory [GB] | what |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        what = (
            f"{row['n_moments']} moments, {row['n_vectors']} vectors, {row['resolution_ev']} eV, error "
            f"{row['relative_error']:.1%}"
            if row["task"] == "dos"
            else f"{row['n_states']} states, {row['n_factorizations']} factorizations, gap "
            f"{row['lumo_ev'] - row['homo_ev']:.4f} eV, residual {row['largest_residual_ev']:.1e} eV, "
            f"{'complete' if row['is_complete'] else 'not proven'}"
        )
        lines.append(
            f"| {row['task']} | {row['n_atoms']} | {row['n_orbitals']} | {row['cpu_s']:.0f} | {row['wall_s']:.0f} | "
            f"{row['threads']} | {row['peak_gb']:.2f} | {what} |"
        )
    lines.append("")
    for task, fit in results["exponents"].items():
        if fit["cpu_s"] is not None:
            lines.append(f"{task}: time ∝ N^{fit['cpu_s']:.2f}, memory ∝ N^{fit['peak_gb']:.2f}.")
    return "\n".join(lines) + "\n"


def describe() -> dict[str, str]:
    """Machine, versions and commit."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    names = ("adiabat", "torch", "numpy", "scipy")
    return {
        "machine": f"{cpu}, load {Path('/proc/loadavg').read_text().split()[0]}",
        "versions": f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names),
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    """Run every case in a process of its own, and write JSON and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, help="hbn_pbe_szvp.npz")
    parser.add_argument("--frame", type=int, default=0)
    parser.add_argument("--model", type=Path, help="a trained model, instead of a frame")
    parser.add_argument("--structure", type=Path, help="structure file for the model")
    parser.add_argument("--layer", type=Path, help="monolayer that is twisted")
    parser.add_argument("--twist", type=int, nargs=2, metavar=("M", "R"))
    parser.add_argument("--distance", type=float, default=3.33, help="between the layers [Å]")
    parser.add_argument("--dos", type=int, nargs="*", default=[], help="repeats (1 with a model)")
    parser.add_argument("--states", type=int, nargs="*", default=[], help="repeats (1 with a model)")
    parser.add_argument("--resolution", type=float, default=0.1)
    parser.add_argument("--vectors", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS / "electronic_scale")
    parser.add_argument("--one", nargs=2, metavar=("TASK", "REPEATS"), help="measure one case here and print it")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_case(options.one[0], int(options.one[1]), options)))
        return
    results: dict[str, Any] = {**describe(), "rows": []}
    path = options.output.with_suffix(".json")
    if path.exists():
        results["rows"] = json.loads(path.read_text())["rows"]
    for task, repeats in [*(("states", n) for n in options.states), *(("dos", n) for n in options.dos)]:
        print(f"{task}, {repeats} repeats", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, *sys.argv[1:], "--one", task, str(repeats)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        same = [
            r
            for r in results["rows"]
            if (r["task"], r["source"], r["n_atoms"]) != (row["task"], row["source"], row["n_atoms"])
        ]
        results["rows"] = sorted([*same, row], key=lambda r: (r["task"], r["n_atoms"]))
        results["exponents"] = {
            kind: {
                key: exponent([r for r in results["rows"] if r["task"] == kind and "hbn_ham" in r["source"]], key)
                for key in ("cpu_s", "peak_gb")
            }
            for kind in ("dos", "states")
        }
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
        options.output.with_suffix(".md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
