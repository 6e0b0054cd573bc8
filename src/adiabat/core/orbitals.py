"""Orbital order: which m comes first, with which sign, in this package and in the codes that it reads.

Ours: within a shell m runs −l … l of real harmonics without the Condon–Shortley phase, so p = (y, z, x) and
d = (xy, yz, z², xz, x²−y²). Shells stand in the basis file's order, contractions expanded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import BasisError, nearest


@dataclass(frozen=True)
class OrbitalBasis:
    """The shells of each element in an atomic-orbital basis.

    Attributes:
        name: as the reference code calls it, for instance ``def2-svp``.
        shells: for each atomic number the angular momenta of its shells, in order: ``{1: (0, 0, 1)}``.
        valence: electrons that the neutral atom of each atomic number brings to these orbitals (those outside its
            pseudopotential); None where that is not known.
    """

    name: str
    shells: Mapping[int, tuple[int, ...]]
    valence: Mapping[int, float] | None = None

    @cached_property
    def l_max(self) -> int:
        """Largest angular momentum of any shell."""
        return max(max(ls) for ls in self.shells.values())

    def of(self, atomic_number: int) -> tuple[int, ...]:
        """Angular momenta of one element's shells.

        Raises:
            BasisError: the basis does not cover this element.
        """
        try:
            return self.shells[int(atomic_number)]
        except KeyError:
            raise BasisError(
                f"atomic number {atomic_number} in basis {self.name!r}",
                expected=f"one of the elements it was made for: {sorted(self.shells)}",
                suggestion="label at least one structure with this element, or remove it from the input",
            ) from None

    def n_orbitals(self, atomic_numbers: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Number of orbitals on each atom, shape (n_atoms,)."""
        return np.array([sum(2 * l + 1 for l in self.of(z)) for z in atomic_numbers], dtype=np.int64)

    def n_electrons(self, atomic_numbers: Sequence[int] | npt.NDArray[np.int64], charge: float = 0.0) -> float:
        """Electrons of a structure that these orbitals describe.

        Args:
            atomic_numbers: (n_atoms,).
            charge: total charge [e].

        Raises:
            BasisError: it is not known how many electrons an element brings.
        """
        valence = self.valence or {}
        missing = sorted({int(z) for z in atomic_numbers if int(z) not in valence})
        if missing:
            raise BasisError(
                f"basis {self.name!r}, which does not say how many electrons atomic numbers {missing} bring",
                expected="the number of electrons outside the pseudopotential, for every element",
                suggestion="give the number of electrons (--electrons), or import the file with --valence B=3,N=5",
            )
        return float(sum(valence[int(z)] for z in atomic_numbers) - charge)

    def shell_sequence(self, atomic_numbers: Sequence[int] | npt.NDArray[np.int64]) -> list[int]:
        """Angular momenta of all shells of a structure, atom by atom."""
        return [l for z in atomic_numbers for l in self.of(z)]

    def merged_with(self, other: "OrbitalBasis") -> "OrbitalBasis":
        """Union of two bases of one name.

        Raises:
            BasisError: the names differ or an element has different shells in each.
        """
        clash = [z for z in self.shells if z in other.shells and self.shells[z] != other.shells[z]]
        mine, theirs = self.valence or {}, other.valence or {}
        clash += [z for z in mine if z in theirs and mine[z] != theirs[z] and z not in clash]
        if self.name != other.name or clash:
            raise BasisError(
                f"bases {self.name!r} and {other.name!r} that differ for elements {clash}",
                expected="one orbital basis for all records with a Hamiltonian",
                suggestion="split the data set by basis and train one model on each",
            )
        return OrbitalBasis(self.name, {**self.shells, **other.shells}, {**mine, **theirs} or None)

    def to_json(self) -> dict[str, object]:
        """Plain dictionary with string keys."""
        data: dict[str, object] = {
            "name": self.name,
            "shells": {str(z): list(ls) for z, ls in sorted(self.shells.items())},
        }
        if self.valence is not None:
            data["valence"] = {str(z): float(n) for z, n in sorted(self.valence.items())}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> "OrbitalBasis":
        """Inverse of :meth:`to_json`."""
        shells, valence = data["shells"], data.get("valence")
        assert isinstance(shells, Mapping)
        electrons = {int(z): float(n) for z, n in valence.items()} if isinstance(valence, Mapping) else None
        return cls(str(data["name"]), {int(z): tuple(int(l) for l in ls) for z, ls in shells.items()}, electrons)


