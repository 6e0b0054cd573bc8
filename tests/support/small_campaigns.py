"""Small campaigns: shaken copper cells, an engine that keeps a log of its calls, a model trained for a few steps.

Imported by a worker (``preload``), this registers the engines ``counted`` and ``troubled`` there.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import ase.io
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

from adiabat.campaigns.active.config import CampaignConfig
from adiabat.core.errors import EngineError, ScfNotConvergedError, StructureError
from adiabat.data.record import Labels, Provenance
from adiabat.data.structure import Structure
from adiabat.engines import registry
from adiabat.engines.ase_calculator import AseEngine
from adiabat.engines.base import Engine


def _emt() -> AseEngine:
    """A new one each time: EMT keeps its neighbor list, and the order of its sums with it, from call to call."""
    return AseEngine(EMT(), method="EMT")


@dataclass(frozen=True)
class CountedEngine(Engine):
    """EMT that notes each call in a file when it begins and when it is computed, and takes its time.

    Attributes:
        log: the file.
        seconds: least time of a call.
        noise: random error of each energy [eV], so that two labels disagree.
        trouble: what becomes of a structure, by the last digits of a hash: ``scf``, ``refuse``, ``raise``, ``die``.
        help: settings under which ``scf`` converges.
    """

    name: ClassVar[str] = "counted"

    log: str = ""
    seconds: float = 0.0
    noise: float = 0.0
    trouble: Mapping[str, str] | None = None
    help: int = 0

    @property
    def available(self) -> frozenset[str]:
        return frozenset({"energy", "forces"})

    def provenance(self, structure: Structure) -> Provenance:
        return _emt().provenance(structure)

    def _compute(self, structure: Structure, targets: frozenset[str]) -> Labels:
        digest = structure.content_hash
        self._note(f"begin {digest} {os.getpid()}")
        kind = (self.trouble or {}).get(digest[:12])
        if kind == "die":
            os._exit(17)
        if kind == "raise":
            raise ZeroDivisionError("a fault of the engine")
        if kind == "refuse":
            raise StructureError("a structure", expected="another", suggestion="drop it")
        if kind == "broken" or (kind == "scf" and self.help < 2):
            raise ScfNotConvergedError("no convergence", expected="convergence", suggestion="help")
        time.sleep(self.seconds)
        labels = dict(_emt().label(structure, sorted(targets)).labels)
        if self.noise:
            labels["energy"] = labels["energy"] + self.noise * np.random.default_rng().standard_normal()
        self._note(f"end {digest} {os.getpid()}")
        return labels

    def _note(self, line: str) -> None:
        if self.log:
            with open(self.log, "a", encoding="utf-8") as file:
                file.write(line + "\n")


def _absent() -> Engine:
    if os.environ.get("HAS_ABSENT"):
        return _emt()
    raise EngineError("no program 'absent'", expected="it installed", suggestion="install it")


registry.ENGINES.update({"counted": CountedEngine, "absent": _absent})  # type: ignore[attr-defined]


def copper_cells(n: int, seed: int = 0, rms: float = 0.1) -> list[Structure]:
    """Shaken cubic cells of four atoms."""
    generator = np.random.default_rng(seed)
    cells = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(rms, rng=generator)
        cells.append(Structure.from_ase(atoms))
    return cells


def campaign_config(folder: Path, **sections: Any) -> CampaignConfig:
    """A campaign of three rounds with 6, 3 and 3 labels; sections are laid over it."""
    starts = folder / "starts.xyz"
    if not starts.exists():
        ase.io.write(starts, [structure.to_ase() for structure in copper_cells(8)])
    model = {"cutoff": 3.2, "channels": 4, "l_max": 1, "layers": 1, "order": 2, "n_bessel": 4, "hidden": 8}
    config: dict[str, Any] = {
        "name": "copper",
        "structures": str(starts),
        "initial": {"n": 6},
        "explore": {"sources": [{"kind": "displace", "n": 6, "rms": 0.2}]},
        "select": {"n": 3, "choose": {"method": "diversity"}},
        "label": {"engine": "counted", "options": {"log": str(folder / "calls.log")}},
        "train": {
            "model": model,
            "schedule": {"max_steps": 4, "warmup_steps": 1},
            "training": {"tensorboard": False, "checkpoint_interval": 2},
            "uncertainty": {"method": "none"},
        },
        "test": {"share": 0.25},
        "stop": {"max_rounds": 2},
    }
    return CampaignConfig.model_validate(_laid_over(config, sections))


def _laid_over(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in other.items():
        inner = merged.get(key)
        merged[key] = (
            _laid_over(inner, value)
            if isinstance(inner, Mapping) and isinstance(value, Mapping) and key not in ("options", "trouble")
            else value
        )
    return merged


def finished_calls(folder: Path) -> list[str]:
    """Hash of the structure of each engine call that computed a label, in order."""
    log = folder / "calls.log"
    return [line.split()[1] for line in log.read_text().splitlines() if line.startswith("end ")] if log.exists() else []
