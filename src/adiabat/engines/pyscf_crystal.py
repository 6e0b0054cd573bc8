"""PySCF for crystals: Kohn–Sham with GTH pseudopotentials, for those who have pip alone. Slower than CP2K."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyscf

from adiabat.core.errors import ConfigError, EngineError, nearest
from adiabat.core.operators import BlockOperator
from adiabat.data.record import Labels, Provenance
from adiabat.data.structure import Structure
from adiabat.engines.base import Engine
from adiabat.engines.gth_data import Potential, load_basis, load_potentials
from adiabat.engines.kpoints import K_SPACING, check_kpoints, mesh_of
from adiabat.engines.pyscf_crystal_field import CrystalField, CrystalScf
from adiabat.physics.crystal_overlap import crystal_overlap
from adiabat.physics.gaussian_basis import GaussianBasis
from adiabat.physics.geometry import refuse_overlapping_atoms

FUNCTIONALS: Final = {
    "pbe": ("pbe", "GTH-PBE"),
    "pbesol": ("pbesol", "GTH-PBE"),
    "revpbe": ("revpbe", "GTH-PBE"),
    "lda": ("lda,pw", "GTH-PADE"),
    "blyp": ("blyp", "GTH-BLYP"),
}
"""PySCF's word for each functional, and the pseudopotentials that go with it unless others are named."""

_DATA: Final = Path(pyscf.__file__).parent / "pbc" / "gto"


