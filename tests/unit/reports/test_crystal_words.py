"""Sentences about predicted crystals: the verdict follows the number, on both sides of every threshold."""

import pytest

from adiabat.reports import crystal_words


@pytest.mark.parametrize(
    ("rms", "said"),
    [
        (crystal_words.THERMAL - 0.1, "less than the thermal energy"),
        (crystal_words.THERMAL + 0.1, "on the scale of the figures"),
        (crystal_words.RECOGNISABLE - 0.1, "on the scale of the figures"),
        (crystal_words.RECOGNISABLE + 0.1, "too much to read bands from"),
    ],
)
def test_verdict_on_bands_follows_what_no_shift_can_mend(rms: float, said: str) -> None:
    text = crystal_words.band_words(rms + 500, rms, 900.0, 42)
    assert said in text
    assert "42 states" in text


def test_amplification_is_the_inverse_of_the_smallest_overlap() -> None:
    text = crystal_words.matrix_words(1.0, 0.8, 300.0, 0.05)
    assert "up to 1/λ_min(S), 20 " in text
    assert "off by 1.00 meV" in text


@pytest.mark.parametrize(
    ("source", "said", "unsaid"),
    [
        ("cp2k", "on this machine, in 3.0 minutes", "not computed"),
        ("shipped", "were not computed in this run", "on this machine"),
        ("tight-binding", "no number below says anything about boron nitride", "computed"),
    ],
)
def test_a_reader_is_told_who_made_the_labels(source: str, said: str, unsaid: str) -> None:
    text = crystal_words.source_words(source, "cp2k 2023.1", 180.0, 43)
    assert said in text
    assert unsaid not in text


def test_a_metal_has_no_gap_to_compare() -> None:
    assert "no gap to compare" in crystal_words.level_words(None, 2.0)
    assert "the gap by 3.00 meV" in crystal_words.level_words(3.0, 2.0)
    assert "It has no gap" in crystal_words.larger_words(72, 648, 1.0, 2.0, None, 4.0)
    assert "Its gap is 4.10 eV, against 4.60 eV" in crystal_words.larger_words(72, 648, 1.0, 2.0, 4.1, 4.6)


def test_a_larger_cell_that_is_worse_is_called_so() -> None:
    assert "training never showed" in crystal_words.size_words(0.2, 0.9, 12)
    assert "not much more" in crystal_words.size_words(0.2, 0.25, 12)
