"""What a calculation will need, said before it starts, and refused where the machine has less."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from adiabat.core.errors import ElectronicError

_RESERVE: Final = 0.9
"""Share of the free memory that one calculation may take."""

_CGROUP: Final = Path("/sys/fs/cgroup")
_UNLIMITED: Final = 2**60


@dataclass(frozen=True)
class Estimate:
    """Memory and work of a calculation.

    Attributes:
        task: what it is, in words.
        n_bytes: at the peak, on top of what is held already.
        n_flops: multiplications and additions.
        seconds: at the speed that this machine's dense products have, a guess good to a factor of two or three.
    """

    task: str
    n_bytes: int
    n_flops: float
    seconds: float

    def __str__(self) -> str:
        """One line."""
        return f"{self.task}: about {gigabytes(self.n_bytes)} of memory and {self.seconds:.3g} s"

    def require(self, memory_limit: int | None = None) -> None:
        """Refuse to start what cannot fit.

        Args:
            memory_limit: bytes; the free memory of the machine or its control group if not given.

        Raises:
            ElectronicError: it needs more.
        """
        limit = available_memory() if memory_limit is None else memory_limit
        if self.n_bytes > limit:
            raise ElectronicError(
                f"{self.task}, which needs about {gigabytes(self.n_bytes)} of memory",
                expected=f"at most {gigabytes(limit)}, " + ("the limit given" if memory_limit else "what is free"),
                suggestion="take fewer atoms, vectors or states at a time, or a machine with more memory",
            )


def available_memory() -> int:
    """Bytes that a calculation may still take: free memory, or what the control group leaves if that is less."""
    free = _meminfo_available()
    for maximum, current in (
        (_CGROUP / "memory.max", _CGROUP / "memory.current"),
        (_CGROUP / "memory" / "memory.limit_in_bytes", _CGROUP / "memory" / "memory.usage_in_bytes"),
    ):
        limit, used = _number(maximum), _number(current)
        if limit is not None and used is not None and limit < _UNLIMITED:
            free = min(free, max(0, limit - used))
    return int(_RESERVE * free)


def dense_rate(dtype: torch.dtype) -> float:
    """Operations a second of a dense product on this machine, now, with the threads that are set."""
    a = torch.ones(384, 384, dtype=dtype)
    _ = a @ a
    start = time.perf_counter()
    for _ in range(4):
        _ = a @ a
    return 4 * 2 * 384**3 * (4 if dtype.is_complex else 1) / max(time.perf_counter() - start, 1e-9)


def gigabytes(n_bytes: float) -> str:
    """As 1.23 GB."""
    return f"{n_bytes / 1e9:.3g} GB"


def _meminfo_available() -> int:
    path = Path("/proc/meminfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    # Systems without /proc say only how much memory there is.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _number(path: Path) -> int | None:
    if not path.exists():
        return None
    text = path.read_text().strip()
    return int(text) if text.isdigit() else None
