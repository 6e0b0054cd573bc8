"""Chebyshev moments of a density of states: the result of the kernel polynomial method before it is drawn."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adiabat.electronic.chebyshev import Interval
from adiabat.electronic.kpm_settings import KpmSettings


@dataclass(frozen=True)
class ChebyshevMoments:
    """Moments Tr T_n((H̃ − centre)/half_width), one estimate of the trace from each random vector.

    Attributes:
        values: (n_channels, n_vectors, n_moments).
        spectrum: interval [eV] that is mapped to −1 … 1.
        max_occupation: electrons that one state holds.
        inverse_error: δ that was reached.
        settings: it was made with.
        projected: (n_channels, n_groups, n_vectors, n_moments) shares of groups of orbitals, if they were asked for.
    """

    values: npt.NDArray[np.float64]
    spectrum: Interval
    max_occupation: int
    inverse_error: float
    settings: KpmSettings
    projected: npt.NDArray[np.float64] | None = None

    @property
    def n_vectors(self) -> int:
        """Random vectors that were finished: fewer than asked for if the calculation was stopped."""
        return self.values.shape[1]

    @property
    def n_states(self) -> float:
        """States of all channels."""
        return float(self.values[:, :, 0].mean(axis=1).sum())
