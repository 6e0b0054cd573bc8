"""Find labels that are wrong: frames whose labels the others, together, do not believe.

Each frame is predicted from a Bayesian linear fit to the others. Its residuals, in units of their own predicted spread,
make two scores: |z| of the energy, and the root mean square z of the forces. A surface is no linear model, so scores
are compared with those of the other frames, by their median and width, and with a Student distribution of heavy tails
in the place of a normal one. Frames are flagged at a false-discovery rate, the fit is made again without them, and so
on until nothing changes: wrong labels then no longer hide each other.

Source: [cook1982] for studentised residuals; [benjamini1995].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from adiabat.campaigns.curation.label_rows import label_rows
from adiabat.campaigns.curation.linear_fit import SIGMA_OF_MAD, LinearFit, fit_labels
from adiabat.core.errors import LabelError
from adiabat.data.record import Record
from adiabat.models.model import Model

FloatArray = npt.NDArray[np.float64]

_FEWEST: Final = 12
"""Frames below which there is no middle to compare with."""
_ROUNDS: Final = 5
_DEGREES: Final = 4
"""Of the Student distribution that the scores of good frames are held to follow: heavy tails."""
_QUARTILE: Final = 0.6745
"""Upper quartile of a normal distribution."""


@dataclass(frozen=True, eq=False)
class LabelNoise:
    """Scores of all frames and those that are suspected.

    Attributes:
        energy: (n_frames,) |z| of each energy over its median times 0.67; NaN without an energy.
        forces: (n_frames,) root mean square z of each frame's forces over its median; NaN without forces.
        energy_suspects: frames whose energies are suspected, the worst first.
        force_suspects: frames whose forces are suspected, the worst first.
        energy_off: (n_frames,) eV by which each energy is off from what the others say.
        forces_off: (n_frames,) eV/Å, root mean square.
        rate: share of the suspects, of each kind, that is expected to be good, at most.
    """

    energy: FloatArray
    forces: FloatArray
    energy_suspects: tuple[int, ...]
    force_suspects: tuple[int, ...]
    energy_off: FloatArray
    forces_off: FloatArray
    rate: float

    @property
    def suspects(self) -> list[int]:
        """All suspected frames, ascending."""
        return sorted({*self.energy_suspects, *self.force_suspects})


def find_label_noise(
    records: Sequence[Record], model: Model | None = None, *, rate: float = 0.05, cutoff: float = 5.0
) -> LabelNoise:
    """Name frames whose energies or forces do not agree with the rest of the data set.

    Args:
        records: frames of one level of theory.
        model: a trained model, in whose last layer the fit is made; without one, the linear family's features are
            taken. A model that was trained on wrong labels has learned part of them, so that without is the safer way.
        rate: false-discovery rate.
        cutoff: radius in Å of the linear family's features.

    Raises:
        LabelError: too few frames, or one without energy and forces.
    """
    if len(records) < _FEWEST:
        raise LabelError(
            f"{len(records)} frames", expected=f"{_FEWEST} or more, to tell the odd from the usual",
            suggestion="label more frames, or compare with a second calculation of the same frames",
        )  # fmt: skip
    frames = label_rows(records, model, cutoff=cutoff)
    used = np.ones(len(frames), dtype=bool)
    found = _judge(fit_labels(frames, used), rate)
    for _ in range(_ROUNDS):
        kept = np.ones(len(frames), dtype=bool)
        kept[found.suspects] = False
        if (kept == used).all() or kept.sum() < _FEWEST // 2:
            break
        used = kept
        found = _judge(fit_labels(frames, used), rate)
    return found


def _judge(fit: LinearFit, rate: float) -> LabelNoise:
    n = len(fit.frames)
    energy, forces, energy_off, forces_off = (np.full(n, np.nan) for _ in range(4))
    for index, frame in enumerate(fit.frames):
        residual, covariance = fit.left_out(index)
        z = residual / np.sqrt(np.diag(covariance))
        if frame.n_energies:
            energy[index], energy_off[index] = abs(z[0]), residual[0]
        if len(frame.values) > frame.n_energies:
            forces[index] = np.sqrt(np.mean(z[frame.forces] ** 2))
            forces_off[index] = np.sqrt(np.mean(residual[frame.forces] ** 2))
    energy /= max(SIGMA_OF_MAD * _median(energy), 1e-300)
    forces /= max(_median(forces), 1e-300)
    return LabelNoise(
        energy=energy,
        forces=forces,
        energy_suspects=_discoveries(2 * stats.t.sf(energy, _DEGREES), energy, rate),
        force_suspects=_discoveries(_upper_tail(forces), forces, rate),
        energy_off=energy_off,
        forces_off=forces_off,
        rate=rate,
    )


def _upper_tail(scores: FloatArray) -> FloatArray:
    """Probability of a larger score, under a heavy-tailed law with the median and upper quartile of all scores.

    A quarter of the frames may be wrong before they shift the quartile to themselves.
    """
    if not np.isfinite(scores).any():
        return scores
    middle, upper = np.nanquantile(scores, [0.5, 0.75])
    return stats.t.sf((scores - middle) / max((upper - middle) / _QUARTILE, 1e-12), _DEGREES)


def _discoveries(p_values: FloatArray, scores: FloatArray, rate: float) -> tuple[int, ...]:
    """Benjamini and Hochberg's choice, the highest score first."""
    tested = np.flatnonzero(np.isfinite(p_values))
    order = tested[np.argsort(p_values[tested])]
    passed = p_values[order] <= rate * np.arange(1, len(order) + 1) / max(len(order), 1)
    n_found = int(passed.nonzero()[0].max()) + 1 if passed.any() else 0
    found = order[:n_found]
    return tuple(found[np.argsort(-scores[found], kind="stable")].tolist())


def _median(values: FloatArray) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else 1.0
