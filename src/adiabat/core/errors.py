"""Errors that a user can act on: what was got, what was expected, what to try."""

import difflib
from collections.abc import Iterable
from typing import Self


class AdiabatError(Exception):
    """Base of every error that is the input's fault rather than ours.

    Args:
        got: what was found, with the value and the place it was found in.
        expected: what would have been right.
        suggestion: what to do next; a command or a setting wherever there is one.
    """

    def __init__(self, got: str, *, expected: str, suggestion: str) -> None:
        self.got = got
        self.expected = expected
        self.suggestion = suggestion
        super().__init__(got, expected, suggestion)

    def __str__(self) -> str:
        """Render the three parts, a line each."""
        return f"got: {self.got}\nexpected: {self.expected}\ntry: {self.suggestion}"

    def at(self, place: str) -> Self:
        """The same error, saying where it was met."""
        return type(self)(f"{self.got} in {place}", expected=self.expected, suggestion=self.suggestion)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip from a worker process, keyword-only arguments included."""
        return _rebuild, (type(self), self.got, self.expected, self.suggestion, self.__dict__)


def _rebuild(
    cls: type[AdiabatError], got: str, expected: str, suggestion: str, state: dict[str, object]
) -> AdiabatError:
    error = cls.__new__(cls)
    AdiabatError.__init__(error, got, expected=expected, suggestion=suggestion)
    error.__dict__.update(state)
    return error


class StructureError(AdiabatError):
    """A structure that cannot be meant: overlapping atoms, a flat periodic cell, an unknown element."""


class LabelError(AdiabatError):
    """Labels that are missing, ambiguous, of the wrong shape, or in the wrong unit."""


class FieldError(AdiabatError):
    """A field name that is not in the registry."""


class FileFormatError(AdiabatError):
    """A file that is truncated, corrupt, or not of the format it claims."""


class SchemaVersionError(AdiabatError):
    """A store, checkpoint or model written under another version of its format."""


class StoreError(AdiabatError):
    """A dataset store that cannot be opened, is locked, or holds a corrupt record."""


class ConfigError(AdiabatError):
    """A configuration with an unknown key or a value out of range."""


class BasisError(AdiabatError):
    """An orbital basis that the conventions do not cover, such as Cartesian d shells."""


class EngineError(AdiabatError):
    """A reference calculation that could not be carried out."""


class ScfNotConvergedError(EngineError):
    """A self-consistent field that did not converge; never stored as a label."""


class MissingExtraError(AdiabatError):
    """An optional dependency that is not installed."""

    @classmethod
    def of(cls, package: str, extra: str) -> "MissingExtraError":
        """Name the extra that brings ``package``."""
        return cls(
            f"the optional package {package!r} is not installed",
            expected=f"{package} importable",
            suggestion=f"pip install 'adiabat[{extra}]'",
        )


class ElectronicError(AdiabatError):
    """Matrices or an electron count from which no orbitals follow, such as an overlap that is not positive."""


class ModelError(AdiabatError):
    """A model asked for what it cannot give, such as a Hamiltonian without an operator head."""


class TrainingError(AdiabatError):
    """A training run that cannot go on, such as a loss that is not a number."""


class SimulationError(AdiabatError):
    """A simulation that left the range in which it means anything."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a phrase that names the known word nearest to ``name``, or lists all known words."""
    words = sorted(known)
    close = difflib.get_close_matches(name, words, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"one of {', '.join(words)}"
