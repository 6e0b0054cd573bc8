"""Every conversion factor of the package, in one place.

adiabat works in eV, Å, e and fs. A reader, engine or writer multiplies by one of these factors at its border
and nowhere else. Values are those of the installed SciPy's CODATA edition.
"""

from typing import Final

from scipy import constants

HARTREE: Final[float] = constants.physical_constants["Hartree energy in eV"][0]
"""1 Hartree in eV."""

BOHR: Final[float] = constants.physical_constants["Bohr radius"][0] * 1e10
"""1 Bohr in Å."""

RYDBERG: Final[float] = HARTREE / 2
"""1 Rydberg in eV."""

KCAL_PER_MOL: Final[float] = constants.kilo * constants.calorie / constants.N_A / constants.e
"""1 kcal/mol in eV."""

KJ_PER_MOL: Final[float] = constants.kilo / constants.N_A / constants.e
"""1 kJ/mol in eV."""

GPA: Final[float] = constants.giga * 1e-30 / constants.e
"""1 GPa in eV/Å³."""

KBAR: Final[float] = GPA / 10
"""1 kbar in eV/Å³."""

DEBYE: Final[float] = 1e-21 / constants.c / constants.e * 1e10
"""1 Debye in e·Å."""

BOLTZMANN: Final[float] = constants.physical_constants["Boltzmann constant in eV/K"][0]
"""k_B in eV/K."""

HBAR: Final[float] = constants.hbar / constants.e / (1e-10 * (constants.atomic_mass / constants.e) ** 0.5)
"""ħ in eV·Å·√(u/eV): times ω = √(k/m) with k in eV/Å² and m in u, the energy of a quantum in eV."""

WAVENUMBER: Final[float] = constants.h * constants.c * 100 / constants.e
"""1/cm in eV."""

MICRO_HARTREE: Final[float] = HARTREE * 1e-6
"""1 µHa in eV, the unit in which Hamiltonian errors are quoted."""

HBAR2_PER_ELECTRON_MASS: Final[float] = constants.hbar**2 / constants.m_e / constants.e * 1e20
"""ħ²/m_e in eV·Å²."""

CONDUCTANCE: Final[float] = constants.e**2 / constants.hbar
"""e²/ħ in siemens, the unit of sheet conductivities in these units."""

VACUUM_PERMITTIVITY: Final[float] = constants.epsilon_0 / constants.e * 1e-10
"""ε₀ in e/(V·Å), which is e²/(eV·Å)."""
