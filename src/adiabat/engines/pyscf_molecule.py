"""PySCF for molecules: Kohn–Sham and Hartree–Fock, with every matrix of the electronic structure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyscf

from adiabat.core.errors import ConfigError, EngineError
from adiabat.core.fields import FIELDS
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import restore_matrix
from adiabat.core.units import BOHR, HARTREE
from adiabat.data.record import Labels, Provenance
from adiabat.data.structure import Structure
from adiabat.engines.base import Engine
from adiabat.engines.pyscf_scf import ScfSettings, ScfSolution, converge
from adiabat.physics.basis import operator_from_pyscf, orbital_basis, pyscf_molecule
from adiabat.physics.h0 import H0_KIND, h0_matrix
from adiabat.physics.mean_field import MeanField, check_functional, check_grid_level, mean_field

_ORBITAL_TARGETS: Final = frozenset({"hamiltonian", "density_matrix", "h0", "orbital_energies", "fermi_level"})
"""Labels that would need a spin index for an open shell."""


@dataclass(frozen=True)
class ScfOutcome:
    """How an ordinary SCF went from a given density.

    Attributes:
        cycles: number of SCF cycles.
        energy: total energy [eV].
        converged: whether it got there.
    """

    cycles: int
    energy: float
    converged: bool


@dataclass(frozen=True)
class PyscfEngine(Engine):
    """Kohn–Sham or Hartree–Fock of a molecule.

    Energies are total energies without dispersion; forces include the response of the integration grid, so the net
    force vanishes to rounding. H is the Fock matrix of the stored density matrix; on ethanol it agrees with a plain SCF
    to 2e-7 Ha, which is the noise of the integration grid.

    Attributes:
        xc: functional in PySCF's words (``pbe``, ``b3lyp5``), or ``hf``.
        basis: Gaussian basis by PySCF's name, spherical shells up to f.
        grid_level: integration grid 0 … 9; label at 5 or above.
        density_fit: fit the Coulomb integrals.
        unrestricted: separate orbitals for each spin; open shells need it, and give no orbital labels.
        conv_tol: energy change at self-consistency [Ha].
        conv_tol_grad: orbital gradient at self-consistency [Ha].
        max_cycles: SCF cycles before giving up.
        coarse_grid_level: grid of the inner iterations (see ``engines.pyscf_scf``); None to iterate on the fine grid.
        level_shift: raises the virtual orbitals during the SCF [eV].
        damping: fraction of the old Fock matrix that is kept during the SCF.
        second_order: Newton steps where DIIS does not get there.
    """

    name: ClassVar[str] = "pyscf"

    xc: str = "pbe"
    basis: str = "def2-svp"
    grid_level: int = 5
    density_fit: bool = False
    unrestricted: bool = False
    conv_tol: float = 1e-10
    conv_tol_grad: float = 5e-7
    max_cycles: int = 100
    coarse_grid_level: int | None = 1
    level_shift: float = 0.0
    damping: float = 0.0
    second_order: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown functional and settings out of range at once rather than in a worker.

        Raises:
            EngineError: see ``physics.mean_field.check_functional`` and ``check_grid_level``.
            ConfigError: a setting of the SCF that means nothing.
        """
        check_functional(self.xc)
        check_grid_level(self.grid_level)
        for name, holds, meant in (
            ("conv_tol", self.conv_tol > 0, "a positive energy in Ha"),
            ("conv_tol_grad", self.conv_tol_grad > 0, "a positive gradient in Ha"),
            ("max_cycles", self.max_cycles >= 1, "one cycle or more"),
            ("level_shift", 0 <= self.level_shift < np.inf, "zero or more, in eV"),
            ("damping", 0 <= self.damping < 1, "a fraction from 0 to below 1"),
        ):
            if not holds:
                raise ConfigError(
                    f"{name} = {getattr(self, name)}",
                    expected=meant,
                    suggestion=f"leave {name} out, or see `adiabat label --help`",
                )

    @property
    def available(self) -> frozenset[str]:
        """Everything but the stress."""
        return frozenset(FIELDS) - {"stress"}

    def provenance(self, structure: Structure) -> Provenance:
        """Everything that changes the numbers; how self-consistency was reached does not."""
        basis = self.basis.lower()  # one name however it is spelled, because names decide what is labelled already
        method = f"{self.xc.upper()}/{basis}"
        settings = {
            "xc": self.xc.lower(),
            "basis": basis,
            "grid_level": self.grid_level,
            "density_fit": self.density_fit,
            "unrestricted": self.unrestricted,
            "conv_tol": self.conv_tol,
            "conv_tol_grad": self.conv_tol_grad,
            "h0": H0_KIND,
        }
        return Provenance(
            code="pyscf",
            code_version=pyscf.__version__,
            method=method,
            settings=settings,
            fidelity=method,
            orbital_basis=orbital_basis([structure], basis),
        )

    def check(self, structures: Sequence[Structure], targets: Sequence[str]) -> None:
        """Refuse unknown targets and bases, and orbital labels of open shells, before anything is computed."""
        super().check(structures, targets)
        orbital_basis(structures, self.basis)
        for structure in structures:
            self._check_spin(structure, frozenset(targets))

    def _check_spin(self, structure: Structure, targets: frozenset[str]) -> None:
        spin_resolved = sorted(targets & _ORBITAL_TARGETS)
        if spin_resolved and (self.unrestricted or structure.spin):
            raise EngineError(
                f"{', '.join(spin_resolved)} of {structure.formula} with separate orbitals for each spin",
                expected="a closed shell for orbital labels: operators with two spin blocks are not stored yet",
                suggestion="ask for energy, forces, dipole, charges and overlap only, or use restricted orbitals",
            )

    def _field(self, structure: Structure) -> MeanField:
        return mean_field(
            pyscf_molecule(structure, self.basis),
            self.xc,
            grid_level=self.grid_level,
            unrestricted=self.unrestricted,
            density_fit=self.density_fit,
        )

    def _compute(self, structure: Structure, targets: frozenset[str]) -> Labels:
        self._check_spin(structure, targets)
        field = self._field(structure)
        matrices: dict[str, npt.NDArray[np.float64]] = {"overlap": field.get_ovlp()}
        labels: dict[str, npt.NDArray[np.float64] | BlockOperator] = {}
        if "h0" in targets:
            matrices["h0"] = h0_matrix(field) * HARTREE
        if targets - {"overlap", "h0"}:
            solution = converge(field, self._scf_settings())
            matrices |= {"hamiltonian": solution.fock * HARTREE, "density_matrix": solution.density}
            labels |= _derived_labels(field, solution, targets)
        basis = orbital_basis([structure], self.basis)
        return labels | {
            name: operator_from_pyscf(matrix, structure, basis) for name, matrix in matrices.items() if name in targets
        }

    def _scf_settings(self) -> ScfSettings:
        return ScfSettings(
            conv_tol=self.conv_tol,
            conv_tol_grad=self.conv_tol_grad,
            max_cycles=self.max_cycles,
            coarse_grid_level=self.coarse_grid_level,
            level_shift=self.level_shift / HARTREE,
            damping=self.damping,
            second_order=self.second_order,
        )

    def scf_cycles(
        self, structure: Structure, density_matrix: BlockOperator | None, *, conv_tol: float = 1e-9
    ) -> ScfOutcome:
        """Run PySCF's own SCF, defaults and all, from a density, and count its cycles.

        Args:
            structure: a closed-shell molecule.
            density_matrix: where to start; None for PySCF's default ``minao``.
            conv_tol: energy change at self-consistency [Ha], PySCF's default.

        Raises:
            AdiabatError: see :meth:`label`.
        """
        self._check_spin(structure, frozenset({"density_matrix"}))
        field = self._field(structure)
        field.conv_tol, field.max_cycle = conv_tol, self.max_cycles
        cycles = 0

        def count(_environment: dict[str, object]) -> None:
            nonlocal cycles
            cycles += 1

        field.callback = count
        start = None
        if density_matrix is not None:
            shells = orbital_basis([structure], self.basis).shell_sequence(structure.atomic_numbers)
            start = restore_matrix(density_matrix.to_dense(), "pyscf", shells)
        energy = float(field.kernel(dm0=start)) * HARTREE
        return ScfOutcome(cycles, energy, bool(field.converged))


