"""How uncertain a model is of many structures, kept on disk as it is found, so that a kill costs one batch."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from adiabat.campaigns.force_spreads import BATCH, force_spreads
from adiabat.data.structure import Structure
from adiabat.simulation.calculator import largest_force_uncertainty
from adiabat.uncertainty.interface import UncertainModel


class Judgement:
    """Largest standard deviations of an atom's force [eV/Å], by structure.

    Args:
        model: judges.
        path: a text file with a line for each structure; what it holds already is not computed again.
    """

    def __init__(self, model: UncertainModel, path: Path) -> None:
        self.model, self.path = model, path
        self._known = dict(_read(path))

    def of(self, structures: Sequence[Structure]) -> list[float]:
        """One number for each structure.

        Raises:
            ModelError: the model gives no uncertainty of forces.
        """
        hashes = [structure.content_hash for structure in structures]
        missing = {key: one for key, one in zip(hashes, structures, strict=True) if key not in self._known}
        keys = list(missing)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            for first in range(0, len(keys), BATCH):
                batch = keys[first : first + BATCH]
                for key, value in zip(batch, self._judge([missing[key] for key in batch]), strict=True):
                    self._known[key] = value
                    file.write(json.dumps({"structure": key, "uncertainty": value}) + "\n")
                file.flush()
        return [self._known[key] for key in hashes]

    def _judge(self, structures: Sequence[Structure]) -> list[float]:
        return [largest_force_uncertainty(spread.numpy()) for spread in force_spreads(self.model, structures)]


def _read(path: Path) -> Iterator[tuple[str, float]]:
    """Complete lines; what a kill left half written is cut off."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("rb+") as file:
            file.truncate(len(whole))
    for line in whole.splitlines():
        entry = json.loads(line)
        yield entry["structure"], entry["uncertainty"]
