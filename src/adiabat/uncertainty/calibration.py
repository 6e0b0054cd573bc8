"""Making a spread a standard deviation: what a model's own σ must be multiplied by, learned from held-out errors.

σ² = a² s² + b²   by maximum likelihood (``scaling``), or σ = q s with a quantile of |error|/s (``conformal``)

where s is the raw spread of a method and σ what a user is given. Nothing here makes a poor ranking better: a and q are
one number a target.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

import torch
from pydantic import Field
from scipy.stats import norm
from torch import Tensor

from adiabat.core.errors import ConfigError
from adiabat.data.graph import Graph
from adiabat.models.config import FrozenConfig
from adiabat.models.operator_layout import OperatorBlocks
from adiabat.uncertainty.spread import Spread

CalibrationMethod = Literal["none", "scaling", "conformal"]
Target = Literal["energy", "forces", "stress", "hamiltonian"]

TARGETS: Final[tuple[Target, ...]] = ("energy", "forces", "stress", "hamiltonian")

ONE_SIGMA: Final = 0.6827
"""Share of a normal distribution within one standard deviation; the level whose conformal factor makes σ."""


class TargetCalibration(FrozenConfig):
    """How the raw spread of one target becomes a standard deviation."""

    method: CalibrationMethod = "none"
    scale: float = Field(default=1.0, gt=0, description="a, or the conformal factor at 68.27 %")
    floor: float = Field(
        default=0.0, ge=0, description="b in the target's unit; of energies in eV an atom, added in squares"
    )
    factors: tuple[tuple[float, float], ...] = Field(
        default=(), description="conformal: (level, |error|/s that covers it)"
    )
    n_frames: int = Field(default=0, ge=0, description="held-out structures it was fitted to")
    n_values: int = Field(default=0, ge=0, description="numbers it was fitted to")

    def sigma(self, spread: Tensor, n_atoms: Tensor | float = 1.0) -> Tensor:
        """√(a² s² + n b²).

        Args:
            spread: raw s.
            n_atoms: for a total energy, of how many atoms: the floor is an independent error of each.
        """
        if not self.floor:
            return self.scale * spread
        return ((self.scale * spread) ** 2 + self.floor**2 * n_atoms).sqrt()

    def half_width(self, level: float) -> float:
        """In units of σ, how far either side of the mean holds the truth with probability ``level``.

        Raises:
            ConfigError: a level outside (0, 1), or one that a conformal calibration was not made for.
        """
        if not 0 < level < 1:
            raise ConfigError(f"a coverage of {level:g}", expected="between 0 and 1", suggestion="for instance 0.9")
        if self.method != "conformal":
            return float(norm.ppf(0.5 + level / 2))
        factors = dict(self.factors)
        if level not in factors:
            raise ConfigError(
                f"a coverage of {level:g} from a conformal calibration",
                expected=f"one it was made for: {', '.join(f'{known:g}' for known in sorted(factors))}",
                suggestion="calibrate again with that level, or use scaling, which takes errors to be normal",
            )
        return factors[level] / self.scale


class Calibration(FrozenConfig):
    """The calibration of every target, as plain JSON; a target without one is left as it is."""

    energy: TargetCalibration = TargetCalibration()
    forces: TargetCalibration = TargetCalibration()
    stress: TargetCalibration = TargetCalibration()
    hamiltonian: TargetCalibration = TargetCalibration()
    data: dict[str, Any] = Field(default={}, description="which structures it was fitted to")

    def of(self, target: Target) -> TargetCalibration:
        """The calibration of one target."""
        return getattr(self, target)

    def apply(self, spread: Spread, graph: Graph) -> Spread:
        """Standard deviations from raw spreads.

        Args:
            spread: as a method gives it.
            graph: the batch, for the number of atoms of each structure.

        Atomic energies have no labels: they get the energy's scale and, each, its floor.
        """
        n_atoms = torch.bincount(graph.structure_index, minlength=graph.n_structures)
        hamiltonian = spread.hamiltonian
        return Spread(
            energy=None if spread.energy is None else self.energy.sigma(spread.energy, n_atoms),
            atomic_energies=None if spread.atomic_energies is None else self.energy.sigma(spread.atomic_energies),
            forces=None if spread.forces is None else self.forces.sigma(spread.forces),
            stress=None if spread.stress is None else self.stress.sigma(spread.stress),
            hamiltonian=None if hamiltonian is None else self._blocks(hamiltonian),
        )

    def _blocks(self, spread: OperatorBlocks) -> OperatorBlocks:
        """The floor is not given to padding, where there is no orbital and the spread is zero."""
        parts = (
            torch.where(part > 0, self.hamiltonian.sigma(part), torch.zeros_like(part))
            for part in (spread.onsite, spread.pair)
        )
        return OperatorBlocks(*parts)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_json`."""
        return cls.model_validate(data)
