"""Bands against a reference: band by band, in a window, with and without a common shift."""

import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.electronic.band_comparison import compare_bands

REFERENCE = torch.tensor([[[-20.0, -1.0, 1.0, 9.0], [-20.5, -2.0, 2.0, 9.5]]], dtype=torch.float64)


def test_a_constant_shift_is_found_and_removed() -> None:
    difference = compare_bands(REFERENCE - 0.3, REFERENCE, (-5.0, 5.0))
    assert difference.n_states == 4
    assert difference.rms == pytest.approx(0.3)
    assert difference.shift == pytest.approx(0.3)
    assert difference.rms_shifted == pytest.approx(0.0, abs=1e-12)


def test_only_reference_states_of_the_window_count() -> None:
    bands = REFERENCE.clone()
    bands[..., 0] += 7.0
    bands[..., 3] -= 7.0
    assert compare_bands(bands, REFERENCE, (-5.0, 5.0)).rms == 0.0
    assert compare_bands(bands, REFERENCE, (-30.0, 30.0)).rms > 4.0


def test_bands_are_matched_by_number_not_by_distance() -> None:
    """A band that fell below another is an error of the distance between them; nearest neighbors would hide it."""
    swapped = torch.tensor([[[-20.0, -1.0, -1.0, 1.0]]], dtype=torch.float64)
    assert compare_bands(swapped, REFERENCE[:, :1], (-5.0, 5.0)).largest == pytest.approx(1.0)


def test_deep_shells_of_one_calculation_are_left_out() -> None:
    full = torch.cat([torch.full((1, 2, 1), -50.0, dtype=torch.float64), REFERENCE], dim=-1)
    assert compare_bands(full, REFERENCE, (-5.0, 5.0), first_band=1).rms == 0.0
    assert compare_bands(REFERENCE, full, (-5.0, 5.0), first_band=-1).rms == 0.0
    assert compare_bands(full, REFERENCE, (-5.0, 5.0)).rms > 1.0


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ElectronicError, match="spin channels"):
        compare_bands(REFERENCE.expand(2, -1, -1), REFERENCE, (-5.0, 5.0))
    with pytest.raises(ElectronicError, match="without states"):
        compare_bands(REFERENCE, REFERENCE, (3.0, 5.0))
    dropped = torch.full_like(REFERENCE, torch.inf)
    with pytest.raises(ElectronicError, match="without states"):
        compare_bands(REFERENCE, dropped, (-5.0, 5.0))
