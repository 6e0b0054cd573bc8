"""Candidates for labels, from a list of sources; the same for one seed, and taken up again where it was stopped."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from adiabat.campaigns.exploration.candidate import Candidate
from adiabat.campaigns.exploration.config import (
    NEEDS_MODEL,
    DisplaceSource,
    ExploreConfig,
    MdSource,
    NormalModesSource,
    Source,
    StrainSource,
)
from adiabat.campaigns.exploration.displacements import displaced, from_trajectory, strained
from adiabat.campaigns.exploration.draft import Draft, why_unphysical
from adiabat.campaigns.exploration.dynamics import from_dynamics
from adiabat.campaigns.exploration.judgement import Judgement
from adiabat.campaigns.exploration.modes import from_normal_modes
from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import ConfigError, StructureError
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.simulation.md import weights_hash
from adiabat.uncertainty.interface import UncertainModel, central_model

SUMMARY: Final = "summary.json"
"""How many candidates each source made, and how many were dropped for what."""

IDENTITY: Final = "identity.json"
"""What the folder was begun with; its trajectories mean nothing for anything else."""

UNCERTAINTIES: Final = "uncertainties.jsonl"


def explore(
    model: Model | UncertainModel | None,
    starts: Sequence[Structure],
    config: ExploreConfig,
    directory: str | Path,
    *,
    seed: int,
    console: Console | None = None,
) -> list[Candidate]:
    """Make candidates, drop what is not physical, and say how uncertain the model is of the rest.

    Args:
        model: moves atoms, and judges if it is an uncertain one; None for sources that need none.
        starts: sound structures to begin from, and to hold the bonds of candidates against.
        config: sources in order, and what is dropped.
        directory: for trajectories, normal modes and uncertainties. Called again with the same arguments, it goes on
            where it was stopped or killed, and gives the same.
        seed: fixes everything that is drawn.
        console: where dynamics show their progress.

    Returns: candidates, source by source; each geometry once, and none that is a start.

    Raises:
        ConfigError: a source that needs a model, or an uncertain one, without it; or a directory that was begun with
            another model, configuration, seed or other starts.
        StructureError: no start.
        KeyboardInterrupt: a signal asked dynamics to stop; all is saved.
    """
    if not starts:
        raise StructureError("no start", expected="one structure or more", suggestion="give the data set's structures")
    directory = Path(directory)
    _check(model, config)
    directory.mkdir(parents=True, exist_ok=True)
    _keep_to(directory / IDENTITY, _identity(model, starts, config, seed))
    seen = {start.content_hash for start in starts}
    kept: list[tuple[Draft, str]] = []
    counts: list[dict[str, Any]] = []
    for index, source in enumerate(config.sources):
        generator = np.random.default_rng([seed, index])
        place = directory / f"{index}-{source.kind}"
        tally: Counter[str] = Counter()
        for draft in _drafts(_Task(model, starts, place, generator, console), source):
            reason = _reason_to_drop(draft, config, seen)
            tally[reason or "kept"] += 1
            if reason is None:
                seen.add(draft.structure.content_hash)
                kept.append((draft, source.kind))
        counts.append({"source": source.kind, "made": tally.total(), **tally})
    write_atomically(directory / SUMMARY, (json.dumps({"sources": counts}, indent=2) + "\n").encode())
    uncertainties: Sequence[float | None] = [None] * len(kept)
    if isinstance(model, UncertainModel):
        uncertainties = Judgement(model, directory / UNCERTAINTIES).of([draft.structure for draft, _ in kept])
    return [
        Candidate(draft.structure, kind, uncertainty, dict(draft.details))
        for (draft, kind), uncertainty in zip(kept, uncertainties, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Task:
    model: Model | UncertainModel | None
    starts: Sequence[Structure]
    directory: Path
    generator: np.random.Generator
    console: Console | None


def _drafts(task: _Task, source: Source) -> Iterator[Draft]:
    if isinstance(source, DisplaceSource):
        return displaced(task.starts, source, task.generator)
    if isinstance(source, StrainSource):
        return strained(task.starts, source, task.generator)
    if isinstance(source, MdSource):
        assert task.model is not None
        return from_dynamics(task.model, task.starts, source, task.directory, task.generator, task.console)
    if isinstance(source, NormalModesSource):
        assert task.model is not None
        return from_normal_modes(central_model(task.model), task.starts, source, task.directory, task.generator)
    return from_trajectory(task.starts, source)


def _reason_to_drop(draft: Draft, config: ExploreConfig, seen: set[str]) -> str | None:
    if draft.structure.content_hash in seen:
        return "repeated"
    return why_unphysical(draft, config.limits, allow_reactions=config.allow_reactions)


def _check(model: Model | UncertainModel | None, config: ExploreConfig) -> None:
    for source in config.sources:
        if source.kind in NEEDS_MODEL and model is None:
            raise ConfigError(
                f"the source {source.kind!r} without a model",
                expected="a model that gives forces",
                suggestion="train one first, or begin with `displace`, `strain` or `trajectory`",
            )
        if isinstance(source, MdSource) and source.bias and not isinstance(model, UncertainModel):
            raise ConfigError(
                "a bias for molecular dynamics with a model that does not know its uncertainty",
                expected="an uncertain model",
                suggestion="make an ensemble or a posterior, or leave `bias` out",
            )


def _identity(
    model: Model | UncertainModel | None, starts: Sequence[Structure], config: ExploreConfig, seed: int
) -> dict[str, Any]:
    together = hashlib.sha256("".join(start.content_hash for start in starts).encode())
    return {
        "model": None if model is None else weights_hash(model),
        "starts": together.hexdigest(),
        "config": config.model_dump(mode="json"),
        "seed": seed,
    }


def _keep_to(path: Path, identity: dict[str, Any]) -> None:
    if not path.exists():
        write_atomically(path, (json.dumps(identity, indent=2) + "\n").encode())
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    different = [name for name, value in identity.items() if begun.get(name) != value]
    if different:
        raise ConfigError(
            f"another {' and another '.join(different)} than {path.parent} was begun with",
            expected="the same model, starts, configuration and seed: candidates are taken up where they were left",
            suggestion="choose another directory, or remove this one",
        )
