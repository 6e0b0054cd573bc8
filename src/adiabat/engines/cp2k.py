"""CP2K for crystals: Kohn–Sham with pseudopotentials and Gaussians, and GFN1-xTB, with H(R) and S(R)."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np

from adiabat.core.errors import ConfigError, EngineError, nearest
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.core.units import BOHR, GPA, HARTREE
from adiabat.data.hamiltonian_formats.images import check_images
from adiabat.data.record import Labels, Provenance
from adiabat.data.structure import Structure
from adiabat.engines import cp2k_output
from adiabat.engines.base import Engine
from adiabat.engines.cp2k_files import data_folder, find_program, program_version
from adiabat.engines.cp2k_input import FUNCTIONALS, Cp2kTask
from adiabat.engines.cp2k_run import Cp2kAnswer, run_cp2k
from adiabat.engines.cp2k_xtb import xtb_orbital_basis
from adiabat.engines.crystal_images import unwrapped, without_vacuum_images, wrapped
from adiabat.engines.gth_data import load_basis, load_potentials
from adiabat.engines.kpoints import K_SPACING, check_kpoints, mesh_of
from adiabat.engines.mid_gap import mid_gap
from adiabat.physics.crystal_overlap import crystal_overlap
from adiabat.physics.gaussian_basis import GaussianBasis
from adiabat.physics.geometry import refuse_overlapping_atoms

_MATRICES: Final = frozenset({"hamiltonian", "overlap"})
_OVERLAP_ERROR: Final = 1e-5
"""CP2K cuts a Gaussian off where it falls below the root of EPS_DEFAULT, 1e-6; wrong orbitals are off by far more."""


@dataclass(frozen=True)
class Cp2kBase(Engine):
    """What all methods of CP2K share. Periodicity is three-dimensional: a layer or molecule needs vacuum in its cell.

    Energies with smearing are free energies, whose derivatives the forces are.

    Attributes:
        kpoints: Γ-centred mesh; None to derive it from ``k_spacing``.
        k_spacing: largest distance between neighboring k-points [1/Å], 2π included.
        smearing: k_B T of a Fermi distribution [eV]; 0 for none, which metals do not converge with.
        unrestricted: separate orbitals for each spin; a structure with unpaired electrons gets them anyway.
        eps_scf: change of the density matrix at self-consistency; H is converged to about 100 times it in eV.
        eps_default: accuracy of CP2K's integrals.
        max_cycles: SCF cycles before giving up.
        mixing: fraction of the new density in the SCF.
        program: path or name of CP2K; None for ``$ADIABAT_CP2K`` or the first on the path.
        timeout: seconds for a structure; None for no limit.
    """

    kpoints: tuple[int, int, int] | None = None
    k_spacing: float = K_SPACING
    smearing: float = 0.0
    unrestricted: bool = False
    eps_scf: float = 1e-8
    eps_default: float = 1e-12
    max_cycles: int = 100
    mixing: float = 0.4
    program: str | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        """Refuse settings out of range, and a CP2K that is not there, before any work.

        Raises:
            ConfigError: a setting that means nothing.
            EngineError: no CP2K.
        """
        check_kpoints(self.kpoints, self.k_spacing)
        for name, holds, meant in (
            ("smearing", 0 <= self.smearing < 10, "k_B T in eV, zero or a little more"),
            ("eps_scf", 0 < self.eps_scf <= 1e-4, "a positive number, 1e-4 or smaller"),
            ("eps_default", 0 < self.eps_default <= 1e-6, "a positive number, 1e-6 or smaller"),
            ("max_cycles", self.max_cycles >= 1, "one cycle or more"),
            ("mixing", 0 < self.mixing <= 1, "a fraction, above 0 and up to 1"),
            ("timeout", self.timeout is None or self.timeout > 0, "a positive number of seconds"),
        ):
            if not holds:
                raise ConfigError(
                    f"{name} = {getattr(self, name)}",
                    expected=meant,
                    suggestion=f"leave {name} out, or see `adiabat label --help`",
                )
        find_program(self.program)

    @property
    def available(self) -> frozenset[str]:
        """Energies, their derivatives, and the matrices."""
        return frozenset({"energy", "forces", "stress", "fermi_level"}) | _MATRICES

    def check(self, structures: Sequence[Structure], targets: Sequence[str]) -> None:
        """Refuse unknown targets, structures without a cell, and elements without a basis."""
        super().check(structures, targets)
        for structure in structures:
            _check_cell(structure)
            mesh_of(structure, self.kpoints, self.k_spacing)
        self._orbital_basis(sorted({int(z) for structure in structures for z in structure.atomic_numbers}))

    def _common_settings(self, structure: Structure) -> dict[str, Any]:
        return {
            "kpoints": list(mesh_of(structure, self.kpoints, self.k_spacing)),
            "smearing": self.smearing,
            "unrestricted": self._has_spins(structure),
            "eps_scf": self.eps_scf,
            "eps_default": self.eps_default,
        }

    def _has_spins(self, structure: Structure) -> bool:
        return self.unrestricted or structure.spin > 0

    @abstractmethod
    def _orbital_basis(self, elements: Sequence[int]) -> OrbitalBasis:
        """Shells and valence electrons of some elements."""

    @abstractmethod
    def _method_settings(self) -> dict[str, Any]:
        """The fields of :class:`Cp2kTask` that depend on the method."""

    @abstractmethod
    def _files(self, elements: Sequence[int]) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
        """Basis and pseudopotential of each element, and the files they stand in."""

    @abstractmethod
    def _gaussian_basis(self, elements: Sequence[int]) -> GaussianBasis | None:
        """The basis functions, where the overlap can be checked against them."""

    @final
    def _compute(self, structure: Structure, targets: frozenset[str]) -> Labels:
        _check_cell(structure)
        refuse_overlapping_atoms(structure)
        needs_gap = "fermi_level" in targets and not self.smearing
        elements = sorted({int(z) for z in structure.atomic_numbers})
        basis = self._orbital_basis(elements)
        mesh = mesh_of(structure, self.kpoints, self.k_spacing)
        kinds, files = self._files(elements)
        n_orbitals = basis.n_orbitals(structure.atomic_numbers)
        n_electrons = basis.n_electrons(structure.atomic_numbers, structure.charge)
        task = Cp2kTask(
            mesh=mesh,
            kinds=kinds,
            n_added=_n_added(int(n_orbitals.sum()), n_electrons, structure.spin),
            smearing=self.smearing,
            unrestricted=self._has_spins(structure),
            eps_default=self.eps_default,
            eps_scf=self.eps_scf,
            max_cycles=self.max_cycles,
            mixing=self.mixing,
            forces="forces" in targets,
            stress="stress" in targets,
            matrices=bool(targets & _MATRICES) or needs_gap,
            **self._method_settings(),
        )
        inside, cells = wrapped(structure)
        program = find_program(self.program)
        answer = run_cp2k(inside, task, program, files, self.timeout, n_orbitals)
        _check_orbitals(answer.text, structure, basis, n_electrons)
        labels = _read_labels(answer, structure.n_atoms, targets)
        if answer.matrices is not None:
            own = unwrapped(answer.matrices, inside, cells)
            hamiltonian, overlap = without_vacuum_images(*own, structure)
            self._check_overlap(structure, overlap)
            labels |= {"hamiltonian": hamiltonian, "overlap": overlap}
            if needs_gap:
                labels["fermi_level"] = np.array(mid_gap(hamiltonian, overlap, mesh, n_electrons, structure))
        return {name: labels[name] for name in targets}

    def _check_overlap(self, structure: Structure, overlap: BlockOperator) -> None:
        """Orbitals, their order and the images of all atoms are right if S is the exact one."""
        basis = self._gaussian_basis(sorted({int(z) for z in structure.atomic_numbers}))
        if basis is None:
            check_images(structure.positions, structure.cell, overlap, f"CP2K on {structure.formula}")
            return
        error = float(np.abs(overlap.values - crystal_overlap(structure, basis, overlap.pairs).values).max())
        if error > _OVERLAP_ERROR:
            raise EngineError(
                f"an overlap of CP2K for {structure.formula} that is {error:.1e} off the exact one",
                expected=f"the overlap of basis {basis.name}, to {_OVERLAP_ERROR:g}",
                suggestion="this version of CP2K may order orbitals or images in another way; report it to us",
            )


@dataclass(frozen=True)
class Cp2kEngine(Cp2kBase):
    """Kohn–Sham of a crystal with GTH pseudopotentials and MOLOPT Gaussians (Quickstep, GPW).

    Attributes:
        xc: ``pbe``, ``pbesol``, ``revpbe``, ``lda`` or ``blyp``.
        basis: as in CP2K's files. The default is composed of what they hold where it is not there itself.
        basis_file: a file with the basis in CP2K's format; None for CP2K's own files.
        potential: pseudopotential by name; None for the one that goes with ``xc``.
        cutoff: plane-wave cutoff of the finest grid [Ry]. Forces on N and O are off by 0.01 eV/Å below 600.
        rel_cutoff: that of the grid of a Gaussian of exponent one [Ry].
    """

    name: ClassVar[str] = "cp2k"

    xc: str = "pbe"
    basis: str = "SZVP-MOLOPT-SR-GTH"
    basis_file: str | None = None
    potential: str | None = None
    cutoff: float = 600.0
    rel_cutoff: float = 60.0

    def __post_init__(self) -> None:
        """See the base; and refuse an unknown functional or a grid that means nothing."""
        if self.xc.lower() not in FUNCTIONALS:
            raise ConfigError(
                f"functional {self.xc!r} for CP2K",
                expected=f"one of {', '.join(FUNCTIONALS)}",
                suggestion=nearest(self.xc.lower(), FUNCTIONALS),
            )
        if not (self.cutoff >= 50 and self.rel_cutoff >= 10):
            raise ConfigError(
                f"cutoffs of {self.cutoff} and {self.rel_cutoff} Ry",
                expected="at least 50 and 10 Ry",
                suggestion="leave both out: 600 and 60 Ry serve all elements of the second row",
            )
        super().__post_init__()

    def provenance(self, structure: Structure) -> Provenance:
        """Every setting that changes the numbers, and the basis functions themselves."""
        xc = self.xc.lower()
        elements = sorted({int(z) for z in structure.atomic_numbers})
        gaussian = self._gaussian_basis(elements)
        method = f"{xc.upper()}/{self.basis}"
        settings = {
            "xc": xc,
            "basis": self.basis,
            "potential": self._potential_name(),
            "cutoff": self.cutoff,
            "rel_cutoff": self.rel_cutoff,
            **self._common_settings(structure),
            "gaussian_basis": gaussian.to_json(),
        }
        return Provenance(
            code="cp2k",
            code_version=program_version(find_program(self.program)),
            method=method,
            settings=settings,
            fidelity=method,
            orbital_basis=gaussian.orbital_basis,
        )

    def _potential_name(self) -> str:
        return self.potential or FUNCTIONALS[self.xc.lower()][1]

    def _gaussian_basis(self, elements: Sequence[int]) -> GaussianBasis:
        folder = data_folder(find_program(self.program))
        potentials = load_potentials(folder, self._potential_name(), elements)
        return load_basis(folder, self.basis, potentials, self.basis_file)

    def _orbital_basis(self, elements: Sequence[int]) -> OrbitalBasis:
        return self._gaussian_basis(elements).orbital_basis

    def _method_settings(self) -> dict[str, Any]:
        return {"method": "GPW", "xc": self.xc.lower(), "cutoff": self.cutoff, "rel_cutoff": self.rel_cutoff}

    def _files(self, elements: Sequence[int]) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
        basis = self._gaussian_basis(elements)
        potentials = load_potentials(data_folder(find_program(self.program)), self._potential_name(), elements)
        kinds = {potential.text.split()[0]: (basis.name, potential.name) for potential in potentials.values()}
        texts = {
            "BASIS": "\n".join(basis.text[z] for z in elements) + "\n",
            "POTENTIAL": "\n".join(potentials[z].text for z in elements) + "\n",
        }
        return kinds, texts


@dataclass(frozen=True)
class Cp2kXtbEngine(Cp2kBase):
    """GFN1-xTB of a crystal with k-points, by CP2K: a second a structure."""

    name: ClassVar[str] = "cp2k-gfn1"

    def provenance(self, structure: Structure) -> Provenance:
        """Every setting that changes the numbers."""
        return Provenance(
            code="cp2k",
            code_version=program_version(find_program(self.program)),
            method="GFN1-xTB",
            settings={"xc": "GFN1-xTB", "basis": "GFN1-xTB", **self._common_settings(structure)},
            fidelity="GFN1-xTB",
            orbital_basis=self._orbital_basis(sorted({int(z) for z in structure.atomic_numbers})),
        )

    def _orbital_basis(self, elements: Sequence[int]) -> OrbitalBasis:
        return xtb_orbital_basis(data_folder(find_program(self.program)), elements)

    def _method_settings(self) -> dict[str, Any]:
        return {"method": "xTB", "xc": "", "cutoff": 0.0, "rel_cutoff": 0.0}

    def _files(self, elements: Sequence[int]) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
        return {}, {}

    def _gaussian_basis(self, elements: Sequence[int]) -> GaussianBasis | None:
        return None


def _check_orbitals(text: str, structure: Structure, basis: OrbitalBasis, n_electrons: float) -> None:
    """CP2K tells its own orbitals and electrons; that they are those we think of is not left to trust."""
    ours = {symbol: basis.of(int(z)) for symbol, z in zip(structure.symbols, structure.atomic_numbers, strict=True)}
    theirs, count = cp2k_output.printed_shells(text), cp2k_output.printed_electrons(text)
    if ours != theirs or count != n_electrons:
        raise EngineError(
            f"CP2K on {structure.formula} with shells {theirs} and {count} electrons",
            expected=f"shells {ours} and {n_electrons:g} electrons",
            suggestion="this version of CP2K has another basis under this name; report it to us",
        )


def _n_added(n_orbitals: int, n_electrons: float, spin: int) -> int:
    """Empty bands for smearing: a fifth of the filled ones and four more, if the basis has as many."""
    filled = int(np.ceil((n_electrons + spin) / 2))
    return max(0, min(n_orbitals - filled, 4 + filled // 5))


def _check_cell(structure: Structure) -> None:
    if np.linalg.matrix_rank(structure.cell, tol=1e-3) < 3:
        raise EngineError(
            f"{structure.formula} with the cell {structure.cell.tolist()}",
            expected="three lattice vectors that span a volume, vacuum along directions that are not periodic",
            suggestion="give a layer a third vector of 12 Å or more; for molecules use --engine pyscf",
        )


def _read_labels(answer: Cp2kAnswer, n_atoms: int, targets: frozenset[str]) -> dict[str, Any]:
    labels: dict[str, Any] = {"energy": np.array(cp2k_output.energy(answer.text) * HARTREE)}
    fermi = cp2k_output.fermi_level(answer.text)
    if fermi is not None:
        labels["fermi_level"] = np.array(fermi * HARTREE)
    if "forces" in targets:
        labels["forces"] = cp2k_output.forces(answer.text, n_atoms) * (HARTREE / BOHR)
    if "stress" in targets:
        labels["stress"] = -cp2k_output.stress(answer.text) * GPA
    return labels