@dataclass(frozen=True)
class PyscfCrystalEngine(Engine):
    """Restricted Kohn–Sham of an insulating crystal. Periodicity is three-dimensional, as in CP2K.

    H(k) is taken on a mesh of its own, as fine as the orbitals reach, and turned into H(R). Half a step off that mesh
    H(R) is compared with H(k) computed there: beyond ``truncation`` it is refused.

    Attributes:
        xc: ``pbe``, ``pbesol``, ``revpbe``, ``lda`` or ``blyp``.
        basis: as in CP2K's files, which PySCF ships.
        basis_file: a file with the basis in CP2K's format; None for PySCF's own files.
        potential: pseudopotential by name; None for the one that goes with ``xc``.
        kpoints: Γ-centred mesh of the SCF; None to derive it from ``k_spacing``.
        k_spacing: largest distance between neighboring k-points [1/Å], 2π included.
        cutoff: plane-wave cutoff [Ry].
        precision: of PySCF's integrals.
        conv_tol: energy change at self-consistency [Ha].
        max_cycles: SCF cycles before giving up.
        reach_threshold: overlap below which two orbitals are out of reach, which sets the mesh of H.
        truncation: largest error of H(k) that H(R) may have between the points of that mesh [eV].
    """

    name: ClassVar[str] = "pyscf-crystal"

    xc: str = "pbe"
    basis: str = "SZVP-MOLOPT-SR-GTH"
    basis_file: str | None = None
    potential: str | None = None
    kpoints: tuple[int, int, int] | None = None
    k_spacing: float = K_SPACING
    cutoff: float = 600.0
    precision: float = 1e-8
    conv_tol: float = 1e-9
    max_cycles: int = 50
    reach_threshold: float = 1e-4
    truncation: float = 5e-3

    def __post_init__(self) -> None:
        """Refuse settings out of range.

        Raises:
            ConfigError: a setting that means nothing.
        """
        if self.xc.lower() not in FUNCTIONALS:
            raise ConfigError(
                f"functional {self.xc!r} for crystals",
                expected=f"one of {', '.join(FUNCTIONALS)}",
                suggestion=nearest(self.xc.lower(), FUNCTIONALS),
            )
        check_kpoints(self.kpoints, self.k_spacing)
        for name, holds, meant in (
            ("cutoff", self.cutoff >= 20, "at least 20 Ry"),
            ("precision", 0 < self.precision <= 1e-5, "a positive number, 1e-5 or smaller"),
            ("conv_tol", self.conv_tol > 0, "a positive energy in Ha"),
            ("max_cycles", self.max_cycles >= 1, "one cycle or more"),
            ("reach_threshold", 0 < self.reach_threshold < 0.1, "a positive number below 0.1"),
            ("truncation", self.truncation > 0, "a positive energy in eV"),
        ):
            if not holds:
                raise ConfigError(
                    f"{name} = {getattr(self, name)}",
                    expected=meant,
                    suggestion=f"leave {name} out, or see `adiabat label --help`",
                )

    @property
    def available(self) -> frozenset[str]:
        """No stress: PySCF's is not proven here."""
        return frozenset({"energy", "forces", "hamiltonian", "overlap", "fermi_level"})

    def check(self, structures: Sequence[Structure], targets: Sequence[str]) -> None:
        """Refuse unknown targets, open shells, structures without a cell, and elements without a basis."""
        super().check(structures, targets)
        for structure in structures:
            _check(structure)
            mesh_of(structure, self.kpoints, self.k_spacing)
        self.gaussian_basis(sorted({int(z) for structure in structures for z in structure.atomic_numbers}))

    def provenance(self, structure: Structure) -> Provenance:
        """Every setting that changes the numbers, and the basis functions themselves."""
        gaussian = self.gaussian_basis(sorted({int(z) for z in structure.atomic_numbers}))
        xc = self.xc.lower()
        method = f"{xc.upper()}/{self.basis}"
        settings = {
            "xc": xc,
            "basis": self.basis,
            "potential": self.potential_name,
            "kpoints": list(mesh_of(structure, self.kpoints, self.k_spacing)),
            "cutoff": self.cutoff,
            "precision": self.precision,
            "conv_tol": self.conv_tol,
            "reach_threshold": self.reach_threshold,
            "truncation": self.truncation,
            "gaussian_basis": gaussian.to_json(),
        }
        return Provenance(
            code="pyscf",
            code_version=pyscf.__version__,
            method=method,
            settings=settings,
            fidelity=method,
            orbital_basis=gaussian.orbital_basis,
        )

    @property
    def potential_name(self) -> str:
        """Of the pseudopotentials, without their number of electrons."""
        return self.potential or FUNCTIONALS[self.xc.lower()][1]

    def gaussian_basis(self, elements: Sequence[int]) -> GaussianBasis:
        """Basis functions of some atomic numbers.

        Raises:
            BasisError: an element without this basis.
        """
        return load_basis(_DATA / "basis", self.basis, self._potentials(elements), self.basis_file)

    def _potentials(self, elements: Sequence[int]) -> dict[int, Potential]:
        return load_potentials(_DATA / "pseudo", self.potential_name, elements)

    def _compute(self, structure: Structure, targets: frozenset[str]) -> Labels:
        _check(structure)
        refuse_overlapping_atoms(structure)
        elements = sorted({int(z) for z in structure.atomic_numbers})
        settings = CrystalScf(
            xc=FUNCTIONALS[self.xc.lower()][0],
            mesh=mesh_of(structure, self.kpoints, self.k_spacing),
            cutoff=self.cutoff,
            precision=self.precision,
            conv_tol=self.conv_tol,
            max_cycles=self.max_cycles,
        )
        basis = self.gaussian_basis(elements)
        field = CrystalField(structure, basis, self._potentials(elements), settings)
        labels: dict[str, npt.NDArray[np.float64] | BlockOperator] = {}
        if "energy" in targets:
            labels["energy"] = np.array(field.energy)
        if "fermi_level" in targets:
            labels["fermi_level"] = np.array(field.mid_gap())
        if "forces" in targets:
            labels["forces"] = field.forces()
        pairs = None
        if "hamiltonian" in targets:
            labels["hamiltonian"] = field.hamiltonian(self.reach_threshold, self.truncation)
            pairs = labels["hamiltonian"].pairs
        if "overlap" in targets:
            labels["overlap"] = crystal_overlap(structure, basis, pairs)
        return labels


def _check(structure: Structure) -> None:
    if np.linalg.matrix_rank(structure.cell, tol=1e-3) < 3:
        raise EngineError(
            f"{structure.formula} with the cell {structure.cell.tolist()}",
            expected="three lattice vectors that span a volume, vacuum along directions that are not periodic",
            suggestion="give a layer a third vector of 12 Å or more; for molecules use --engine pyscf",
        )
    if structure.spin:
        raise EngineError(
            f"{structure.formula} with {structure.spin} unpaired electrons",
            expected="a closed shell",
            suggestion="--engine cp2k for open shells",
        )
