"""Invariant products of the sums over neighbors, written once as a table of monomials.

A factor is a channel (z, n, l): element of the neighbors, radial function, angular momentum, with components
A_{znlm}. A feature of order ν is a sum of products of ν components, coupled to total angular momentum zero and even
parity, over one unordered tuple of channels:

    B = Σ_{m1 … mν} C_{m1 … mν} A_{k1 m1} … A_{kν mν}

ν = 2: C = δ_{m1 m2}/√(2l + 1). ν = 3: the Clebsch–Gordan coefficients over √(2 l3 + 1). ν = 4: l1, l2 and l3, l4 are
coupled to a common L. Where channels are equal, C is symmetrized and the couplings that this makes dependent are
dropped: what is left are orthonormal, independent features.

Source: [drautz2019] sec. III; [dusson2022] for the symmetrization.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

from adiabat.equivariant.clebsch_gordan import clebsch_gordan

MAX_ORDER = 4
"""Largest ν that couplings are written down for."""
_NEGLIGIBLE = 1e-10
"""Coefficients and lengths below are rounding of couplings of unit norm."""

Channel = tuple[int, int, int]
"""Element index z of the neighbors, radial function n ≥ 0, angular momentum l."""


@dataclass(frozen=True, eq=False)
class ProductTable:
    """All features of one order ν, as monomials.

    Attributes:
        factors: (n_terms, ν) index of each factor among the components of A.
        coefficients: (n_terms,) C.
        feature: (n_terms,) the feature that a term belongs to, ascending from 0.
        degrees: (n_features,) Σ (n + l) over the factors.
    """

    factors: npt.NDArray[np.int64]
    coefficients: npt.NDArray[np.float64]
    feature: npt.NDArray[np.int64]
    degrees: npt.NDArray[np.int64]

    @property
    def order(self) -> int:
        """ν."""
        return self.factors.shape[1]

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.degrees)


def component_offsets(n_species: int, n_radial: Sequence[int]) -> dict[Channel, int]:
    """Where the 2l + 1 components of each channel begin: element by element, l by l, n by n.

    Args:
        n_species: number of elements.
        n_radial: number of radial functions of each l.
    """
    offsets: dict[Channel, int] = {}
    start = 0
    for z in range(n_species):
        for l, count in enumerate(n_radial):
            for n in range(count):
                offsets[z, n, l] = start
                start += 2 * l + 1
    return offsets


def product_table(order: int, degree: int, n_species: int, n_radial: Sequence[int]) -> ProductTable:
    """Every feature of ν = ``order`` with Σ (n + l) ≤ ``degree``.

    Args:
        order: ν from 1 to :data:`MAX_ORDER`.
        degree: largest sum of n + l over the factors.
        n_species: number of elements.
        n_radial: number of radial functions of each l, which bounds n and l too.
    """
    offsets = component_offsets(n_species, n_radial)
    groups: dict[tuple[tuple[int, ...], tuple[int, ...]], list[tuple[Channel, ...]]] = {}
    for channels in _tuples(sorted(offsets, key=lambda channel: (channel[2], channel)), order, degree):
        ls = tuple(l for _, _, l in channels)
        groups.setdefault((ls, _pattern(channels)), []).append(channels)
    factors: list[npt.NDArray[np.int64]] = []
    coefficients: list[npt.NDArray[np.float64]] = []
    feature: list[npt.NDArray[np.int64]] = []
    degrees: list[int] = []
    for (ls, pattern), members in groups.items():
        components, couplings = _couplings(ls, pattern)  # none where Σ l is odd
        starts = np.array([[offsets[channel] for channel in channels] for channels in members], dtype=np.int64)
        for coupling in couplings:
            used = np.abs(coupling) > _NEGLIGIBLE
            factors.append((starts[:, None, :] + components[used]).reshape(-1, order))
            coefficients.append(np.tile(coupling[used], len(members)))
            feature.append(np.repeat(np.arange(len(members)) + len(degrees), int(used.sum())))
            degrees += [sum(n + l for _, n, l in channels) for channels in members]
    return ProductTable(
        np.concatenate(factors) if factors else np.zeros((0, order), dtype=np.int64),
        np.concatenate(coefficients) if factors else np.zeros(0),
        np.concatenate(feature) if factors else np.zeros(0, dtype=np.int64),
        np.array(degrees, dtype=np.int64),
    )


def _tuples(channels: Sequence[Channel], order: int, degree: int, first: int = 0) -> Iterator[tuple[Channel, ...]]:
    """Unordered tuples of channels, in ascending order, within the degree."""
    if order == 0:
        yield ()
        return
    for index in range(first, len(channels)):
        _, n, l = channels[index]
        if n + l <= degree:
            for rest in _tuples(channels, order - 1, degree - n - l, index):
                yield (channels[index], *rest)


def _pattern(channels: Sequence[Channel]) -> tuple[int, ...]:
    """For each factor the first that is the same channel."""
    return tuple(channels.index(channel) for channel in channels)


@cache
def _couplings(ls: tuple[int, ...], pattern: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Monomials (n_monomials, ν) as components m = 0 … 2l, and (n_couplings, n_monomials) independent couplings.

    Monomials that equal channels make the same are merged into the one whose components ascend.
    """
    sizes = [2 * l + 1 for l in ls]
    tensors = [_symmetrized(tensor, pattern) for tensor in _invariant_tensors(ls)]
    if not tensors:
        return np.zeros((0, len(ls)), dtype=np.int64), np.zeros((0, 0))
    rows = _orthonormal([tensor.ravel() for tensor in tensors])
    merged: dict[tuple[int, ...], npt.NDArray[np.float64]] = {}
    for place, components in enumerate(product(*(range(size) for size in sizes))):
        if np.abs(rows[:, place]).max(initial=0) > _NEGLIGIBLE:
            key = _ascending(components, pattern)
            merged[key] = merged.get(key, np.zeros(len(rows))) + rows[:, place]
    monomials = np.array(list(merged), dtype=np.int64).reshape(-1, len(ls))
    return monomials, np.array(list(merged.values())).reshape(len(merged), -1).T


