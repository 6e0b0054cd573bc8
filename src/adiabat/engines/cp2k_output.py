"""What CP2K's output says, in its own units."""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import EngineError

Array = npt.NDArray[np.float64]

_ENERGY: Final = re.compile(r"^ ENERGY\| Total FORCE_EVAL \( \S+ \) energy \[a\.u\.\]: +(\S+)$", re.M)
_FERMI: Final = re.compile(r"^ +Fermi energy: +(\S+)$", re.M)
_CONVERGED: Final = re.compile(r"^ +\*\*\* SCF run converged in +(\d+) steps", re.M)
_NOT_CONVERGED: Final = re.compile(r"SCF run NOT converged", re.I)
_STEP: Final = re.compile(r"^ +\d+ \S+?/Diag\. *\S+ +\S+ +(\S+) +\S+ +\S+$", re.M)
_FORCES: Final = re.compile(r"^ ATOMIC FORCES in \[a\.u\.\]\n\n *# Atom.*\n((?: +\d+ +\d+ +[A-Z].*\n)+)", re.M)
_STRESS: Final = re.compile(r"^ STRESS\| Analytical stress tensor \[GPa\]\n.*\n((?: STRESS\| +[xyz] .*\n){3})", re.M)
_KIND: Final = re.compile(r"^ +\d+\. Atomic kind: (\S+) +Number of atoms:", re.M)
_SHELL: Final = re.compile(r"^ +(\d+) +(\d+) +\d([spdfg])\S* +-?\d+\.\d+ +-?\d+\.\d+$", re.M)
_ELECTRONS: Final = re.compile(r"^ Number of electrons: +(\d+)$", re.M)
_NUMBER: Final = re.compile(r"[-+]?\d+\.\d+(?:[EeDd][-+]?\d+)?")


@dataclass(frozen=True)
class ScfState:
    """How the SCF ended.

    Attributes:
        converged: whether CP2K says that it converged.
        residual: last change that it measures convergence by; NaN if it got no step done.
    """

    converged: bool
    residual: float


def scf_state(text: str) -> ScfState:
    """How the SCF ended; a run of which CP2K says nothing did not converge."""
    steps = _STEP.findall(text)
    converged = bool(_CONVERGED.search(text)) and not _NOT_CONVERGED.search(text)
    return ScfState(converged, float(steps[-1]) if steps else float("nan"))


def abort_message(text: str) -> str | None:
    """What CP2K says in the box in which it gives up; None if it did not."""
    boxes = re.findall(r"^ \*{70,}\n((?: \*.*\*\n)+) \*{70,}$", text, re.M)
    for box in boxes:
        if "[ABORT]" not in box and "\\___/" not in box:
            continue
        # The art of the box is at most 15 columns wide, and the place in CP2K's source stands in its last line.
        words = [line[2:-1][15:].strip() for line in box.splitlines()]
        said = " ".join(word for word in words if word)
        return re.sub(r"\s+\S+\.F:\d+$", "", said).strip() or "no reason"
    return None


def printed_shells(text: str) -> dict[str, tuple[int, ...]]:
    """Angular momenta of the shells of each kind of atom, in CP2K's order."""
    parts = _KIND.split(text)[1:]
    shells: dict[str, tuple[int, ...]] = {}
    for kind, part in zip(parts[::2], parts[1::2], strict=True):
        rows = dict.fromkeys((int(a), int(b), letter) for a, b, letter in _SHELL.findall(part))
        shells[kind] = tuple("spdfg".index(letter) for _set, _shell, letter in rows)
    return shells


def printed_electrons(text: str) -> int:
    """Electrons that CP2K counts, of both spins."""
    before_scf = text.split(" SCF WAVEFUNCTION OPTIMIZATION")[0]
    return sum(int(count) for count in _ELECTRONS.findall(before_scf))


def energy(text: str) -> float:
    """Total energy [Ha]; with smearing the free energy, whose derivative the forces are.

    Raises:
        EngineError: the output has none.
    """
    found = _ENERGY.findall(text)
    if not found:
        raise _missing("total energy")
    return float(found[-1])


def fermi_level(text: str) -> float | None:
    """Fermi level [Ha], which CP2K prints with smearing only."""
    found = _FERMI.findall(text)
    return float(found[-1]) if found else None


def forces(text: str, n_atoms: int) -> Array:
    """(n_atoms, 3) forces [Ha/Bohr].

    Raises:
        EngineError: the output has none, or of another number of atoms.
    """
    found = _FORCES.findall(text)
    rows = [_NUMBER.findall(line) for line in found[-1].splitlines()] if found else []
    if len(rows) != n_atoms or any(len(row) != 3 for row in rows):
        raise _missing(f"forces on {n_atoms} atoms")
    return np.array(rows, dtype=np.float64)


def stress(text: str) -> Array:
    """(3, 3) stress [GPa] with CP2K's sign, positive under compression.

    Raises:
        EngineError: the output has none.
    """
    found = _STRESS.findall(text)
    rows = [_NUMBER.findall(line) for line in found[-1].splitlines()] if found else []
    if len(rows) != 3 or any(len(row) != 3 for row in rows):
        raise _missing("stress")
    return np.array(rows, dtype=np.float64)


def _missing(what: str) -> EngineError:
    return EngineError(
        f"an output of CP2K without {what}",
        expected="the output of a complete run of version 2023.1 or one that prints alike",
        suggestion="run CP2K on this structure alone; if it does print it, report its version to us",
    )
