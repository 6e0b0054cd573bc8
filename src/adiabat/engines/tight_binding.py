"""A Slater–Koster model with s and p orbitals: Hamiltonians of any structure in milliseconds, for trying things out.

It is no material. Its integrals are exponentials of the distance, screened by the atoms around a bond, its on-site
blocks feel a field of their neighbors, and its orbitals overlap. That is what makes real Hamiltonians hard to learn,
and it has what few reference codes give: spin–orbit coupling λ L·S, and an exchange splitting of ↑ and ↓.

Source: [slater1954] table I; [chadi1977] for the spin–orbit term.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

import adiabat
from adiabat.core.errors import ConfigError
from adiabat.core.operators import BlockOperator, Spin
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.record import Labels, Provenance
from adiabat.data.structure import Structure
from adiabat.engines.base import Engine
from adiabat.physics.geometry import refuse_overlapping_atoms

Array = npt.NDArray[np.float64]

_DECAY: Final = 1.4
"""1/Å, of every integral."""
_INTEGRALS: Final = {"sss": -6.0, "sps": 6.5, "pps": 8.0, "ppp": -2.5}
"""eV at 1.5 Å: ssσ, spσ, ppσ, ppπ."""
_OVERLAPS: Final = {"sss": 0.16, "sps": -0.14, "pps": -0.15, "ppp": 0.07}
"""At 1.5 Å."""
_LEVI_CIVITA: Final = np.array(
    [[[0, 0, 0], [0, 0, 1], [0, -1, 0]], [[0, 0, -1], [0, 0, 0], [1, 0, 0]], [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]],
    dtype=np.float64,
)
_P_ORDER: Final = [1, 2, 0]
"""x, y, z as y, z, x."""


@dataclass(frozen=True)
class TightBindingEngine(Engine):
    """Slater–Koster model of a molecule, slab or crystal.

    Attributes:
        cutoff: Å, where all integrals end smoothly.
        spin: ``none``, ``collinear`` or ``spinor``.
        spin_orbit: λ [eV], of spinors.
        exchange: half the distance of ↑ and ↓ on-site energies [eV], of collinear spins.
    """

    name: ClassVar[str] = "tight-binding"

    cutoff: float = 4.5
    spin: Spin = "none"
    spin_orbit: float = 0.3
    exchange: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a cutoff that is none, or an unknown spin layout."""
        if not self.cutoff > 0 or self.spin not in ("none", "collinear", "spinor"):
            raise ConfigError(
                f"cutoff {self.cutoff} Å and spin {self.spin!r}",
                expected="a positive cutoff, and spin none, collinear or spinor",
                suggestion="leave both at their defaults",
            )

    @property
    def available(self) -> frozenset[str]:
        """Matrices alone: the model has no total energy."""
        return frozenset({"hamiltonian", "overlap"})

    def provenance(self, structure: Structure) -> Provenance:
        """The model and its parameters."""
        elements = sorted({int(z) for z in structure.atomic_numbers})
        basis = OrbitalBasis("sp", dict.fromkeys(elements, (0, 1)), {z: float(_valence(z)) for z in elements})
        settings: dict[str, object] = {"cutoff": self.cutoff, "spin": self.spin}
        if self.spin == "spinor":
            settings["spin_orbit"] = self.spin_orbit
        if self.spin == "collinear":
            settings["exchange"] = self.exchange
        return Provenance(
            "adiabat", adiabat.__version__, "Slater–Koster sp model", settings, "tight-binding", orbital_basis=basis
        )

    def _compute(self, structure: Structure, targets: frozenset[str]) -> Labels:
        from adiabat.data.neighbors import find_neighbors  # loads PyTorch

        refuse_overlapping_atoms(structure)
        found = find_neighbors(structure, self.cutoff)
        i, j = found.index
        unit = found.vectors / found.distances[:, None]
        envelope = (1 - (found.distances / self.cutoff) ** 2) ** 3
        falling = np.exp(-_DECAY * (found.distances - 1.5)) * envelope
        numbers = structure.atomic_numbers
        # Atoms near either end of a bond screen it: a three-centre term.
        crowd = np.bincount(i, weights=falling, minlength=len(numbers))
        screened = falling * (1 - 0.25 * np.tanh(0.5 * (crowd[i] + crowd[j] - 2 * falling)))
        strength = 1 + 0.02 * (numbers[i] + numbers[j] - 12)
        hops = _blocks(_INTEGRALS, unit) * (screened * strength)[:, None, None]
        meets = _blocks(_OVERLAPS, unit) * falling[:, None, None]
        home = np.stack([np.diag(_levels(int(z))) for z in numbers])
        field = np.einsum("e,ea,eb->eab", 0.4 * falling, unit, unit)[:, _P_ORDER][:, :, _P_ORDER]
        np.add.at(home[:, 1:, 1:], i, field)
        np.add.at(home[:, 0, 0], i, -0.3 * falling)
        dipole = np.einsum("e,ea->ea", 0.5 * falling, unit)[:, _P_ORDER]
        np.add.at(home[:, 0, 1:], i, dipole)
        np.add.at(home[:, 1:, 0], i, dipole)
        atoms = np.arange(len(numbers))
        pairs = np.concatenate(
            [
                np.stack([0 * atoms, 0 * atoms, 0 * atoms, atoms, atoms], axis=1),
                np.concatenate([found.shift, found.index.T], axis=1),
            ]
        )
        n_orbitals = np.full(len(numbers), 4, dtype=np.int64)
        scalar = np.concatenate([home, hops])
        one = np.broadcast_to(np.eye(4), home.shape)
        labels: Labels = {
            "hamiltonian": BlockOperator.from_blocks(
                pairs, self._with_spin(scalar, len(numbers)), n_orbitals, self.spin
            ),
            "overlap": BlockOperator.from_blocks(pairs, np.concatenate([one, meets]), n_orbitals),
        }
        return {name: labels[name] for name in targets}

    def _with_spin(self, blocks: Array, n_atoms: int) -> npt.NDArray[Any]:
        if self.spin == "none":
            return blocks
        if self.spin == "collinear":
            both = np.stack([blocks, blocks], axis=1)
            both[:n_atoms, 0] -= self.exchange * np.eye(4)
            both[:n_atoms, 1] += self.exchange * np.eye(4)
            return both
        both = np.stack([blocks, 0 * blocks, 0 * blocks, blocks], axis=1).astype(np.complex128)
        both[:n_atoms, :, 1:, 1:] += _spin_orbit(self.spin_orbit)
        return both


