"""Which training frames a prediction rests on: how far it would move if one of them had not been there.

Leaving frame b out of a fit that is linear in its weights moves them by −C Φ_bᵀ V_b⁻¹ e_b, exactly, so that a
prediction Φ_t w moves by Φ_t times that. In a network this holds for the last layer, with all others kept.

Source: [cook1982]; [koh2017] for networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adiabat.campaigns.curation.label_rows import label_rows
from adiabat.campaigns.curation.linear_fit import fit_labels
from adiabat.core.errors import LabelError
from adiabat.data.record import Record
from adiabat.models.model import Model

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Influence:
    """What each training frame does to the prediction of one frame.

    Attributes:
        energy: (n_frames,) change of the energy if the frame were left out, in eV.
        forces: (n_frames,) root mean square change of the forces, in eV/Å.
        ranking: training frames by their influence on the forces (on the energy without forces), the largest first.
    """

    energy: FloatArray
    forces: FloatArray
    ranking: tuple[int, ...]


def influence_on(
    records: Sequence[Record], target: Record, model: Model | None = None, *, cutoff: float = 5.0
) -> Influence:
    """Influence of every training frame on the prediction of one.

    Args:
        records: training frames.
        target: the frame whose prediction is asked about; its labels are not used, but must be of the same kinds.
        model: trained on these frames; its last layer is refitted. Without one, the linear family's features are used.
        cutoff: radius in Å of the linear family's features.

    Raises:
        LabelError: fewer than two training frames, or a frame without energy and forces.
    """
    if len(records) < 2:
        raise LabelError(
            f"{len(records)} training frames",
            expected="two or more, one of which can be left out",
            suggestion="give the store that the model was trained on",
        )
    *frames, asked = label_rows([*records, target], model, cutoff=cutoff)
    fit = fit_labels(frames)
    moves = np.stack([asked.rows @ (fit.weights_without(index) - fit.weights) for index in range(len(frames))])
    energy = moves[:, 0] if asked.n_energies else np.full(len(frames), np.nan)
    of_forces = moves[:, asked.forces]
    has_forces = bool(of_forces.shape[1])
    forces = np.sqrt((of_forces**2).mean(axis=1)) if has_forces else np.full(len(frames), np.nan)
    ranking = np.argsort(-(forces if has_forces else np.abs(energy)), kind="stable")
    return Influence(energy, forces, tuple(ranking.tolist()))
