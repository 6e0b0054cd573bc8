"""What a worker does for a stage of a round: explore, choose, train a member, put the members together and test.

A stage reads files, writes one JSON file when it is done, and goes on where it was stopped when it is called again.
"""

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from adiabat.campaigns.active import round_model
from adiabat.campaigns.active.config import SelectionConfig, UncertaintyConfig
from adiabat.campaigns.active.disk import disk_full, is_full
from adiabat.campaigns.active.files import CampaignFiles
from adiabat.campaigns.active.label_task import Outcome, unseen
from adiabat.campaigns.active.spool import Spool, worker_name
from adiabat.campaigns.active.structures import decode_structure, encode_structure
from adiabat.campaigns.exploration.candidate import Candidate
from adiabat.campaigns.exploration.config import ExploreConfig
from adiabat.campaigns.exploration.explore import explore
from adiabat.campaigns.selection.selector import select
from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import AdiabatError
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.models.package import inspect_model
from adiabat.training.config import DataConfig, TrainConfig
from adiabat.training.run_files import RunFiles
from adiabat.training.trainer import Trainer
from adiabat.uncertainty.package import load_any_model


@dataclass(frozen=True)
class StageTask:
    """A stage as it travels to a worker.

    Attributes:
        directory: the campaign's, on a file system that the worker shares.
        campaign: its id.
        round: number.
        name: of the stage's result.
        function: key of :data:`STAGES`.
        arguments: plain JSON values.
    """

    directory: str
    campaign: str
    round: int
    name: str
    function: str
    arguments: Mapping[str, Any]


def run_stage(task: StageTask) -> Outcome:
    """Do a stage, unless its result is there already; no two workers do one at the same time."""
    spool = Spool(Path(task.directory))
    if not spool.belongs_to(task.campaign):
        return Outcome.of("no-directory", unseen(task.directory))
    files = CampaignFiles(Path(task.directory))
    result = files.result(task.round, task.name)
    try:
        with spool.job(f"round-{task.round}-{task.name}"):
            if result.exists():
                return Outcome("spooled")
            files.round(task.round).mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            answer = STAGES[task.function](files, task.round, **task.arguments)
            if answer is None:
                return Outcome("interrupted")
            answer = {**answer, "worker": worker_name(), "seconds": time.monotonic() - started}
            write_atomically(result, json.dumps(answer).encode())
            return Outcome("spooled")
    except AdiabatError as error:
        return Outcome.of("failed", error)
    except OSError as error:
        if not is_full(error):
            raise
        return Outcome.of("disk-full", disk_full(f"{files.round(task.round)} on {worker_name()}", str(error)))


def explore_stage(files: CampaignFiles, number: int, *, config: Mapping[str, Any], seed: int) -> dict[str, Any] | None:
    """Candidates by the model of the round before."""
    starts = _read_candidates(files.result(0, "explore"))
    model = load_any_model(files.round_model(number - 1))
    with (files.round(number) / "explore.log").open("a", encoding="utf-8") as log:
        try:
            candidates = explore(
                model,
                [start.structure for start in starts],
                ExploreConfig.model_validate(config),
                files.round(number) / "exploration",
                seed=seed,
                console=Console(file=log, width=120),
            )
        except KeyboardInterrupt:
            return None
    return {"candidates": write_candidates(candidates)}


def select_stage(files: CampaignFiles, number: int, *, config: Mapping[str, Any], n: int, seed: int) -> dict[str, Any]:
    """The candidates that are to be labelled, the most wanted first."""
    settings = SelectionConfig.model_validate(config)
    candidates = _read_candidates(files.result(number, "explore"))
    labelled = [structure for path in (files.train_store, files.test_store) for structure in _structures(path)]
    known = {structure.content_hash for structure in labelled}
    fresh = [index for index, item in enumerate(candidates) if item.structure.content_hash not in known]
    found = [candidates[index].uncertainty for index in fresh]
    uncertainties = [value for value in found if value is not None]
    chosen = select(
        [candidates[index].structure for index in fresh],
        labelled,
        settings.choose,
        min(n, len(fresh)),
        uncertainties=uncertainties if len(uncertainties) == len(found) and found else None,
        model=load_any_model(files.round_model(number - 1)) if number else None,
        seed=seed,
    )
    return {"chosen": [fresh[index] for index in chosen]}


def train_stage(files: CampaignFiles, number: int, *, config: Mapping[str, Any], member: int) -> dict[str, Any] | None:
    """One training run, from its checkpoint if there is one."""
    run = RunFiles(files.run(number, member))
    run.directory.mkdir(parents=True, exist_ok=True)
    with (run.directory / "log.txt").open("a", encoding="utf-8") as log:
        trainer = Trainer(TrainConfig.model_validate(config), run.directory, console=Console(file=log, width=120))
        result = trainer.fit(resume=run.checkpoint.exists())
    if result.interrupted:
        return None
    return {
        "member": member,
        "path": str(run.model.relative_to(files.directory)),
        "content_hash": inspect_model(run.model)["content_hash"],
        "training_seconds": 60 * result.minutes,
        "steps": result.step,
        "validation": dict(result.validation or {}),
    }


def test_stage(
    files: CampaignFiles, number: int, *, uncertainty: Mapping[str, Any], data: Mapping[str, Any]
) -> dict[str, Any]:
    """The round's model put together from its members, and its errors on the test set if there is one."""
    settings = UncertaintyConfig.model_validate(uncertainty)
    round_model.assemble(files, number, settings, DataConfig.model_validate(data))
    if not _structures(files.test_store):
        return {}
    return round_model.test(files, number)


Stage = Callable[..., dict[str, Any] | None]

STAGES: Final[Mapping[str, Stage]] = {
    "explore": explore_stage,
    "select": select_stage,
    "train": train_stage,
    "test": test_stage,
}
"""By the word in a task."""


def write_candidates(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """As plain JSON values."""
    return [
        {
            "structure": base64.b64encode(encode_structure(item.structure)).decode(),
            "source": item.source,
            "uncertainty": item.uncertainty,
            "details": dict(item.details),
        }
        for item in candidates
    ]


def read_candidates(values: Sequence[Mapping[str, Any]]) -> list[Candidate]:
    """Inverse of :func:`write_candidates`."""
    return [
        Candidate(
            decode_structure(base64.b64decode(item["structure"])), item["source"], item["uncertainty"], item["details"]
        )
        for item in values
    ]


def _read_candidates(path: Path) -> list[Candidate]:
    return read_candidates(json.loads(path.read_text())["candidates"])


def _structures(path: Path) -> list[Structure]:
    if not path.exists():
        return []
    with DatasetStore.open(path) as store:
        return [record.structure for record in store]
