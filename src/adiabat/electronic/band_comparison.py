"""How far bands are from reference bands: the number that a Hamiltonian's error comes down to."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from adiabat.core.errors import ElectronicError


@dataclass(frozen=True)
class BandDifference:
    """Differences of two sets of bands at the same k, state by state.

    Attributes:
        rms: root mean square difference [eV].
        rms_shifted: the same after adding the best constant to the bands [eV].
        shift: that constant, the mean of reference − bands [eV]; a periodic H is defined up to μ S.
        largest: largest absolute difference after adding it [eV].
        n_states: number of states compared, over all k.
    """

    rms: float
    rms_shifted: float
    shift: float
    largest: float
    n_states: int


def compare_bands(
    energies: Float[Tensor, "n_channels n_k n_bands"],
    reference: Float[Tensor, "n_channels n_k n_reference"],
    window: tuple[float, float],
    *,
    first_band: int = 0,
) -> BandDifference:
    """Compare bands with reference bands.

    Bands are matched by their number at each k, not by their distance, so that a band in the wrong place is an error.

    Args:
        energies: bands [eV], ascending; +∞ for dropped states.
        reference: reference bands at the same k [eV].
        window: lowest and highest reference energy that is compared [eV].
        first_band: band of ``energies`` that is the lowest one of ``reference``: bands of deep shells that only one of
            the two calculations treats. May be negative.

    Raises:
        ElectronicError: other numbers of channels or k, or no reference state in the window.
    """
    if energies.shape[:2] != reference.shape[:2]:
        raise ElectronicError(
            f"bands with {energies.shape[0]} spin channels at {energies.shape[1]} k and a reference with "
            f"{reference.shape[0]} at {reference.shape[1]}",
            expected="the same spin channels and the same k",
            suggestion="compute the bands at the k of the reference, with the same treatment of spin",
        )
    mine, theirs = energies[..., max(first_band, 0) :], reference[..., max(-first_band, 0) :]
    n_bands = min(mine.shape[-1], theirs.shape[-1])
    mine, theirs = mine[..., :n_bands], theirs[..., :n_bands]
    inside = (theirs >= window[0]) & (theirs <= window[1])
    differences = (theirs - mine)[inside]
    if not len(differences):
        raise ElectronicError(
            f"a reference without states between {window[0]:.4g} and {window[1]:.4g} eV",
            expected="states in the window of comparison",
            suggestion="check that reference and bands have the same zero of energy, or widen the window",
        )
    shift = float(differences.mean())
    shifted = differences - shift
    return BandDifference(
        rms=math.sqrt(float(differences.square().mean())),
        rms_shifted=math.sqrt(float(shifted.square().mean())),
        shift=shift,
        largest=float(shifted.abs().max()),
        n_states=len(differences),
    )
