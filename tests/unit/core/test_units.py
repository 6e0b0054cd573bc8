import ase.units
import pytest

from adiabat.core import units

# editions of CODATA differ by a few 1e-8; ASE's default is that of 2014
CODATA = 1e-7


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (units.HARTREE, ase.units.Hartree),
        (units.BOHR, ase.units.Bohr),
        (units.RYDBERG, ase.units.Rydberg),
        (units.KCAL_PER_MOL, ase.units.kcal / ase.units.mol),
        (units.KJ_PER_MOL, ase.units.kJ / ase.units.mol),
        (units.GPA, ase.units.GPa),
        (units.KBAR, ase.units.GPa / 10),
        (units.DEBYE, ase.units.Debye),
        (units.BOLTZMANN, ase.units.kB),
        (units.MICRO_HARTREE, ase.units.Hartree / 1e6),
    ],
)
def test_factors_against_ase(ours: float, reference: float) -> None:
    # kB changed by 6e-7 when it became exact in 2019
    tolerance = 1e-6 if ours == units.BOLTZMANN else CODATA
    assert ours == pytest.approx(reference, rel=tolerance)
