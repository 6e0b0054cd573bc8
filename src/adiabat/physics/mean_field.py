"""Configured PySCF mean fields: one place decides what ``xc``, grid level and density fitting mean."""

from typing import Any

from pyscf import dft, gto, scf

from adiabat.core.errors import EngineError

MeanField = Any
"""A PySCF ``SCF`` object; PySCF is typed in part only, and its mean fields are assembled from mixins at run time."""

HARTREE_FOCK = "hf"
"""Name of the functional that needs no integration grid."""


def mean_field(
    molecule: gto.Mole, xc: str, *, grid_level: int, unrestricted: bool = False, density_fit: bool = False
) -> MeanField:
    """A Kohn–Sham or Hartree–Fock object that has not been run.

    Grid points are never dropped by density, so that the grid turns with the molecule.

    Args:
        molecule: from ``physics.basis.pyscf_molecule``.
        xc: functional in PySCF's (libxc) words, or ``hf``.
        grid_level: PySCF's 0 … 9; H turns with the molecule to 9e-6 Ha at 3, 1e-7 at 5, 1e-8 at 7.
        unrestricted: separate orbitals for each spin; needed by open shells.
        density_fit: fit the Coulomb integrals.

    Raises:
        EngineError: the functional is unknown or brings a correction that H cannot hold; the grid level is out of
            range; an open shell was asked for with restricted orbitals.
    """
    check_functional(xc)
    check_grid_level(grid_level)
    if molecule.spin and not unrestricted:
        raise EngineError(
            f"{molecule.spin} unpaired electrons with restricted orbitals",
            expected="unrestricted orbitals for an open shell",
            suggestion="set unrestricted=True (adiabat label --unrestricted)",
        )
    field: MeanField
    if xc.lower() == HARTREE_FOCK:
        field = scf.UHF(molecule) if unrestricted else scf.RHF(molecule)
    else:
        field = dft.UKS(molecule) if unrestricted else dft.RKS(molecule)
        field.xc = xc
        field.grids.level = grid_level
        field.small_rho_cutoff = 0.0
    # Labels are kept by the store; PySCF's checkpoint would be written every cycle and left open until collected.
    field._chkfile.close()
    field.chkfile = None
    return field.density_fit() if density_fit else field


def check_grid_level(grid_level: int) -> None:
    """Refuse what is no grid of PySCF.

    Raises:
        EngineError: the level is out of range.
    """
    if not 0 <= grid_level <= 9:
        raise EngineError(
            f"grid level {grid_level}", expected="0 (coarse) to 9 (fine)", suggestion="label at 5 or above"
        )


def check_functional(xc: str) -> None:
    """Refuse functionals that PySCF does not know, and those that are more than a Kohn–Sham matrix.

    Raises:
        EngineError: the functional cannot be used.
    """
    if any(tag in xc.lower() for tag in ("-d2", "-d3", "-d4")):
        raise EngineError(
            f"functional {xc!r} with a dispersion correction",
            expected="the functional alone; dispersion does not enter H and is added as physics, not as a label",
            suggestion=f"use xc={xc.lower().split('-d')[0]!r}",
        )
    try:
        if not xc.strip():
            raise KeyError(xc)
        dft.libxc.parse_xc(xc)
        non_local = bool(dft.libxc.is_nlc(xc))
    except (KeyError, ValueError, NotImplementedError) as error:
        raise EngineError(
            f"functional {xc!r}",
            expected="hf, or a functional in PySCF's words",
            suggestion="for instance pbe, pbe0, r2scan, b3lyp (VWN-RPA) or b3lyp5 (VWN5, as in QH9)",
        ) from error
    if non_local:
        raise EngineError(
            f"functional {xc!r} with non-local VV10 correlation",
            expected="a local, semilocal or hybrid functional",
            suggestion="use its parent without VV10, for instance r2scan, pbe0 or b3lyp",
        )
