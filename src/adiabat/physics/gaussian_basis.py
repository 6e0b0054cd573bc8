"""A Gaussian basis that is written out in full, in the text format of CP2K, so that nothing has to be looked up.

An element's entry is

    B SZVP-MOLOPT-SR-GTH
     1                      number of sets; a set's shells share their exponents
     2 0 2 4 1 1 1          n (unused), l from, l to, number of exponents, number of shells of each l
      3.0534 0.1423 …       exponent [1/Bohr²], and the coefficient of each shell

with coefficients of normalised primitives; each contracted orbital is normalised in turn.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from adiabat.core.errors import BasisError, FileFormatError, nearest
from adiabat.core.orbitals import OrbitalBasis
from adiabat.physics.gaussian_integrals import GaussianSet, overlap_blocks

_L_MAX: Final = 3
_FARTHEST: Final = 60.0
"""Å, as far as the reach of a basis is looked for."""


@dataclass(frozen=True)
class GaussianBasis:
    """Exponents and contractions of each element.

    Attributes:
        name: as the reference code calls it, for instance ``SZVP-MOLOPT-SR-GTH``.
        text: the entry of each atomic number in CP2K's format, as made by :func:`read_basis_text`.
        valence: electrons outside the pseudopotential that each atomic number's entry is made for; None if unknown.
    """

    name: str
    text: Mapping[int, str]
    valence: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        """Read every entry, so that a damaged one is refused here."""
        for z in self.text:
            self.sets(z)

    def sets(self, atomic_number: int) -> tuple[GaussianSet, ...]:
        """Exponents and contractions of one element.

        Raises:
            BasisError: the element is not covered.
            FileFormatError: a damaged entry.
        """
        z = int(atomic_number)
        if z not in self._parsed:
            if z not in self.text:
                raise BasisError(
                    f"{chemical_symbols[z]} in basis {self.name!r}",
                    expected=f"one of {', '.join(chemical_symbols[other] for other in sorted(self.text))}",
                    suggestion="give the basis an entry for this element",
                )
            self._parsed[z] = _parse_entry(self.text[z])
        return self._parsed[z]

    @cached_property
    def _parsed(self) -> dict[int, tuple[GaussianSet, ...]]:
        return {}

    @cached_property
    def orbital_basis(self) -> OrbitalBasis:
        """Angular momenta of each element's shells, in the order of the text."""
        shells = {z: tuple(l for part in self.sets(z) for l in part.angular_momenta) for z in sorted(self.text)}
        return OrbitalBasis(self.name, shells, self.valence)

    def reach(self, z_i: int, z_j: int, threshold: float = 1e-10) -> float:
        """Distance beyond which the overlap block of two atoms has no singular value above a threshold [Å].

        A singular value bounds every element, whatever the direction of the bond.
        """
        key = (min(int(z_i), int(z_j)), max(int(z_i), int(z_j)), float(threshold))
        if key not in self._reaches:
            self._reaches[key] = self._find_reach(*key)
        return self._reaches[key]

    @cached_property
    def _reaches(self) -> dict[tuple[int, int, float], float]:
        return {}

    def _find_reach(self, z_i: int, z_j: int, threshold: float) -> float:
        low, high = 0.0, _FARTHEST
        for _refinement in range(3):
            distances = np.linspace(low, high, 121)
            vectors = np.stack([0 * distances, 0 * distances, distances], axis=1)
            size = np.linalg.norm(overlap_blocks(self.sets(z_i), self.sets(z_j), vectors), ord=2, axis=(1, 2))
            above = np.flatnonzero(size > threshold)
            if not len(above):
                return 0.0
            last = int(above[-1])
            if last == len(distances) - 1:
                raise BasisError(
                    f"an overlap of {chemical_symbols[z_i]} and {chemical_symbols[z_j]} in basis {self.name!r} of "
                    f"{size[-1]:.1e} at {_FARTHEST:g} Å",
                    expected=f"less than {threshold:g} there",
                    suggestion="use a basis without such diffuse functions, or a larger threshold",
                )
            low, high = float(distances[last]), float(distances[last + 1])
        return high

    def only(self, elements: Iterable[int]) -> "GaussianBasis":
        """The same basis, for these atomic numbers.

        Raises:
            BasisError: an element is not covered.
        """
        chosen = sorted({int(z) for z in elements})
        for z in chosen:
            self.sets(z)
        valence = None if self.valence is None else {z: self.valence[z] for z in chosen}
        return GaussianBasis(self.name, {z: self.text[z] for z in chosen}, valence)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary with string keys."""
        data: dict[str, Any] = {"name": self.name, "text": {str(z): self.text[z] for z in sorted(self.text)}}
        if self.valence is not None:
            data["valence"] = {str(z): float(n) for z, n in sorted(self.valence.items())}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "GaussianBasis":
        """Inverse of :meth:`to_json`."""
        valence = data.get("valence")
        electrons = None if valence is None else {int(z): float(n) for z, n in valence.items()}
        return cls(str(data["name"]), {int(z): str(text) for z, text in data["text"].items()}, electrons)

    @classmethod
    def from_text(
        cls, text: str, name: str, elements: Iterable[int], valence: Mapping[int, float] | None = None
    ) -> "GaussianBasis":
        """The entries of some elements in a file of CP2K.

        Args:
            text: content of the file.
            name: one of the names that the entries go by.
            elements: atomic numbers.
            valence: see the class.

        Raises:
            BasisError: an element has no entry of that name.
            FileFormatError: the text is not in CP2K's format.
        """
        entries = read_basis_text(text)
        chosen: dict[int, str] = {}
        for z in sorted({int(element) for element in elements}):
            names = entries.get(z, {})
            if name not in names:
                raise BasisError(
                    f"basis {name!r} for {chemical_symbols[z]}",
                    expected="an entry of that name for every element in the basis file",
                    suggestion=nearest(name, names) if names else "use another basis: this file lacks the element",
                )
            chosen[z] = names[name]
        return cls(name, chosen, valence)


def read_basis_text(text: str) -> dict[int, dict[str, str]]:
    """Entries of a basis file by atomic number and by each name that they go by; comments and spaces are dropped.

    Raises:
        FileFormatError: the text does not start with an entry.
    """
    entries: dict[int, dict[str, str]] = {}
    header: list[str] = []
    lines: list[str] = []

    def finish() -> None:
        for name in header[1:]:
            body = "\n".join([f"{header[0]} {header[1]}", *lines])
            entries.setdefault(atomic_numbers[header[0]], {}).setdefault(name, body)

    for raw in text.splitlines():
        words = raw.split("#")[0].split("!")[0].split()
        if not words:
            continue
        if words[0].capitalize() in atomic_numbers and len(words) > 1:
            finish()
            header, lines = [words[0].capitalize(), *words[1:]], []
        elif not header:
            raise FileFormatError(
                f"a basis file that starts with {raw.strip()[:40]!r}",
                expected="an element and the name of a basis, as in CP2K's BASIS_MOLOPT",
                suggestion="give the basis in CP2K's format",
            )
        else:
            lines.append(" ".join(words))
    finish()
    return entries


def _parse_entry(entry: str) -> tuple[GaussianSet, ...]:
    header, *lines = entry.splitlines()
    try:
        numbers = iter([word for line in lines for word in line.split()])
        sets = tuple(_parse_set(lambda: next(numbers)) for _set in range(int(next(numbers))))
        complete = next(numbers, None) is None
    except (StopIteration, RuntimeError, ValueError) as error:
        raise _damaged(header) from error
    if not complete or not sets:
        raise _damaged(header)
    highest = max(max(part.angular_momenta) for part in sets)
    if highest > _L_MAX:
        raise BasisError(
            f"{header} with shells of l = {highest}",
            expected=f"shells up to f (l = {_L_MAX}), for which the orbital order is proven",
            suggestion="use a smaller basis of the same family",
        )
    return sets


def _parse_set(following: Callable[[], str]) -> GaussianSet:
    _n, l_from, l_to, n_exponents = (int(following()) for _word in range(4))
    counts = [int(following()) for _l in range(l_from, l_to + 1)]
    if not counts or sum(counts) < 1 or n_exponents < 1:
        raise ValueError("a set without shells")
    rows = np.array([[float(following()) for _c in range(1 + sum(counts))] for _e in range(n_exponents)])
    momenta = tuple(l for l, count in zip(range(l_from, l_to + 1), counts, strict=True) for _shell in range(count))
    return GaussianSet(rows[:, 0].copy(), momenta, rows[:, 1:].T.copy())


def _damaged(header: str) -> FileFormatError:
    return FileFormatError(
        f"a damaged basis entry {header!r}",
        expected="number of sets; then for each n, l_min, l_max, n_exponents, shells of each l, and the rows",
        suggestion="copy the whole entry from CP2K's basis file",
    )
