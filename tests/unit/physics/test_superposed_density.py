import numpy as np
import pytest

from adiabat.core.errors import EngineError, StructureError
from adiabat.data.structure import Structure
from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.physics.basis import pyscf_molecule
from adiabat.physics.h0 import superposed_density_hamiltonian
from adiabat.physics.mean_field import check_functional, mean_field

WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))


@pytest.mark.parametrize(("xc", "density_fit"), [("pbe", False), ("pbe", True), ("hf", False)])
def test_the_settings_of_the_labels_repeat_their_h0(xc, density_fit):
    """What a model adds to its prediction is what was taken off the labels."""
    record = PyscfEngine(xc=xc, basis="def2-svp", grid_level=1, density_fit=density_fit).label(WATER, ["h0"])
    settings = record.provenance.settings
    h0 = superposed_density_hamiltonian(
        WATER, settings["xc"], settings["basis"], settings["grid_level"], density_fit=settings["density_fit"]
    )
    assert np.abs(h0.values - record.labels["h0"].values).max() < 1e-10
    assert settings["h0"] == "minao"


def test_h0_is_symmetric():
    h0 = superposed_density_hamiltonian(WATER, "pbe", "sto-3g", 1)
    assert h0.hermiticity_error() < 1e-10


def test_open_shells_are_refused():
    oxygen = Structure(np.array([8]), np.zeros((1, 3)), spin=2)
    with pytest.raises(StructureError, match="2 unpaired"):
        superposed_density_hamiltonian(oxygen, "pbe", "sto-3g", 1)


@pytest.mark.parametrize(
    ("xc", "hint"), [("pbee", "pbe"), ("", "pbe"), ("wb97m-v", "VV10"), ("pbe-d3bj", "xc='pbe'"), ("wb97x-d3", "wb97x")]
)
def test_functionals_that_cannot_be_used_are_refused(xc, hint):
    with pytest.raises(EngineError, match="functional") as caught:
        check_functional(xc)
    assert hint in str(caught.value)


@pytest.mark.parametrize("level", [-1, 10])
def test_grid_levels_out_of_range_are_refused(level):
    with pytest.raises(EngineError, match="grid level"):
        superposed_density_hamiltonian(WATER, "pbe", "sto-3g", level)


def test_restricted_orbitals_for_an_open_shell_are_refused():
    oxygen = pyscf_molecule(Structure(np.array([8]), np.zeros((1, 3)), spin=2), "sto-3g")
    with pytest.raises(EngineError, match="--unrestricted"):
        mean_field(oxygen, "pbe", grid_level=1)
