import pickle
from dataclasses import replace

import numpy as np
import pytest

from adiabat.core.errors import (
    BasisError,
    ConfigError,
    EngineError,
    FieldError,
    LabelError,
    ScfNotConvergedError,
    StructureError,
)
from adiabat.data.record import Provenance
from adiabat.data.structure import Structure
from adiabat.engines.pyscf_molecule import PyscfEngine

HYDROGEN = Structure(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 0.74]]))
OXYGEN = Structure(np.array([8, 8]), np.array([[0.0, 0, 0], [0, 0, 1.21]]), spin=2)
HF = PyscfEngine(xc="hf", basis="sto-3g")


def test_a_record_holds_exactly_what_was_asked_for():
    targets = ["energy", "hamiltonian", "overlap", "h0", "density_matrix", "fermi_level", "orbital_energies", "charges"]
    record = HF.label(HYDROGEN, targets)
    assert list(record.labels) == targets
    assert record.labels["density_matrix"].to_dense().shape == (2, 2)
    homo, lumo = record.labels["orbital_energies"]
    assert record.labels["fermi_level"] == pytest.approx((homo + lumo) / 2)
    # tr(D S) counts the electrons.
    product = record.labels["density_matrix"].to_dense() @ record.labels["overlap"].to_dense()
    assert np.trace(product) == pytest.approx(2.0, abs=1e-10)


def test_overlap_and_h0_need_no_scf(monkeypatch):
    monkeypatch.setattr("adiabat.engines.pyscf_molecule.converge", None)  # calling it would fail
    labels = HF.label(HYDROGEN, ["overlap", "h0"]).labels
    assert set(labels) == {"overlap", "h0"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_cycles", 0), ("damping", 1.0), ("level_shift", -1.0), ("level_shift", float("nan")), ("conv_tol", 0.0)],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        replace(HF, **{name: value})


def test_a_basis_is_the_same_however_it_is_spelled():
    small, large = (replace(HF, basis=name).provenance(HYDROGEN) for name in ("sto-3g", "STO-3G"))
    assert small == large


def test_provenance_names_what_changes_the_numbers_and_nothing_else():
    provenance = PyscfEngine(grid_level=4).provenance(HYDROGEN)
    assert provenance.method == provenance.fidelity == "PBE/def2-svp"
    assert provenance.settings["grid_level"] == 4
    assert provenance.orbital_basis is not None
    assert provenance.orbital_basis.shells == {1: (0, 0, 1)}
    assert Provenance.from_json(provenance.to_json()).settings_hash == provenance.settings_hash
    same = PyscfEngine(
        grid_level=4, max_cycles=7, level_shift=3.0, damping=0.2, coarse_grid_level=None, second_order=True
    )
    assert same.provenance(HYDROGEN).settings_hash == provenance.settings_hash
    others = [
        PyscfEngine(grid_level=5),
        PyscfEngine(grid_level=4, xc="pbe0"),
        PyscfEngine(grid_level=4, density_fit=True),
    ]
    assert provenance.settings_hash not in {other.provenance(HYDROGEN).settings_hash for other in others}


def test_engines_travel_to_other_processes():
    assert pickle.loads(pickle.dumps(HF)) == HF


def test_an_unconverged_scf_gives_no_label_but_residual_and_advice():
    stretched = Structure(np.array([8, 1, 1]), np.array([[0.0, 0, 0], [1.4, 0, 0], [-0.3, 1.3, 0]]))
    for coarse in (None, 0):
        engine = PyscfEngine(basis="sto-3g", grid_level=1, max_cycles=2, coarse_grid_level=coarse)
        with pytest.raises(
            ScfNotConvergedError, match=r"orbital gradient is still \d\.\de[-+]\d\d Ha after 2"
        ) as caught:
            engine.label(stretched, ["energy"])
        assert "--level-shift" in caught.value.suggestion


def test_level_shift_and_damping_reach_the_same_answer():
    plain, helped = (
        engine.label(HYDROGEN, ["hamiltonian"]).labels["hamiltonian"].values
        for engine in (
            PyscfEngine(basis="6-31g", grid_level=1),
            PyscfEngine(basis="6-31g", grid_level=1, level_shift=5.0, damping=0.2),
        )
    )
    # Two SCFs, each converged to an orbital gradient of 5e-7 Ha.
    assert np.abs(plain - helped).max() < 1e-4


def test_newton_steps_reach_the_same_answer_and_get_there_where_diis_does_not():
    options = {"xc": "hf", "basis": "6-31g", "coarse_grid_level": None}
    stretched = Structure(np.array([8, 1, 1]), np.array([[0.0, 0, 0], [1.8, 0, 0], [-0.6, 1.7, 0]]))
    plain, newton = (
        PyscfEngine(**options, second_order=second).label(HYDROGEN, ["energy", "forces"]).labels
        for second in (False, True)
    )
    assert abs(float(plain["energy"]) - float(newton["energy"])) < 1e-8  # both to 1e-10 Ha
    assert np.abs(plain["forces"] - newton["forces"]).max() < 1e-4
    with pytest.raises(ScfNotConvergedError):
        PyscfEngine(**options, max_cycles=8).label(stretched, ["energy"])
    PyscfEngine(**options, max_cycles=8, second_order=True).label(stretched, ["energy"])


@pytest.mark.parametrize(("target", "error"), [("energies", FieldError), ("stress", LabelError)])
def test_targets_that_it_does_not_give_are_refused(target, error):
    with pytest.raises(error):
        HF.label(HYDROGEN, [target])


def test_orbital_labels_of_open_shells_are_refused_but_energies_are_not():
    engine = PyscfEngine(xc="hf", basis="sto-3g", unrestricted=True)
    with pytest.raises(EngineError, match="each spin"):
        engine.label(OXYGEN, ["hamiltonian"])
    with pytest.raises(EngineError, match="each spin"):
        engine.check([HYDROGEN], ["energy", "h0"])
    with pytest.raises(EngineError, match="each spin"):
        engine.scf_cycles(OXYGEN, None)
    assert engine.label(OXYGEN, ["energy", "forces", "overlap"]).labels["energy"] < 0


def test_open_shells_need_unrestricted_orbitals():
    with pytest.raises(EngineError, match="--unrestricted"):
        HF.label(OXYGEN, ["energy"])


def test_one_electron_and_no_empty_orbital():
    atom = Structure(np.array([1]), np.zeros((1, 3)), spin=1)
    energy = PyscfEngine(xc="hf", basis="cc-pvdz", unrestricted=True).label(atom, ["energy"]).labels["energy"]
    assert energy == pytest.approx(-13.6, abs=0.02)
    helium = Structure(np.array([2]), np.zeros((1, 3)))
    with pytest.raises(EngineError, match="no empty orbital"):
        HF.label(helium, ["fermi_level"])


def test_bad_settings_are_refused_before_any_work():
    with pytest.raises(EngineError, match="'pbee'"):
        PyscfEngine(xc="pbee")
    with pytest.raises(BasisError, match="g shells"):
        PyscfEngine(basis="def2-qzvp").check([OXYGEN], ["energy"])
    with pytest.raises(StructureError, match="unpaired"):
        HF.label(replace(HYDROGEN, charge=1), ["energy"])