def _valence(atomic_number: int) -> int:
    """Electrons outside the noble-gas core, as far as s and p orbitals hold them."""
    core = max(n for n in (0, 2, 10, 18, 36, 54, 86) if n < atomic_number)
    return min(atomic_number - core, 8)


def _levels(atomic_number: int) -> Array:
    """On-site energies of s, y, z, x [eV]: deeper to the right of the periodic table."""
    valence = _valence(atomic_number)
    return np.array([-6.0 - 2.2 * valence, *[-1.0 - 1.1 * valence] * 3])


def _blocks(integrals: dict[str, float], unit: Array) -> Array:
    """Slater–Koster blocks (n, 4, 4) over s, y, z, x at 1.5 Å."""
    blocks = np.zeros((len(unit), 4, 4))
    along = unit[:, _P_ORDER]
    blocks[:, 0, 0] = integrals["sss"]
    blocks[:, 0, 1:] = integrals["sps"] * along
    blocks[:, 1:, 0] = -integrals["sps"] * along
    sigma = np.einsum("ea,eb->eab", along, along)
    blocks[:, 1:, 1:] = integrals["pps"] * sigma + integrals["ppp"] * (np.eye(3) - sigma)
    return blocks


def _spin_orbit(strength: float) -> npt.NDArray[Any]:
    """λ L·S of a p shell, components ↑↑, ↑↓, ↓↑, ↓↓ (4, 3, 3) over y, z, x; (L_a)_bc = −i ε_abc."""
    l_x, l_y, l_z = -1j * _LEVI_CIVITA[:, _P_ORDER][:, :, _P_ORDER].astype(np.complex128)
    return np.stack([l_z, l_x - 1j * l_y, l_x + 1j * l_y, -l_z]) * (strength / 2)
