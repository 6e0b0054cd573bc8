"""Levels of theory in one data set: told apart where the model is told to, refused where it is not."""

from collections import Counter
from collections.abc import Collection, Sequence

from adiabat.core.errors import LabelError
from adiabat.training.frames import Frame, Frames

_SURFACE = frozenset({"energy", "forces", "stress"})


def check_fidelities(frames: Frames, labels: Collection[str], fidelities: Sequence[str]) -> None:
    """Refuse energies of different methods in one curve, and levels that the model does not know or never sees.

    Args:
        frames: of the run.
        labels: that are learned.
        fidelities: of the model, the target first; empty where all labels are of one level.

    Raises:
        LabelError: labels of several levels that the model does not tell apart, of a level that it does not name, or
            a named level without training frames.
    """
    if fidelities:
        _check_named(frames, labels, fidelities)
        return
    found = _levels([*frames.train, *frames.validation], _SURFACE & set(labels))
    if len(found) > 1:
        names = [name for name in found if name] or ["high", "low"]
        raise LabelError(
            f"energies, forces or stress of {len(found)} levels of theory: {_listed(found)}",
            expected="labels of one level, or a model that is told to tell them apart",
            suggestion=f"model.fidelities: [{', '.join(names)}], the level to predict first, and `fidelity: NAME` on "
            "the slices of data.train that do not say their level; the same NAME on all if they are of one level",
        )


def _check_named(frames: Frames, labels: Collection[str], fidelities: Sequence[str]) -> None:
    found = _levels([*frames.train, *frames.validation, *frames.test], labels)
    unknown = [name for name in found if name not in fidelities]
    if unknown:
        raise LabelError(
            f"labels of {_listed(found)}",
            expected=f"only those of model.fidelities: {', '.join(fidelities)}",
            suggestion="name all levels in model.fidelities, or say the level of a slice with `fidelity: NAME`",
        )
    missing = [name for name in fidelities if name not in _levels(frames.train, labels)]
    if missing:
        raise LabelError(
            f"no training frame of fidelity {', '.join(missing)}; there are {_listed(found)}",
            expected="labels of every level of model.fidelities in data.train",
            suggestion="add labels of this level, or take it out of model.fidelities",
        )


def judging_frames(frames: Sequence[Frame], fidelities: Sequence[str]) -> Sequence[Frame]:
    """Validation frames of the target level, by which the best model is chosen; all of them where none is of it."""
    of_target = [frame for frame in frames if frame.record.fidelity in fidelities[:1]]
    return of_target or frames


def _levels(frames: Sequence[Frame], labels: Collection[str]) -> Counter[str]:
    """Number of frames of each level that have any of the labels."""
    return Counter(frame.record.fidelity for frame in frames if set(labels) & set(frame.record.labels))


def _listed(found: Counter[str]) -> str:
    return ", ".join(f"{name or 'not named'} ({count} frames)" for name, count in sorted(found.items()))
