"""Uncertain models whose answers can be written down: committees of known models."""

from collections.abc import Sequence

import torch

from adiabat.models.model import Prediction
from adiabat.uncertainty.interface import Spread, UncertainModel, UncertainPrediction
from known_models import EPSILON, LennardJones


class Committee(UncertainModel):
    """Mean and standard deviation over any models with the interface of ``adiabat.models.model.Model``."""

    method = "ensemble"

    def __init__(self, members: Sequence) -> None:
        self._members = list(members)

    @property
    def model(self):
        return self._members[0]

    @property
    def members(self):
        return self._members

    def predict(self, graph, outputs) -> UncertainPrediction:
        with torch.no_grad():
            found = [member(graph, outputs) for member in self._members]
        fields = [name for name in ("energy", "forces", "stress") if getattr(found[0], name) is not None]
        stacked = {name: torch.stack([getattr(one, name) for one in found]) for name in fields}
        mean = Prediction(**{name: values.mean(dim=0) for name, values in stacked.items()})
        return UncertainPrediction(mean, Spread(**{name: values.std(dim=0) for name, values in stacked.items()}))


def argon_committee(relative_depths: Sequence[float] = (0.95, 1.0, 1.05), sigmas: Sequence[float] = ()) -> Committee:
    """Lennard-Jones members with well depths ε · factor and, where given, radii of their own."""
    members = []
    for index, factor in enumerate(relative_depths):
        member = LennardJones()
        member.epsilon.data.fill_(EPSILON * factor)
        if sigmas:
            member.sigma = sigmas[index]
        members.append(member)
    return Committee(members)
