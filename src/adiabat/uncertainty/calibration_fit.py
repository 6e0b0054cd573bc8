"""Fitting a calibration to the errors and spreads of structures that training did not see.

The structure is what is drawn at random; its 3n force components or its matrix elements are not independent of one
another. Conformal factors therefore give every structure the same mass 1/(K + 1), shared evenly by its values, and the
mass that is left to the structure to come. The factor at level p then covers, with probability at least p, a value
drawn from the next structure, if that is drawn like the K that were held out.

Source: [dunn2023], [lee2023]; for energies, one value a structure, it is the usual split-conformal quantile [hu2022].
Scaling by maximum likelihood: [musil2019].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from adiabat.core.errors import ConfigError, LabelError, ModelError, nearest
from adiabat.uncertainty.calibration import ONE_SIGMA, TARGETS, Calibration, CalibrationMethod, TargetCalibration

LEVELS: Final = (0.5, 0.9, 0.95)
"""Coverage levels for which conformal factors are found unless told otherwise, beside 68.27 %."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Errors and raw spreads of one target.

    Attributes:
        errors: (n,) predicted − reference, in the target's unit.
        spreads: (n,) raw standard deviations, same unit.
        structure: (n,) which structure each value belongs to.
        n_atoms: (n,) atoms of the structure for total energies; 1 for what belongs to an atom, a pair or a cell.
        atom: (n,) which atom of all each value belongs to, of forces; no fit needs it, scores do.
    """

    errors: Array
    spreads: Array
    structure: npt.NDArray[np.int64]
    n_atoms: Array | float = 1.0
    atom: npt.NDArray[np.int64] | None = None

    @property
    def n_frames(self) -> int:
        """Number of structures."""
        return len(np.unique(self.structure))


def fit_calibration(
    held_out: Mapping[str, HeldOut],
    method: CalibrationMethod = "scaling",
    *,
    floor: bool = False,
    levels: Sequence[float] = LEVELS,
    data: Mapping[str, Any] | None = None,
) -> Calibration:
    """Fit every target there are errors of; the others are left as they are.

    Args:
        held_out: by target, see ``calibration.TARGETS``.
        method: how.
        floor: for ``scaling``, fit an error that no spread accounts for as well.
        levels: for ``conformal``, the coverages wanted beside 68.27 %.
        data: plain JSON that says which structures these are.

    Raises:
        ConfigError: an unknown target, a level outside (0, 1), or a floor for another method than scaling.
        LabelError: no structure, or too few for a level.
        ModelError: spreads that are negative, not a number, or zero beside errors that are not.
    """
    if floor and method != "scaling":
        raise ConfigError(f"a floor for {method}", expected="scaling", suggestion="leave the floor out")
    unknown = set(held_out) - set(TARGETS)
    if unknown:
        name = sorted(unknown)[0]
        raise ConfigError(f"target {name!r}", expected="something calibrated", suggestion=nearest(name, TARGETS))
    fitted = {name: fit_target(name, part, method, floor=floor, levels=levels) for name, part in held_out.items()}
    return Calibration(**fitted, data=dict(data or {}))


def fit_target(
    name: str, held_out: HeldOut, method: CalibrationMethod, *, floor: bool = False, levels: Sequence[float] = LEVELS
) -> TargetCalibration:
    """Fit one target; see :func:`fit_calibration`."""
    if method == "none":
        return TargetCalibration()
    _check(name, held_out, needs_spread=not floor)
    n_frames, n_values = held_out.n_frames, len(held_out.errors)
    if method == "scaling":
        a, b = fit_scaling(held_out, floor=floor)
        return TargetCalibration(method=method, scale=a, floor=b, n_frames=n_frames, n_values=n_values)
    factors = tuple((level, conformal_factor(held_out, level)) for level in sorted({*levels, ONE_SIGMA}))
    scale = dict(factors)[ONE_SIGMA]
    return TargetCalibration(method=method, scale=scale, factors=factors, n_frames=n_frames, n_values=n_values)


def fit_scaling(held_out: HeldOut, *, floor: bool = False) -> tuple[float, float]:
    """The a and b for which the errors are likeliest, each N(0, a² s² + n b²).

    Without b, a² is the mean of (error/s)². With it, −log L is minimised over log a² and log b², starting where all,
    half and nearly none of the errors' variance is the floor's.

    Returns: a, and b in the target's unit, for energies a root of an atom.
    """
    squares, variances = np.square(held_out.errors), np.square(held_out.spreads)
    if not floor:
        return float(np.sqrt((squares / np.where(variances > 0, variances, 1)).mean())), 0.0
    n_atoms = np.broadcast_to(held_out.n_atoms, squares.shape)
    # In units of their own means, the logarithms that are searched are near zero.
    unit_a, unit_b = squares.mean() / variances.mean(), (squares / n_atoms).mean()

    def loss(logarithms: Array) -> tuple[float, Array]:
        a, b = np.exp(logarithms)
        parts = a * unit_a * variances, b * unit_b * n_atoms
        total = parts[0] + parts[1]
        slope = (1 - squares / total) / total / 2
        return float((np.log(total) + squares / total).mean() / 2), np.array([(slope * part).mean() for part in parts])

    starts = ((-3.0, 0.0), (-0.7, -0.7), (0.0, -6.0))
    fits = [minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-30.0, 10.0)] * 2) for start in starts]
    a, b = np.exp(min(fits, key=lambda fit: fit.fun).x)
    return float(np.sqrt(a * unit_a)), float(np.sqrt(b * unit_b))


def conformal_factor(held_out: HeldOut, level: float) -> float:
    """The least q for which |error| ≤ q s holds with probability ``level`` or more for the next structure.

    Raises:
        ConfigError: a level outside (0, 1).
        LabelError: fewer structures than level/(1 − level), for which no finite factor can promise it.
    """
    if not 0 < level < 1:
        raise ConfigError(f"a coverage of {level:g}", expected="between 0 and 1", suggestion="for instance 0.9")
    _, member, sizes = np.unique(held_out.structure, return_inverse=True, return_counts=True)
    n_frames = len(sizes)
    scores = np.abs(held_out.errors) / np.where(held_out.spreads > 0, held_out.spreads, 1)
    order = np.argsort(scores)
    reached = np.cumsum(1 / sizes[member[order]]) / (n_frames + 1)
    place = int(np.searchsorted(reached, level - 1e-12))
    if place == len(scores):
        raise LabelError(
            f"{n_frames} held-out structures for a coverage of {100 * level:g} %",
            expected=f"at least {int(np.ceil(round(level / (1 - level), 9)))}",
            suggestion="hold out more structures, ask for a lower level, or calibrate by scaling",
        )
    return float(scores[order[place]])


def _check(name: str, held_out: HeldOut, *, needs_spread: bool) -> None:
    if not len(held_out.errors):
        raise LabelError(
            f"no held-out structure with {name}", expected="at least one", suggestion="choose other frames"
        )
    sound = np.isfinite(held_out.errors) & np.isfinite(held_out.spreads) & (held_out.spreads >= 0)
    if not sound.all():
        raise ModelError(
            f"{int((~sound).sum())} errors or spreads of {name} that are negative or not a number",
            expected="finite ones",
            suggestion="leave out structures that the model cannot be evaluated on",
        )
    if not held_out.spreads.any() or (needs_spread and (held_out.errors[held_out.spreads == 0] != 0).any()):
        raise ModelError(
            f"a spread of zero beside errors of {name}",
            expected="a spread for everything that can be wrong",
            suggestion="use members that differ, such as runs with different training.seed, or fit a floor",
        )
