import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from adiabat.core.errors import ConfigError, EngineError, LabelError, StructureError
from adiabat.data.structure import Structure
from adiabat.engines.ase_calculator import AseEngine
from adiabat.engines.registry import ENGINES, create_engine

COPPER = Structure.from_ase(bulk("Cu", cubic=True))


def rattled() -> Structure:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    return Structure.from_ase(atoms)


def test_labels_are_the_calculator_s():
    structure = rattled()
    record = create_engine("emt").label(structure, ["energy", "forces", "stress"])
    atoms = structure.to_ase()
    atoms.calc = EMT()
    assert record.labels["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    assert np.allclose(record.labels["forces"], atoms.get_forces(), atol=1e-12)
    assert np.allclose(record.labels["stress"], atoms.get_stress(voigt=False), atol=1e-12)
    assert record.provenance.code == "ase:ase.calculators.emt.EMT"
    assert record.provenance.method == "EMT"


def test_available_is_what_the_calculator_implements():
    assert create_engine("emt").available == {"energy", "forces", "stress"}
    with pytest.raises(LabelError, match="'hamiltonian' from engine 'ase'"):
        create_engine("emt").label(COPPER, ["hamiltonian"])


def test_settings_tell_engines_apart():
    one, two = (create_engine("lj", sigma=sigma).provenance(COPPER).settings_hash for sigma in (2.0, 2.5))
    assert one != two


@pytest.mark.parametrize("name", ["CH3OH", "CO2"])
def test_what_the_calculator_cannot_do_is_a_user_error(name):
    water = Structure.from_ase(molecule(name))
    with pytest.raises(EngineError):
        create_engine("emt").label(water, ["stress"])


def test_unknown_elements_are_a_user_error():
    uranium = Structure(np.array([92]), np.zeros((1, 3)))
    with pytest.raises(EngineError, match="EMT fails"):
        create_engine("emt").label(uranium, ["energy"])


def test_overlapping_atoms_are_refused():
    with pytest.raises(StructureError, match="at a distance of"):
        create_engine("emt").label(Structure(np.array([29, 29]), np.zeros((2, 3))), ["energy"])


def test_any_instance_can_be_wrapped():
    engine = AseEngine(EMT(), method="EMT", settings={"asap_cutoff": False})
    assert engine.label(COPPER, ["energy"]).provenance.settings == {"asap_cutoff": False}


def test_every_registered_engine_can_be_made():
    of_tests = {"counted", "absent"}  # tests of campaigns add these two to the registry of their process
    names = {create_engine(name).name for name in ENGINES if name not in of_tests}
    assert names >= {"pyscf", "tblite", "ase", "cp2k", "cp2k-gfn1", "tight-binding"}


def test_unknown_names_and_options_get_the_nearest():
    with pytest.raises(ConfigError, match="'pyscf'"):
        create_engine("pysfc")
    with pytest.raises(ConfigError, match="'grid_level'"):
        create_engine("pyscf", grid_levle=3)
    with pytest.raises(ConfigError, match="no option"):
        create_engine("emt", xc="pbe")
    with pytest.raises(ConfigError, match=r"engine 'os\.system'"):
        create_engine("os.system")
