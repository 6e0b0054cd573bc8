import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from adiabat.core.errors import (
    AdiabatError,
    ConfigError,
    EngineError,
    MissingExtraError,
    ScfNotConvergedError,
    StructureError,
)
from adiabat.data.structure import Structure
from adiabat.engines.tblite import TbliteEngine

WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))
CRYSTAL = Structure(
    np.array([14, 14]),
    np.array([[0.0, 0, 0], [1.40, 1.32, 1.36]]),
    cell=np.array([[0.1, 2.7, 2.7], [2.7, 0, 2.75], [2.65, 2.7, 0]]),
    pbc=np.ones(3, dtype=bool),
)
pytestmark = pytest.mark.skipif(importlib.util.find_spec("tblite") is None, reason="tblite is the extra xtb")


@pytest.mark.parametrize("method", ["GFN1-xTB", "GFN2-xTB"])
def test_forces_are_the_slope_of_the_energy(method):
    engine = TbliteEngine(method, accuracy=0.01)
    labels = engine.label(WATER, ["energy", "forces", "charges", "dipole"]).labels
    step = 1e-3
    shifted = []
    for sign in (1, -1):
        positions = WATER.positions.copy()
        positions[1, 0] += sign * step
        shifted.append(float(engine.label(replace(WATER, positions=positions), ["energy"]).labels["energy"]))
    # Third-order error of the central difference at this step.
    assert labels["forces"][1, 0] == pytest.approx(-(shifted[0] - shifted[1]) / (2 * step), abs=1e-4)
    assert labels["charges"].sum() == pytest.approx(0, abs=1e-8)
    assert labels["charges"][0] < 0 < labels["charges"][1]
    # From the negative oxygen to the positive hydrogens.
    assert labels["dipole"] @ (WATER.positions[1] + WATER.positions[2]) > 0


def test_stress_is_the_slope_under_strain():
    engine = TbliteEngine("GFN1-xTB", accuracy=0.01)
    stress = engine.label(CRYSTAL, ["stress"]).labels["stress"]
    volume = abs(np.linalg.det(CRYSTAL.cell))
    step = 1e-4
    for a, b in ((0, 0), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained = replace(CRYSTAL, positions=CRYSTAL.positions @ strain, cell=CRYSTAL.cell @ strain)
            energies.append(float(engine.label(strained, ["energy"]).labels["energy"]))
        slope = (energies[0] - energies[1]) / (2 * step * volume)
        assert stress[a, b] == pytest.approx(slope, abs=1e-5)


def test_provenance_names_the_method():
    provenance = TbliteEngine("GFN1-xTB").provenance(WATER)
    assert (provenance.code, provenance.method) == ("tblite", "GFN1-xTB")
    assert provenance.settings_hash != TbliteEngine("GFN2-xTB").provenance(WATER).settings_hash


def test_an_unconverged_scf_is_an_error():
    with pytest.raises(ScfNotConvergedError, match="1 cycles"):
        TbliteEngine(max_cycles=1).label(WATER, ["energy"])


@pytest.mark.parametrize(
    ("structure", "targets", "error", "match"),
    [
        (WATER, ["stress"], EngineError, "not periodic"),
        (replace(CRYSTAL, pbc=np.array([True, True, False])), ["energy"], EngineError, "along 2 of three"),
        (Structure(np.array([92]), np.zeros((1, 3))), ["energy"], EngineError, "atomic number 92"),
        (replace(WATER, positions=WATER.positions * 0.01), ["energy"], StructureError, "at a distance of"),
    ],
)
def test_structures_that_it_cannot_do_are_refused(structure, targets, error, match):
    with pytest.raises(error, match=match):
        TbliteEngine().label(structure, targets)


def test_images_of_one_atom_at_one_place_are_seen():
    crystal = replace(CRYSTAL, positions=np.array([[0.0, 0, 0], [0.1, 2.7, 2.72]]))
    with pytest.raises(StructureError, match=r"0\.02"):
        TbliteEngine().label(crystal, ["energy"])


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="GFN2-xTB"):
        TbliteEngine("GFN2")


def test_a_missing_tblite_names_the_extra(monkeypatch):
    monkeypatch.setattr("adiabat.engines.tblite.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"adiabat\[xtb\]"):
        TbliteEngine()


def test_every_refusal_is_a_user_error():
    with pytest.raises(AdiabatError):
        TbliteEngine().label(replace(WATER, spin=1), ["energy"])
