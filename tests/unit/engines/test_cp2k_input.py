import re
from dataclasses import replace

import numpy as np
import pytest

from adiabat.core.errors import ConfigError, EngineError
from adiabat.core.units import BOLTZMANN
from adiabat.data.structure import Structure
from adiabat.engines.cp2k_input import Cp2kTask, input_text
from adiabat.engines.kpoints import check_kpoints, mesh_of, mesh_points

LAYER = Structure(
    np.array([5, 7]),
    np.array([[0.0, 0, 0], [1.45, 0, 0]]),
    np.array([[2.5, 0, 0], [-1.25, 2.165, 0], [0, 0, 12.0]]),
    np.array([True, True, False]),
)
TASK = Cp2kTask(
    method="GPW", xc="pbesol", mesh=(6, 5, 1), kinds={"B": ("X", "GTH-PBE-q3"), "N": ("X", "GTH-PBE-q5")}, n_added=5,
    smearing=0.0, unrestricted=False, cutoff=600, rel_cutoff=60, eps_default=1e-12, eps_scf=1e-8, max_cycles=50,
    mixing=0.4, forces=True, stress=True, matrices=True,
)  # fmt: skip


def section(text: str, name: str) -> list[str]:
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip() == f"&{name}")
    end = next(i for i in range(start, len(lines)) if lines[i].strip() == f"&END {name.split()[0]}")
    return [line.strip() for line in lines[start + 1 : end]]


def cp2k_mesh(line: str) -> np.ndarray:
    """The k-points of a MacDonald mesh, by the formula of CP2K's manual."""
    words = line.split()[2:]
    counts, shifts = [int(n) for n in words[:3]], [float(s) for s in words[3:]]
    axes = [
        np.array([(2 * r - n - 1) / (2 * n) + s for r in range(1, n + 1)]) for n, s in zip(counts, shifts, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("mesh", [(6, 5, 1), (1, 1, 1), (2, 4, 3), (7, 8, 2)])
def test_the_mesh_that_cp2k_makes_is_ours(mesh):
    line = section(input_text(LAYER, replace(TASK, mesh=mesh)), "KPOINTS")[0]
    theirs = np.round(cp2k_mesh(line) % 1.0, 9) % 1.0
    ours = np.round(mesh_points(mesh) % 1.0, 9) % 1.0
    assert np.allclose(theirs[np.lexsort(theirs.T)], ours[np.lexsort(ours.T)], atol=1e-8)


def test_an_even_mesh_without_the_shift_lacks_gamma():
    """Negative control: what CP2K does by itself."""
    line = section(input_text(LAYER, TASK), "KPOINTS")[0]
    unshifted = " ".join([*line.split()[:5], "0", "0", "0"])
    assert np.abs(cp2k_mesh(line)).sum(axis=1).min() < 1e-9
    assert np.abs(cp2k_mesh(unshifted)).sum(axis=1).min() > 0.08


def test_every_section_is_closed_and_holds_what_was_asked_for():
    text = input_text(LAYER, TASK)
    assert len(re.findall(r"^ *&(?!END)", text, re.M)) == len(re.findall(r"^ *&END", text, re.M))
    assert "RUN_TYPE ENERGY_FORCE" in text
    assert "STRESS_TENSOR ANALYTICAL" in text
    assert section(text, "PBE") == ["PARAMETRIZATION PBESOL"]
    for name in ("KS_CSR_WRITE", "S_CSR_WRITE"):
        assert {"REAL_SPACE T", "UPPER_TRIANGULAR F", "BINARY T"} <= set(section(text, name))
    assert section(text, "KIND N") == ["BASIS_SET X", "POTENTIAL GTH-PBE-q5"]
    assert "SMEAR" not in text


def test_what_was_not_asked_for_is_not_computed():
    text = input_text(LAYER, replace(TASK, forces=False, stress=False, matrices=False))
    assert "RUN_TYPE ENERGY\n" in text
    assert "ANALYTICAL" not in text
    assert "CSR" not in text


def test_smearing_is_a_temperature_with_empty_bands():
    text = input_text(LAYER, replace(TASK, smearing=0.1))
    temperature = float(re.search(r"ELECTRONIC_TEMPERATURE \[K\] (\S+)", text)[1])
    assert temperature * BOLTZMANN == pytest.approx(0.1, rel=1e-9)
    assert "ADDED_MOS 5" in text


def test_positions_keep_fifteen_digits():
    moved = replace(LAYER, positions=LAYER.positions + 1 / 3)
    rows = [line.split() for line in section(input_text(moved, TASK), "COORD")]
    assert np.abs(np.array([row[1:] for row in rows], dtype=float) - moved.positions).max() < 1e-14


def test_spacing_gives_a_mesh_and_one_point_across_the_vacuum():
    assert mesh_of(LAYER, None, 0.3) == (10, 10, 1)
    assert mesh_of(LAYER, (3, 4, 1), 0.3) == (3, 4, 1)
    with pytest.raises(EngineError, match="4 k-points along lattice vector 3"):
        mesh_of(LAYER, (3, 4, 4), 0.3)


@pytest.mark.parametrize(("kpoints", "spacing"), [((6, 6), 0.3), ((6, 0, 1), 0.3), (None, 0.0), (None, float("nan"))])
def test_meshes_that_mean_nothing_are_refused(kpoints, spacing):
    with pytest.raises(ConfigError, match="k-"):
        check_kpoints(kpoints, spacing)