_IDENTITY: Final = {0: (0,), 1: (0, 1, 2), 2: (0, 1, 2, 3, 4), 3: (0, 1, 2, 3, 4, 5, 6)}
_PLUS: Final = {l: (1,) * (2 * l + 1) for l in range(4)}

_ORDER: Final[dict[str, dict[int, tuple[int, ...]]]] = {
    "adiabat": _IDENTITY,
    "pyscf": {**_IDENTITY, 1: (1, 2, 0)},
    "openmx": {0: (0,), 1: (1, 2, 0), 2: (2, 4, 0, 3, 1), 3: (6, 4, 2, 0, 1, 3, 5)},
    "siesta": _IDENTITY,
    "abacus": {0: (0,), 1: (2, 0, 1), 2: (4, 2, 0, 1, 3), 3: (6, 4, 2, 0, 1, 3, 5)},
    "wannier90": {0: (0,), 1: (2, 0, 1), 2: (4, 2, 0, 1, 3), 3: (6, 4, 2, 0, 1, 3, 5)},
    "fhi-aims": _IDENTITY,
    "cp2k": _IDENTITY,
    "gpaw": _IDENTITY,
    "tblite": _IDENTITY,
}
_SIGN: Final[dict[str, dict[int, tuple[int, ...]]]] = {
    "siesta": {0: (1,), 1: (-1, 1, -1), 2: (1, -1, 1, -1, 1), 3: (-1, 1, -1, 1, -1, 1, -1)},
    "abacus": {l: tuple((-1) ** abs(m) for m in range(-l, l + 1)) for l in range(4)},
    "fhi-aims": {l: tuple(-1 if m > 0 and m % 2 else 1 for m in range(-l, l + 1)) for l in range(4)},
}
_L_MAX: Final = 3


def orbital_transform(
    source: str, shell_sequence: Sequence[int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Order and signs that turn another code's orbitals into ours.

    With the result ``(order, signs)``, a matrix of the source becomes
    ``signs[:, None] * matrix[np.ix_(order, order)] * signs[None, :]``.

    Args:
        source: the code, for instance ``pyscf``.
        shell_sequence: angular momenta of all shells, atom by atom.

    Returns: order (n_orb,) and signs (n_orb,).

    Raises:
        BasisError: an unknown code, or a shell beyond f.
    """
    if source not in _ORDER:
        raise BasisError(f"orbital convention {source!r}", expected="a known code", suggestion=nearest(source, _ORDER))
    order: list[int] = []
    signs: list[int] = []
    for l in shell_sequence:
        if l > _L_MAX:
            raise BasisError(
                f"a shell with l = {l}",
                expected=f"shells up to l = {_L_MAX} (f), for which the m-order of {source!r} is proven",
                suggestion="use a basis without g functions, such as def2-TZVP instead of def2-QZVP",
            )
        start = len(order)
        order += [start + k for k in _ORDER[source][l]]
        signs += _SIGN.get(source, _PLUS)[l]
    return np.array(order, dtype=np.int64), np.array(signs, dtype=np.float64)


def reorder_matrix(
    matrix: npt.NDArray[np.float64], source: str, shell_sequence: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Turn a dense (…, n_orb, n_orb) matrix in another code's orbital order into ours."""
    order, signs = orbital_transform(source, shell_sequence)
    return signs[:, None] * matrix[..., order[:, None], order[None, :]] * signs


def restore_matrix(
    matrix: npt.NDArray[np.float64], source: str, shell_sequence: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Inverse of :func:`reorder_matrix`: our orbital order into another code's."""
    order, signs = orbital_transform(source, shell_sequence)
    back = np.argsort(order)
    return (signs[:, None] * matrix * signs)[..., back[:, None], back[None, :]]
