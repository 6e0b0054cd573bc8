"""What every saved result of a peer says beside its errors: machine, versions, commit."""

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any


def processor() -> str:
    """The processor's own name where Linux tells it."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def circumstances(packages: tuple[str, ...]) -> dict[str, Any]:
    """Machine, versions of ``packages`` and the commit of this repository."""
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return {
        "machine": {"processor": processor(), "n_cores": os.cpu_count(), "system": platform.system()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "commit": commit.stdout.strip(),
    }


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Save as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(path)