def _orthonormal(vectors: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Gram and Schmidt's, in order, without what depends on those before.

    Weights on disk count on these very vectors, which a singular value decomposition would not give alike everywhere.
    """
    found: list[npt.NDArray[np.float64]] = []
    for vector in vectors:
        rest = vector
        for _ in range(2):  # once more, against rounding
            for other in found:
                rest = rest - (rest @ other) * other
        length = float(np.linalg.norm(rest))
        if length > _NEGLIGIBLE:
            found.append(rest / length)
    return np.array(found).reshape(len(found), len(vectors[0]))


def _ascending(components: tuple[int, ...], pattern: tuple[int, ...]) -> tuple[int, ...]:
    sorted_components = list(components)
    for leader in set(pattern):
        places = [place for place, value in enumerate(pattern) if value == leader]
        for place, value in zip(places, sorted(components[place] for place in places), strict=True):
            sorted_components[place] = value
    return tuple(sorted_components)


def _symmetrized(tensor: npt.NDArray[np.float64], pattern: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Mean over all permutations that exchange equal channels only."""
    allowed = [
        order
        for order in permutations(range(len(pattern)))
        if all(pattern[place] == pattern[source] for place, source in enumerate(order))
    ]
    return np.mean([tensor.transpose(order) for order in allowed], axis=0)


def _invariant_tensors(ls: tuple[int, ...]) -> list[npt.NDArray[np.float64]]:
    """Every coupling of ν ≤ 4 angular momenta to a true scalar, each of unit norm."""
    if sum(ls) % 2:
        return []
    match ls:
        case (l,):
            return [np.ones(1)] if l == 0 else []
        case (l1, l2):
            return [np.eye(2 * l1 + 1) / np.sqrt(2 * l1 + 1)] if l1 == l2 else []
        case (l1, l2, l3):
            return [_coupling(l1, l2, l3) / np.sqrt(2 * l3 + 1)] if abs(l1 - l2) <= l3 <= l1 + l2 else []
        case (l1, l2, l3, l4):
            common = range(max(abs(l1 - l2), abs(l3 - l4)), min(l1 + l2, l3 + l4) + 1)
            return [
                np.einsum("abm,cdm->abcd", _coupling(l1, l2, l), _coupling(l3, l4, l)) / np.sqrt(2 * l + 1)
                for l in common
            ]
        case _:
            raise ValueError(f"no couplings of {len(ls)} factors; at most {MAX_ORDER} are written down")


def _coupling(l1: int, l2: int, l3: int) -> npt.NDArray[np.float64]:
    return clebsch_gordan(l1, l2, l3).numpy()
