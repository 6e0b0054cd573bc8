import numpy as np
import pytest
from pyscf import gto

from adiabat.core.errors import BasisError, StructureError
from adiabat.core.units import BOHR
from adiabat.data.structure import Structure
from adiabat.physics.basis import molecule_shells, operator_from_pyscf, orbital_basis, overlap, pyscf_molecule


def hydrogen(distance: float = 0.74, **settings) -> Structure:
    return Structure(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, distance]]), **settings)


def test_shells_expand_contractions_in_the_basis_order():
    basis = orbital_basis([1, 6], "cc-pvdz")
    assert basis.shells == {1: (0, 0, 1), 6: (0, 0, 0, 1, 1, 2)}
    assert basis.name == "cc-pvdz"


def test_structures_and_numbers_give_one_basis():
    assert orbital_basis([hydrogen()], "def2-svp") == orbital_basis([1], "def2-svp")


def test_shells_agree_with_pyscf_on_every_atom():
    water = Structure(np.array([8, 1, 1]), np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))
    molecule = pyscf_molecule(water, "def2-tzvp")
    assert molecule_shells(molecule) == tuple(orbital_basis([water], "def2-tzvp").shell_sequence(water.atomic_numbers))
    assert np.allclose(molecule.atom_coords() * BOHR, water.positions, atol=1e-14)


def test_overlap_of_far_atoms_vanishes_between_them():
    operator = overlap(hydrogen(distance=50.0), "sto-3g")
    assert np.allclose(operator.to_dense(), np.eye(2), atol=1e-12)


def test_operator_has_every_pair():
    operator = operator_from_pyscf(np.eye(2), hydrogen(), orbital_basis([1], "sto-3g"))
    assert operator.pairs[:, 3:].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_cartesian_d_is_refused():
    oxygen = gto.M(atom="O 0 0 0", basis="def2-svp", cart=True, verbose=0)
    with pytest.raises(BasisError, match="Cartesian d shells") as caught:
        molecule_shells(oxygen)
    assert "mol.cart = False" in caught.value.suggestion


def test_cartesian_p_is_spherical_p():
    assert molecule_shells(gto.M(atom="H 0 0 0; H 0 0 1", basis="def2-svp", cart=True, verbose=0)) == (0, 0, 1) * 2


def test_g_shells_are_refused():
    with pytest.raises(BasisError, match="g shells") as caught:
        orbital_basis([6], "def2-qzvp")
    assert "def2-TZVP" in caught.value.suggestion


@pytest.mark.parametrize(("number", "name"), [(92, "def2-svp"), (1, "def3-svp")])
@pytest.mark.filterwarnings("ignore:Basis may be available:UserWarning")
def test_unknown_basis_or_element_is_refused(number, name):
    with pytest.raises(BasisError, match=name):
        orbital_basis([number], name)


def test_core_potentials_are_refused():
    with pytest.raises(BasisError, match="effective potential"):
        orbital_basis([53], "def2-svp")


def test_overlapping_atoms_are_refused():
    with pytest.raises(StructureError, match=r"atoms 0 and 1 at a distance of 0\.0100"):
        pyscf_molecule(hydrogen(distance=0.01), "sto-3g")


@pytest.mark.parametrize(
    "settings", [{"charge": 1}, {"spin": 1}, {"charge": 2}, {"charge": -1, "spin": 5}, {"spin": -2}]
)
def test_electrons_that_cannot_be_are_refused(settings):
    with pytest.raises(StructureError, match="unpaired"):
        pyscf_molecule(hydrogen(**settings), "sto-3g")


def test_periodic_structures_are_refused():
    crystal = hydrogen(cell=np.eye(3) * 5, pbc=np.array([True, True, True]))
    with pytest.raises(StructureError, match="periodic along 3") as caught:
        pyscf_molecule(crystal, "sto-3g")
    assert "--molecule" in caught.value.suggestion
