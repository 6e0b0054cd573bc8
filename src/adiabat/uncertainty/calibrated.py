"""An uncertain model whose spreads are calibrated."""

from collections.abc import Collection, Sequence

from adiabat.data.graph import Graph
from adiabat.models.model import Model
from adiabat.uncertainty.calibration import Calibration
from adiabat.uncertainty.interface import UncertainModel, UncertainPrediction


class Calibrated(UncertainModel):
    """A method's spreads, each made a standard deviation by what was fitted to held-out errors.

    Members are those of the raw model: what is derived from them, such as a gap's spread, has the raw size.

    Args:
        raw: the model; if it is calibrated already, the new calibration takes the old one's place.
        calibration: of each target.
    """

    def __init__(self, raw: UncertainModel, calibration: Calibration) -> None:
        self._raw = raw.raw if isinstance(raw, Calibrated) else raw
        self._calibration = calibration
        self.out_of_distribution = self._raw.out_of_distribution

    @property
    def raw(self) -> UncertainModel:
        """The model without its calibration."""
        return self._raw

    @property
    def method(self) -> str:
        """That of the raw model."""
        return self._raw.method

    @property
    def model(self) -> Model:
        """That of the raw model."""
        return self._raw.model

    @property
    def members(self) -> Sequence[Model]:
        """Those of the raw model."""
        return self._raw.members

    @property
    def calibration(self) -> Calibration:
        """What the spreads are calibrated with."""
        return self._calibration

    def predict(self, graph: Graph, outputs: Collection[str]) -> UncertainPrediction:
        """The raw model's mean, and its spread calibrated."""
        found = self._raw.predict(graph, outputs)
        return UncertainPrediction(found.mean, self._calibration.apply(found.spread, graph))


def uncalibrated(model: UncertainModel) -> UncertainModel:
    """The model as its method gives it."""
    return model.raw if isinstance(model, Calibrated) else model