def _derived_labels(
    field: MeanField, solution: ScfSolution, targets: frozenset[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """Labels that are numbers and vectors rather than matrices."""
    labels = {"energy": np.array(solution.energy * HARTREE)}
    if "orbital_energies" in targets:
        labels["orbital_energies"] = solution.orbital_energies * HARTREE
    if "fermi_level" in targets:
        labels["fermi_level"] = np.array(_middle_of_gap(solution) * HARTREE)
    if "dipole" in targets:
        labels["dipole"] = np.asarray(field.dip_moment(unit="AU", dm=solution.density, verbose=0)) * BOHR
    if "charges" in targets:
        labels["charges"] = np.asarray(field.mulliken_pop(dm=solution.density, verbose=0)[1])
    if "forces" in targets:
        labels["forces"] = _forces(field)
    return {name: value for name, value in labels.items() if name in targets}


def _forces(field: MeanField) -> npt.NDArray[np.float64]:
    gradients = field.nuc_grad_method()
    if hasattr(gradients, "grid_response"):
        gradients.grid_response = True
    return -np.asarray(gradients.kernel()) * (HARTREE / BOHR)


def _middle_of_gap(solution: ScfSolution) -> float:
    occupied = solution.occupations > 0
    if occupied.all():
        raise EngineError(
            "a basis with no empty orbital, so no gap",
            expected="at least one virtual orbital for a Fermi level",
            suggestion="use a larger basis, or drop fermi_level from the targets",
        )
    energies = solution.orbital_energies
    return float(energies[occupied].max() + energies[~occupied].min()) / 2
