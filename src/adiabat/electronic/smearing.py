"""How sharply states are filled around the Fermi level."""

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from adiabat.core.errors import ElectronicError, nearest

SmearingKind = Literal["none", "fermi-dirac", "gaussian", "methfessel-paxton", "cold"]
"""A step; the Fermi function; or a step smeared with a Gaussian, without or with corrections of higher order."""

_SQRT_PI: Final = math.sqrt(math.pi)


@dataclass(frozen=True)
class Smearing:
    """Occupation of a state as a function of its distance from the Fermi level.

    With x = (μ − ε)/width, the occupation is f(x), its slope δ(x) = f′(x), and −TS = width Σ e(x) with e′ = x δ.

    Attributes:
        kind: ``none`` fills states one by one from the lowest. ``methfessel-paxton`` is of first order, ``cold`` that
            of Marzari and Vanderbilt.
        width: σ [eV]; for ``fermi-dirac`` it is k_B T. Not used by ``none``.

    Raises:
        ElectronicError: an unknown kind, or a width that is not positive.

    Source: [methfessel1989], [marzari1999].
    """

    kind: SmearingKind = "none"
    width: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an unknown kind, and a width of zero."""
        kinds = get_args(SmearingKind)
        if self.kind not in kinds:
            raise ElectronicError(
                f"smearing {self.kind!r}", expected="a known kind", suggestion=nearest(str(self.kind), kinds)
            )
        if self.kind != "none" and not self.width > 0:
            raise ElectronicError(
                f"{self.kind} smearing with a width of {self.width:g} eV",
                expected="a positive width",
                suggestion="0.05 eV for most metals, or smearing 'none' for insulators",
            )

    def occupation(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """f(x), from 0 to 1 (a little beyond for ``methfessel-paxton`` and ``cold``)."""
        if self.kind == "none":
            return (x >= 0).to(torch.float64)
        if self.kind == "fermi-dirac":
            return torch.sigmoid(x)
        if self.kind == "cold":
            y = x - 1 / math.sqrt(2)
            return 0.5 * torch.special.erfc(-y) + torch.exp(-(y**2)) / math.sqrt(2 * math.pi)
        step = 0.5 * torch.special.erfc(-x)
        return step + x * torch.exp(-(x**2)) / (2 * _SQRT_PI) if self.kind == "methfessel-paxton" else step

    def delta(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """f′(x); zero for a step, which has no states at the Fermi level of an insulator."""
        if self.kind == "none":
            return torch.zeros_like(x)
        if self.kind == "fermi-dirac":
            return torch.sigmoid(x) * torch.sigmoid(-x)
        if self.kind == "cold":
            y = x - 1 / math.sqrt(2)
            return torch.exp(-(y**2)) * (1 - math.sqrt(2) * y) / _SQRT_PI
        gaussian = torch.exp(-(x**2)) / _SQRT_PI
        return gaussian * (1.5 - x**2) if self.kind == "methfessel-paxton" else gaussian

    def entropy(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """e(x), with −TS = width Σ e(x); zero far from the Fermi level."""
        if self.kind == "none":
            return torch.zeros_like(x)
        if self.kind == "fermi-dirac":
            f, g = torch.sigmoid(x), torch.sigmoid(-x)
            return torch.xlogy(f, f) + torch.xlogy(g, g)
        if self.kind == "cold":
            y = x - 1 / math.sqrt(2)
            return y * torch.exp(-(y**2)) / math.sqrt(2 * math.pi)
        gaussian = torch.exp(-(x**2)) / _SQRT_PI
        return gaussian * (x**2 / 2 - 0.25) if self.kind == "methfessel-paxton" else -gaussian / 2
