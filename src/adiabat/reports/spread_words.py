"""Sentences about uncertainties: whether σ is of the right size, and whether it is large where the errors are."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from adiabat.reports.words import count, number

SMALLEST_MISS: Final = 0.03
"""A coverage this near the expected one is called right, however many values there are: calibration on a few dozen
structures is not surer."""

AS_EXPECTED: Final = 0.85
"""A rank correlation above this share of that of normal errors with these σ is as good as a right σ's."""

A_PART: Final = 0.4
"""A rank correlation below this share of it sends a search for large errors mostly elsewhere."""

VALUES: Final = {
    "energy": "total energies",
    "forces": "force components",
    "stress": "stress components",
    "hamiltonian": "matrix elements",
}


def method_sentence(uncertainty: Mapping[str, Any]) -> str:
    """How the spreads are found and what they were calibrated on, from the saved result."""
    names = {
        "ensemble": "trained models",
        "shallow-ensemble": "output layers over one trunk",
        "last-layer": "draws from the posterior of the last layer",
        "linear": "draws from the posterior of the linear model",
    }
    members = f"{uncertainty['n_members']} {names.get(uncertainty['method'], 'models')}"
    parts = {name: uncertainty["calibration"].get(name, {}) for name in uncertainty["scores"]}
    done = {name: part for name, part in parts.items() if part.get("method", "none") != "none"}
    if not done:
        calibrated = "They were not calibrated: σ is the raw spread."
    else:
        calibrated = "They were calibrated " + "; ".join(_calibration(name, part) for name, part in done.items()) + "."
    return f"Standard deviations come from {members} ({uncertainty['method']}). {calibrated}"


def _calibration(name: str, part: Mapping[str, Any]) -> str:
    floor = f" and a floor of {part['floor']:.3g}" if part["floor"] else ""
    factor = f"a factor of {number(part['scale'])}{floor}"
    return f"for {VALUES[name]} by {part['method']} on {part['n_frames']} structures, with {factor}"


def size_sentence(target: str, scores: Mapping[str, Any]) -> str:
    """Whether σ is of the right size, from the coverage of one σ.

    Values of one structure are not independent, so the structures decide what a coverage is sure to.
    """
    expected = 0.6827
    found = scores["coverage"].get("68.27", float("nan"))
    unsure = 2 * float(np.sqrt(expected * (1 - expected) / scores["n_structures"]))
    who = f"{count(scores['n_values'])} {VALUES[target]} of {count(scores['n_structures'])} structures"
    fact = f"Of {who}, {100 * found:.0f} % lie within one σ of the reference; 68 % should."
    if abs(found - expected) <= max(SMALLEST_MISS, unsure):
        return f"{fact} That is as near as these structures can tell."
    if found < expected:
        return f"{fact} σ is too small: the model is surer than it should be here."
    return f"{fact} σ is too large: the model is better than it says here."


def order_sentence(scores: Mapping[str, Any]) -> str:
    """Whether σ is large where errors are."""
    found, expected = scores["rank_correlation"], scores["rank_correlation_expected"]
    if found is None or expected is None:
        return "All σ or all errors are alike, so there is no order to judge."
    fact = (
        f"The rank correlation of |error| and σ is {number(found, 2)}; normal errors of these σ would show "
        f"{number(expected, 2)}, since an error is one draw from its distribution"
    )
    if found > expected / AS_EXPECTED:
        return f"{fact}. The errors differ more from place to place than σ says, and in the same order."
    if found >= AS_EXPECTED * expected:
        return f"{fact}: σ orders the errors as well as it could if it were right."
    if found >= A_PART * expected:
        return f"{fact}: σ orders the errors in part."
    return f"{fact}: large errors are mostly elsewhere than large σ."
