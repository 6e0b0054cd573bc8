"""A self-consistent field of PySCF for a crystal, and H(R) from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import BasisError, EngineError, ScfNotConvergedError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import reorder_matrix
from adiabat.core.units import BOHR, HARTREE, RYDBERG
from adiabat.data.structure import Structure
from adiabat.engines.gth_data import Potential
from adiabat.engines.kpoints import Mesh, mesh_points
from adiabat.engines.mesh_images import mesh_for_reach, operator_from_mesh
from adiabat.engines.mid_gap import dense_bloch_matrix
from adiabat.physics.crystal_overlap import crystal_overlap
from adiabat.physics.gaussian_basis import GaussianBasis

_NEGLIGIBLE: Final = 1e-6
"""eV; blocks of H without an element above it are left out."""

_OVERLAP_ERROR: Final = 1e-6

NET_FORCE: Final = 2e-3
"""eV/Å; beyond it PySCF's forces are not given away."""

Matrix = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class CrystalScf:
    """How self-consistency is computed.

    Attributes:
        xc: functional in PySCF's words.
        mesh: Γ-centred k-mesh.
        cutoff: plane-wave cutoff [Ry].
        precision: of PySCF's integrals.
        conv_tol: energy change at self-consistency [Ha].
        max_cycles: SCF cycles before giving up.
    """

    xc: str
    mesh: Mesh
    cutoff: float
    precision: float
    conv_tol: float
    max_cycles: int


