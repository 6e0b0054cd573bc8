"""The history of a run: ``metrics.jsonl``, and TensorBoard events where it is installed."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adiabat.core.atomic_file import write_atomically


class MetricsLog:
    """One JSON object a line: ``kind`` (train, validation or test), ``step``, ``epoch``, errors and times.

    Args:
        run_directory: where the files are.
        start_step: lines after this step are dropped; they are what a killed run wrote after its last checkpoint.
        tensorboard: also write TensorBoard events, if TensorBoard is installed.
    """

    def __init__(self, run_directory: Path, start_step: int, *, tensorboard: bool) -> None:
        path = run_directory / "metrics.jsonl"
        kept = [line for line in read_metrics(path) if line["step"] <= start_step] if start_step else []
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._file = path.open("a", encoding="utf-8")
        self._events = None
        if tensorboard and find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(run_directory / "tensorboard"), purge_step=start_step or None)

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Append one line."""
        self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._file.flush()
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._events is not None:
            self._events.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Every complete line of a ``metrics.jsonl``; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    # What follows the last line break is empty, or was cut short.
    return [json.loads(line) for line in lines[:-1]]
