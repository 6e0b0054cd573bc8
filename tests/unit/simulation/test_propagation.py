import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.cluster import Octahedron

from adiabat.core.errors import ModelError, StructureError
from adiabat.core.units import GPA
from adiabat.data.structure import Structure
from adiabat.simulation.elastic import elastic_tensor
from adiabat.simulation.propagation import elastic_constants, energy, energy_difference, gap, propagate
from known_committees import Committee, argon_committee
from known_models import HuckelHydrogen, LennardJones

VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def argon() -> Structure:
    return Structure.from_ase(bulk("Ar", cubic=True, a=5.25))


def curvature(model, structure: Structure, a: int, b: int, step: float = 1e-3) -> float:
    """(1/V) ∂²E/∂ε_a∂ε_b by differences of the energy [eV/Å³], atoms following the cell."""

    def at(*amounts: tuple[int, float]) -> float:
        strain = np.zeros((3, 3))
        for component, amount in amounts:
            i, j = VOIGT[component]
            strain[i, j] += amount / (1 if i == j else 2)
            strain[j, i] = strain[i, j]
        deformation = np.eye(3) + strain
        moved = Structure(
            structure.atomic_numbers, structure.positions @ deformation, structure.cell @ deformation, structure.pbc
        )
        return energy(model, moved)

    volume = abs(np.linalg.det(structure.cell))
    if a == b:
        return (at((a, step)) - 2 * at() + at((a, -step))) / step**2 / volume
    signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
    return sum(s * t * at((a, s * step), (b, t * step)) for s, t in signs) / (4 * step**2) / volume


def test_elastic_constants_of_argon_are_the_curvatures_of_its_energy() -> None:
    model = LennardJones()
    found = elastic_tensor(model, argon(), relax_cell=True, largest_force=1e-6)
    assert np.abs(found.stress).max() < 1e-6
    c = found.constants
    for a, b in ((0, 0), (0, 1), (3, 3), (0, 3)):
        # Energies to 1e-16 relative over a step of 1e-3: curvatures to 1e-6 of C_11; strains of 2e-3 to 1e-4.
        assert c[a, b] == pytest.approx(curvature(model, found.structure, a, b), abs=1e-3 * c[0, 0])
    assert found.asymmetry < 1e-3 * c[0, 0]
    # A pair potential of atoms at centres of symmetry, free of stress: Cauchy's relation. Cubic: three constants.
    assert c[0, 1] == pytest.approx(c[3, 3], rel=0.01)
    assert c[1, 1] == pytest.approx(c[0, 0], rel=1e-6)
    assert found.bulk_modulus == pytest.approx((c[0, 0] + 2 * c[0, 1]) / 3 / GPA)
    # Argon near 0 K has a bulk modulus of 2.7 GPa; this potential is fitted to it.
    assert 2 < found.bulk_modulus < 4
    assert found.shear_modulus == pytest.approx((c[0, 0] - c[0, 1] + 3 * c[3, 3]) / 5 / GPA)


def test_under_stress_cauchys_relation_does_not_hold() -> None:
    compressed = Structure.from_ase(bulk("Ar", cubic=True, a=5.0))
    c = elastic_tensor(LennardJones(), compressed).constants
    assert abs(c[0, 1] - c[3, 3]) > 0.02 * c[0, 0]


def test_atoms_that_follow_the_strain_soften_the_crystal() -> None:
    hexagonal = Structure.from_ase(bulk("Ar", "hcp", a=3.71, c=6.06))
    clamped = elastic_tensor(LennardJones(), hexagonal, relax_atoms=False).constants
    relaxed = elastic_tensor(LennardJones(), hexagonal, largest_force=1e-5).constants
    assert relaxed[0, 0] < 0.999 * clamped[0, 0]
    np.testing.assert_allclose(relaxed[0, 0] + relaxed[0, 1], clamped[0, 0] + clamped[0, 1], rtol=1e-3)


def test_elastic_constants_of_a_molecule_are_refused() -> None:
    with pytest.raises(StructureError, match="elastic"):
        elastic_tensor(LennardJones(), Structure.from_ase(Octahedron("Ar", 2, latticeconstant=5.3)))


def test_constants_of_members_spread_as_their_depths() -> None:
    depths = (0.9, 1.0, 1.2)
    committee = argon_committee(depths)
    found = propagate(committee, elastic_constants(argon(), relax_atoms=False))
    one = elastic_tensor(LennardJones(), argon(), relax_atoms=False).gigapascal
    np.testing.assert_allclose(found.std, np.abs(one) * np.std(depths, ddof=1), rtol=1e-6, atol=1e-9)
    assert found.values.shape == (3, 6, 6)
    np.testing.assert_allclose(found.mean, one * np.mean(depths), rtol=1e-6, atol=1e-9)


def test_a_difference_is_more_certain_than_its_parts() -> None:
    class Shifted(LennardJones):
        """Total energies with an error of their own, the same for all structures of one size."""

        def __init__(self, shift: float) -> None:
            super().__init__()
            self.shift = shift

        def _atomic_energies(self, *arguments):
            return super()._atomic_energies(*arguments) + self.shift

    first = Structure.from_ase(Octahedron("Ar", 2, latticeconstant=5.3))
    second = Structure.from_ase(Octahedron("Ar", 2, latticeconstant=5.5))
    committee = Committee([Shifted(shift) for shift in (-0.1, 0.0, 0.1)])
    parts = propagate(committee, lambda model: [energy(model, first), energy(model, second)])
    difference = propagate(committee, energy_difference(second, first))
    assert (parts.std > 0.5).all()
    assert difference.std < 1e-12
    assert difference.mean == pytest.approx(parts.mean[1] - parts.mean[0])


def test_the_gap_is_propagated() -> None:
    hydrogen = Structure.from_ase(molecule("H2"))
    found = propagate(Committee([HuckelHydrogen(), HuckelHydrogen()]), gap(hydrogen))
    assert found.mean > 0
    assert found.std == 0


def test_a_spread_needs_two_members_and_one_shape() -> None:
    with pytest.raises(ModelError, match="two members"):
        propagate(Committee([LennardJones()]), lambda _model: 1.0)
    shapes = iter([np.zeros(2), np.zeros(3)])
    with pytest.raises(ModelError, match="one shape"):
        propagate(argon_committee((0.9, 1.1)), lambda _model: next(shapes))
