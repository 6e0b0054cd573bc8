"""Every measure of the spreads of one target, in one record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from adiabat.uncertainty import metrics
from adiabat.uncertainty.metrics import Array


@dataclass(frozen=True)
class SpreadScores:
    """How good the standard deviations of one target are.

    Attributes:
        n_values: numbers with an error and a σ.
        n_structures: structures that they belong to.
        unit: of ``rmse``, ``sharpness`` and ``crps``; ``nll`` counts its logarithms in it.
        rmse: root mean square error, what ``sharpness`` is to be.
        sharpness: root mean square σ.
        crps: mean continuous ranked probability score.
        nll: mean negative log likelihood; None where a σ of zero makes it infinite.
        coverage: share of values within the interval of each level, the level in per cent as a text.
        miscalibration_area: between the reliability curve and the diagonal, 0 to ½.
        overconfidence: the same with a sign, positive where σ is too small.
        ence: expected normalized calibration error.
        rank_correlation: Spearman's, of |error| and σ, over all values.
        rank_correlation_expected: the same of errors drawn from N(0, σ²).
        rank_correlation_atoms: of the root mean squares over each atom's values; for energies, of both over the number
            of atoms. None where values belong to no atom.
        rank_correlation_structures: of the root mean squares over each structure's values.
    """

    n_values: int
    n_structures: int
    unit: str
    rmse: float
    sharpness: float
    crps: float
    nll: float | None
    coverage: Mapping[str, float]
    miscalibration_area: float
    overconfidence: float
    ence: float
    rank_correlation: float | None
    rank_correlation_expected: float | None
    rank_correlation_atoms: float | None
    rank_correlation_structures: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_json`."""
        return cls(**data)


def score_spreads(
    errors: Array,
    sigmas: Array,
    structure: npt.NDArray[np.int64],
    *,
    unit: str,
    half_widths: Mapping[float, float] | None = None,
    atom: npt.NDArray[np.int64] | None = None,
    n_atoms: Array | None = None,
) -> SpreadScores:
    """Judge standard deviations by errors.

    Args:
        errors: (n,) predicted − reference.
        sigmas: (n,) same unit.
        structure: (n,) which structure a value belongs to.
        unit: of both.
        half_widths: in σ, of the interval for each coverage; by default a normal distribution's.
        atom: (n,) which atom of all a value belongs to, of forces.
        n_atoms: (n,) atoms of the structure, of energies.
    """
    likelihood = metrics.negative_log_likelihood(errors, sigmas).mean()
    found = metrics.coverages(errors, sigmas, half_widths or metrics.normal_half_widths())
    by_atom = None
    if atom is not None:
        by_atom = metrics.rank_correlation(*_grouped(errors, sigmas, atom))
    elif n_atoms is not None:
        by_atom = metrics.rank_correlation(errors / n_atoms, sigmas / n_atoms)
    return SpreadScores(
        n_values=len(errors),
        n_structures=len(np.unique(structure)),
        unit=unit,
        rmse=float(np.sqrt(np.square(errors).mean())),
        sharpness=metrics.sharpness(sigmas),
        crps=float(metrics.gaussian_crps(errors, sigmas).mean()),
        nll=float(likelihood) if np.isfinite(likelihood) else None,
        coverage={f"{100 * level:g}": share for level, share in found.items()},
        miscalibration_area=metrics.miscalibration_area(errors, sigmas),
        overconfidence=metrics.overconfidence(errors, sigmas),
        ence=metrics.expected_normalized_calibration_error(errors, sigmas),
        rank_correlation=metrics.rank_correlation(errors, sigmas),
        rank_correlation_expected=metrics.expected_rank_correlation(sigmas),
        rank_correlation_atoms=by_atom,
        rank_correlation_structures=metrics.rank_correlation(*_grouped(errors, sigmas, structure)),
    )


def _grouped(errors: Array, sigmas: Array, group: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    return metrics.grouped_root_mean_squares(errors, group), metrics.grouped_root_mean_squares(sigmas, group)
