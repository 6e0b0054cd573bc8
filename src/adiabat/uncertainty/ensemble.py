"""Deep ensembles: models trained apart, whose differences say how far each may be off.

Members differ by their random weights, and by their data where each was trained on its own draw of it.
Source: [lakshminarayanan2017].
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch

from adiabat.core.errors import ModelError
from adiabat.data.graph import Graph
from adiabat.models.model import Model
from adiabat.uncertainty.interface import UncertainModel, UncertainPrediction
from adiabat.uncertainty.moments import moments


class DeepEnsemble(UncertainModel):
    """Several models as one; its prediction is their mean, its spread their standard deviation.

    Args:
        members: two models or more, which may differ in size, but not in cutoff, elements, heads and level of theory.

    Raises:
        ModelError: fewer than two members, or two that do not fit each other.
    """

    def __init__(self, members: Sequence[Model]) -> None:
        if len(members) < 2:
            raise ModelError(
                f"an ensemble of {len(members)}",
                expected="two members or more, between which there is a spread",
                suggestion="train again with another training.seed",
            )
        first = _what_members_share(members[0])
        for number, member in enumerate(members[1:], start=1):
            for name, found in _what_members_share(member).items():
                if found != first[name]:
                    raise ModelError(
                        f"an ensemble whose member {number} has {name} {found}",
                        expected=f"{first[name]}, as member 0 has",
                        suggestion="train all members from one configuration, with different seeds",
                    )
        self._members = tuple(member.eval() for member in members)

    @property
    def method(self) -> str:
        """``ensemble``."""
        return "ensemble"

    @property
    def model(self) -> Model:
        """The first member: for cutoff, elements and heads. Its prediction is not the mean."""
        return self._members[0]

    @property
    def members(self) -> Sequence[Model]:
        """The members."""
        return self._members

    def predict(self, graph: Graph, outputs: Collection[str]) -> UncertainPrediction:
        """Mean and spread over the members; the cost is theirs together."""
        with torch.no_grad():
            return moments([member(graph, outputs) for member in self._members])


def _what_members_share(model: Model) -> dict[str, Any]:
    """By the words that an error names them with."""
    return {
        "cutoff": model.cutoff,
        "elements": model.symbols,
        "an energy head": model.energy_head is not None,
        "an operator head": model.has_operator,
        "pair radius": model.pair_radius,
        "fidelities": model.config.fidelities,
        "a reference": model.reference,
    }
