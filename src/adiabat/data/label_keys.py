"""Which key of a file holds which label: found by name and shape, refused when two candidates disagree."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
from ase import Atoms

from adiabat.core.errors import LabelError, nearest
from adiabat.data.label_units import (
    DIPOLE_UNITS,
    ENERGY_UNITS,
    FORCES_UNITS,
    Array,
    LabelUnits,
    stress_convention,
    stress_to_ours,
)

Quantities = Mapping[str, Array]
"""Every numeric entry of a frame, by key."""


@dataclass(frozen=True)
class LabelKeys:
    """Key of each label in a file; None means: find it."""

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    charges: str | None = None
    dipole: str | None = None


LABELS: Final = tuple(asdict(LabelKeys()))

_WORDS: Final[dict[str, frozenset[str]]] = {
    "energy": frozenset({"energy", "toten", "etot"}),
    "forces": frozenset({"forces", "force", "gradient", "gradients"}),
    "stress": frozenset({"stress", "virial", "virials"}),
    "charges": frozenset({"charges", "charge"}),
    "dipole": frozenset({"dipole"}),
}
_OTHER_QUANTITY: Final = frozenset({
    "per", "atom", "atoms", "atomic", "formation", "atomization", "binding", "cohesive", "kinetic", "free", "mean",
    "hull", "std", "var", "uncertainty", "error", "weight", "pred", "predicted", "prediction", "initial", "unit",
    "cutoff", "dispersion", "unbiased",
})  # fmt: skip
"""A key with one of these words is not the label that its other words name, and must be asked for by name."""


def frame_quantities(atoms: Atoms) -> dict[str, Array]:
    """Everything numeric that a frame carries.

    ASE moves labels that it knows out of ``info`` and ``arrays`` into a calculator, and leaves those that it does not
    know; both are looked up here. A name that stands in two places appears as ``info:name`` or ``arrays:name`` too.
    """
    found: dict[str, Array] = {}
    results = atoms.calc.results if atoms.calc is not None else {}
    arrays = {key: value for key, value in atoms.arrays.items() if key not in ("numbers", "positions")}
    for prefix, source in (("calc", results), ("info", atoms.info), ("arrays", arrays)):
        for key, value in source.items():
            numbers = _as_numbers(value)
            if numbers is not None:
                found[f"{prefix}:{key}" if key in found else key] = numbers
    return found


def _as_numbers(value: object) -> Array | None:
    if isinstance(value, (bool, str)) or value is None:
        return None
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind in "iuf" else None


def candidates(label: str, quantities: Quantities, n_atoms: int) -> list[str]:
    """Keys that by name and shape may hold ``label``."""
    return [
        key
        for key, value in quantities.items()
        if _WORDS[label] & (words := _words(key)) and not words & _OTHER_QUANTITY and _fits(label, value, n_atoms)
    ]


def _words(key: str) -> set[str]:
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", key.removeprefix("info:").removeprefix("arrays:"))
    return {part.lower() for part in parts}


def _fits(label: str, value: Array, n_atoms: int) -> bool:
    if label == "energy":
        return value.size == 1
    if label == "forces":
        return value.shape == (n_atoms, 3)
    if label == "stress":
        return value.size in (6, 9)
    if label == "charges":
        return value.shape == (n_atoms,) and n_atoms > 0
    return value.shape == (3,)


def to_ours(label: str, key: str, raw: Array, atoms: Atoms, units: LabelUnits) -> Array:
    """Convert one label.

    Raises:
        LabelError: the value's shape does not fit the label.
    """
    if not _fits(label, raw, len(atoms)):
        raise LabelError(
            f"{key!r} of shape {raw.shape} as {label}",
            expected={"energy": "one number", "stress": "6 or 9 numbers", "dipole": "3 numbers"}.get(
                label, f"one row for each of {len(atoms)} atoms"
            ),
            suggestion=f"name another key with --{label}-key",
        )
    if label == "energy":
        return np.asarray(raw.reshape(()) * ENERGY_UNITS[units.energy])
    if label == "forces":
        # A gradient is +∂E/∂r.
        sign = -1.0 if _words(key) & {"gradient", "gradients"} else 1.0
        return sign * raw * FORCES_UNITS[units.forces]
    if label == "stress":
        return stress_to_ours(raw, stress_convention(key, units), abs(float(np.linalg.det(atoms.cell.array))))
    if label == "dipole":
        return raw * DIPOLE_UNITS[units.dipole]
    return raw


def resolve_keys(
    frames: Sequence[Atoms],
    quantities: Sequence[Quantities],
    wanted: LabelKeys,
    units: LabelUnits,
    skip: frozenset[str] = frozenset(),
) -> LabelKeys:
    """Settle one key a label for a whole file; labels in ``skip`` get none.

    Raises:
        LabelError: a key that was asked for is in no frame, or two candidates disagree.
    """
    unknown = skip - set(LABELS)
    if unknown:
        name = min(unknown)
        raise LabelError(f"label {name!r} to skip", expected=", ".join(LABELS), suggestion=nearest(name, LABELS))
    known = sorted({key for frame in quantities for key in frame})
    settled = wanted
    for label in LABELS:
        key = getattr(wanted, label)
        if label in skip:
            settled = replace(settled, **{label: None})
        elif key is None:
            settled = replace(settled, **{label: _find(label, frames, quantities, units)})
        elif key not in known:
            raise LabelError(
                f"{label} key {key!r}, which is in no frame",
                expected=f"one of the keys of the file: {', '.join(known) or 'there are none'}",
                suggestion=nearest(key, known) if known else "check that this is the file with the labels",
            )
    return settled


def _find(label: str, frames: Sequence[Atoms], quantities: Sequence[Quantities], units: LabelUnits) -> str | None:
    found: list[str] = []
    for atoms, frame in zip(frames, quantities, strict=True):
        found += [key for key in candidates(label, frame, len(atoms)) if key not in found]
    if len(found) > 1:
        _refuse_disagreement(label, found, frames, quantities, units)
    return found[0] if found else None


def _refuse_disagreement(
    label: str, keys: list[str], frames: Sequence[Atoms], quantities: Sequence[Quantities], units: LabelUnits
) -> None:
    """Several keys may hold one label only if every frame has all of them, with equal values."""
    for index, (atoms, frame) in enumerate(zip(frames, quantities, strict=True)):
        present = [key for key in keys if key in frame]
        if not present:
            continue
        values = [to_ours(label, key, frame[key], atoms, units) for key in present]
        if len(present) < len(keys) or not all(np.allclose(v, values[0], rtol=1e-5, atol=1e-6) for v in values):
            shown = ", ".join(
                f"{key!r} ({_preview(frame[key])})" if key in frame else f"{key!r} (absent)" for key in keys
            )
            raise LabelError(
                f"{len(keys)} keys that may be the {label} and differ in frame {index}: {shown}",
                expected=f"one key for the {label}, or several with equal values in every frame",
                suggestion=f"say which: --{label}-key {keys[0]}",
            )


def _preview(value: Array) -> str:
    flat = ", ".join(f"{number:.6g}" for number in value.ravel()[:3])
    return f"{flat}, …" if value.size > 3 else flat