class CrystalField:
    """One structure: the SCF is done when something of it is asked for.

    Args:
        structure: a closed shell with a cell of three vectors.
        basis: its basis functions.
        potentials: pseudopotential of each atomic number.
        settings: how to compute.
    """

    def __init__(
        self, structure: Structure, basis: GaussianBasis, potentials: Mapping[int, Potential], settings: CrystalScf
    ) -> None:
        self.structure, self.basis, self.settings = structure, basis, settings
        self.orbitals = basis.orbital_basis
        self._potentials = potentials

    @cached_property
    def cell(self) -> Any:
        """PySCF's cell, with exactly the basis functions of ``basis``."""
        from pyscf.pbc import gto
        from pyscf.pbc.gto import pseudo

        structure = self.structure
        elements = dict(zip(structure.symbols, (int(z) for z in structure.atomic_numbers), strict=True))
        cell = gto.Cell()
        cell.atom = [[name, place] for name, place in zip(structure.symbols, structure.positions / BOHR, strict=True)]
        cell.unit, cell.a = "Bohr", structure.cell / BOHR
        cell.basis = {symbol: _pyscf_shells(self.basis, z) for symbol, z in elements.items()}
        cell.pseudo = {symbol: pseudo.parse(self._potentials[z].text) for symbol, z in elements.items()}
        cell.charge, cell.spin, cell.cart = structure.charge, 0, False
        cell.ke_cutoff = self.settings.cutoff * RYDBERG / HARTREE
        cell.precision, cell.verbose = self.settings.precision, 0
        cell.build()
        ours = self.orbitals.shell_sequence(structure.atomic_numbers)
        theirs = [int(cell.bas_angular(b)) for b in range(cell.nbas) for _copy in range(int(cell.bas_nctr(b)))]
        if ours != theirs:
            raise BasisError(
                f"basis {self.basis.name}, whose shells PySCF puts in the order {theirs}",
                expected=f"{ours}, the order of its text",
                suggestion="use a basis whose shells are sorted by angular momentum, as those of the MOLOPT family",
            )
        return cell

    @cached_property
    def field(self) -> Any:
        """The self-consistent field, with multigrid integration.

        Raises:
            ScfNotConvergedError: no self-consistency.
        """
        field = self._plain_field().multigrid_numint()
        field.kernel()
        return self._converged(field)

    def _plain_field(self) -> Any:
        from pyscf.pbc import dft

        field: Any = dft.KRKS(self.cell, self._absolute(mesh_points(self.settings.mesh)))
        field._chkfile.close()  # PySCF opens a temporary file for results that nobody reads
        field.chkfile = None
        field.xc = self.settings.xc
        field.conv_tol, field.max_cycle = self.settings.conv_tol, self.settings.max_cycles
        field.conv_tol_grad = float(np.sqrt(self.settings.conv_tol)) / 10
        return field

    def _converged(self, field: Any) -> Any:
        if not field.converged:
            raise ScfNotConvergedError(
                f"an SCF of {self.structure.formula} that did not converge in {self.settings.max_cycles} cycles",
                expected=f"an energy that changes by at most {self.settings.conv_tol:g} Ha",
                suggestion="look at the geometry first; then --max-cycles 100. Metals want --engine cp2k --smearing",
            )
        return field

    def _absolute(self, k_frac: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(self.cell.get_abs_kpts(k_frac))

    @property
    def energy(self) -> float:
        """Total energy [eV]."""
        return float(self.field.e_tot) * HARTREE

    def mid_gap(self) -> float:
        """Middle of the gap on the mesh of the SCF [eV].

        Raises:
            EngineError: a metal.
        """
        energies, occupations = np.concatenate(self.field.mo_energy), np.concatenate(self.field.mo_occ)
        top, bottom = float(energies[occupations > 0].max()), float(energies[occupations == 0].min())
        if not top < bottom:
            raise EngineError(
                f"{self.structure.formula} with filled states up to {top * HARTREE:.3f} eV and empty ones from "
                f"{bottom * HARTREE:.3f} eV",
                expected="a gap",
                suggestion="--engine cp2k --smearing 0.1 for a metal",
            )
        return (top + bottom) / 2 * HARTREE

    def forces(self) -> npt.NDArray[np.float64]:
        """(n_atoms, 3) forces [eV/Å]; PySCF's multigrid has none with k-points, so the SCF ends on its plain grid.

        PySCF leaves out how the grid moves with the atoms. What that is worth shows in the net force, which would
        vanish otherwise: for H₂ 0.01 eV/Å at 200 Ry and 0.0002 at 500, where the forces agree with CP2K's to 1e-5.

        Raises:
            EngineError: a net force beyond :data:`NET_FORCE`.
        """
        plain = self._plain_field()
        plain.kernel(dm0=self.field.make_rdm1())
        gradient = self._converged(plain).nuc_grad_method()
        gradient.verbose = 0
        forces = -np.asarray(gradient.kernel(), dtype=np.float64) * (HARTREE / BOHR)
        net = float(np.abs(forces.sum(axis=0)).max())
        if net > NET_FORCE:
            raise EngineError(
                f"forces of PySCF on {self.structure.formula} with a sum of {net:.1e} eV/Å",
                expected=f"a net force of at most {NET_FORCE:g} eV/Å; its gradients are wrong where the grid is coarse",
                suggestion=f"--cutoff {round(1.5 * self.settings.cutoff)}, or leave forces out of the targets",
            )
        return forces

    def hamiltonian(self, reach_threshold: float, truncation: float) -> BlockOperator:
        """H(R) [eV].

        Args:
            reach_threshold: overlap below which orbitals are out of reach, which sets the mesh.
            truncation: largest error between the points of the mesh [eV].

        Raises:
            EngineError: H(R) is off H(k) between the points of the mesh by more than that.
        """
        numbers = self.structure.atomic_numbers
        elements = sorted({int(z) for z in numbers})
        reach = max(self.basis.reach(a, b, reach_threshold) for a in elements for b in elements)
        mesh = mesh_for_reach(self.structure, reach)
        points = mesh_points(mesh)
        between = np.where(self.structure.pbc, 0.5 / np.array(mesh), 0.0)
        half = [k for k in range(len(points)) if tuple(points[k]) >= tuple(-points[k])]
        fock, overlap = self._matrices(np.concatenate([points[half], between[None]]))
        whole = np.empty((len(points), *fock.shape[1:]), dtype=np.complex128)
        for row, k in enumerate(half):
            opposite = int(np.argmin(np.abs(points + points[k]).sum(axis=1)))
            whole[opposite], whole[k] = fock[row].conj(), fock[row]
        n_orbitals = self.orbitals.n_orbitals(numbers)
        operator = operator_from_mesh(whole, mesh, self.structure, n_orbitals, _NEGLIGIBLE)
        self._check_overlap(overlap[-1], between)
        error = float(np.abs(dense_bloch_matrix(operator, between) - fock[-1]).max())
        if error > truncation:
            raise EngineError(
                f"H(R) of {self.structure.formula} from {mesh} k-points that is {error:.1e} eV off H(k) between them",
                expected=f"at most {truncation:g} eV",
                suggestion="--reach-threshold 1e-6 for a finer mesh, or a larger truncation from Python",
            )
        return operator

    def _matrices(self, k_frac: npt.NDArray[np.float64]) -> tuple[Matrix, Matrix]:
        """H(k) [eV] and S(k) in our orbital order, (n_k, n_orb, n_orb) each."""
        k_points = self._absolute(k_frac)
        field = self.field
        potential = field.get_veff(self.cell, field.make_rdm1(), kpts=field.kpts, kpts_band=k_points)
        fock = (np.asarray(field.get_hcore(self.cell, k_points)) + np.asarray(potential)) * HARTREE
        overlap = np.asarray(self.cell.pbc_intor("int1e_ovlp", kpts=k_points))
        shells = self.orbitals.shell_sequence(self.structure.atomic_numbers)
        ours = [np.asarray(reorder_matrix(matrix, "pyscf", shells), np.complex128) for matrix in (fock, overlap)]
        return ours[0], ours[1]

    def _check_overlap(self, theirs: Matrix, k_frac: npt.NDArray[np.float64]) -> None:
        exact = dense_bloch_matrix(crystal_overlap(self.structure, self.basis), k_frac)
        error = float(np.abs(exact - theirs).max())
        if error > _OVERLAP_ERROR:
            raise EngineError(
                f"an overlap of PySCF for {self.structure.formula} that is {error:.1e} off the exact one",
                expected=f"at most {_OVERLAP_ERROR:g}",
                suggestion="a smaller precision (1e-10)",
            )


def _pyscf_shells(basis: GaussianBasis, z: int) -> list[list[Any]]:
    return [
        [l, *np.column_stack([part.exponents, row]).tolist()]
        for part in basis.sets(z)
        for l, row in zip(part.angular_momenta, part.coefficients, strict=True)
    ]
