"""Labels of one level of theory minus those of another, for delta learning: E_high = E_low + Δ."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from adiabat.core.errors import LabelError
from adiabat.core.operators import BlockOperator
from adiabat.data.record import Labels, Provenance, Record

SUBTRACTED: Final = ("energy", "forces", "stress", "hamiltonian")
"""Labels of which a difference is taken; the overlap, which both levels share, is kept."""


@dataclass(frozen=True)
class Differences:
    """Records of differences, and what found no partner.

    Attributes:
        records: of every structure that both levels label, in the order of the high one.
        n_high_alone: structures that only the high level labels.
        n_low_alone: structures that only the low level labels.
    """

    records: tuple[Record, ...]
    n_high_alone: int
    n_low_alone: int


def differences(high: Iterable[Record], low: Iterable[Record]) -> Differences:
    """Match structures by their content, and subtract.

    Args:
        high: labelled at the level that is wanted.
        low: labelled at the level that will be computed, or predicted, beside the difference.

    Raises:
        LabelError: no structure is in both, one is labelled by several methods at the low level, or see
            :func:`difference`.
    """
    partners: dict[str, Record] = {}
    for record in low:
        other = partners.setdefault(record.structure.content_hash, record)
        if other.provenance.settings_hash != record.provenance.settings_hash:
            raise LabelError(
                f"{record.structure.formula} labelled by {other.provenance.method or 'a method that is not named'} and "
                f"by {record.provenance.method or 'a method that is not named'} in the low-level data",
                expected="one level of theory in each of the two",
                suggestion="export the records of one level into a store of their own",
            )
    wanted = list(high)
    matched = [record for record in wanted if record.structure.content_hash in partners]
    if not matched:
        raise LabelError(
            f"{len(wanted)} high-level and {len(partners)} low-level records without a structure in common",
            expected="the same structures, to the last digit, labelled at both levels",
            suggestion="label the structures of one store with the other's engine: adiabat label STRUCTURES …",
        )
    found = {record.structure.content_hash for record in matched}
    return Differences(
        tuple(difference(record, partners[record.structure.content_hash]) for record in matched),
        len(wanted) - len(matched),
        len(partners.keys() - found),
    )


def difference(high: Record, low: Record) -> Record:
    """Labels of one structure at one level minus those at another.

    Raises:
        LabelError: nothing that both are labelled with, or Hamiltonians of different bases.
    """
    shared = [name for name in SUBTRACTED if name in high.labels and name in low.labels]
    if not shared:
        raise LabelError(
            f"{high.structure.formula} with {', '.join(high.labels)} at one level and {', '.join(low.labels)} at "
            "the other",
            expected=f"some of {', '.join(SUBTRACTED)} at both",
            suggestion="label the structures at both levels with the same --targets",
        )
    labels: dict[str, Any] = {name: _subtracted(name, high, low) for name in shared}
    if "hamiltonian" in labels and "overlap" in high.labels:
        labels["overlap"] = high.labels["overlap"]
    return Record(high.structure, labels, _provenance(high.provenance, low.provenance, labels))


def _subtracted(name: str, high: Record, low: Record) -> Any:
    ours, theirs = high.labels[name], low.labels[name]
    if not isinstance(ours, BlockOperator):
        assert not isinstance(theirs, BlockOperator)
        return np.asarray(np.subtract(ours, theirs), dtype=np.float64)
    assert isinstance(theirs, BlockOperator)
    bases = [record.provenance.orbital_basis for record in (high, low)]
    if ours.spin != theirs.spin or not np.array_equal(ours.n_orbitals, theirs.n_orbitals) or bases[0] != bases[1]:
        names = [basis.name if basis else "a basis that is not named" for basis in bases]
        raise LabelError(
            f"Hamiltonians of {high.structure.formula} in {names[0]}, spin {ours.spin}, and in {names[1]}, spin "
            f"{theirs.spin}",
            expected="one basis and one spin layout at both levels",
            suggestion="between bases, start from a model of the cheap level (training.init_model) instead",
        )
    return ours + theirs.with_values(-theirs.values)


def _provenance(high: Provenance, low: Provenance, labels: Labels) -> Provenance:
    names = [part.fidelity or part.method or "a method that is not named" for part in (high, low)]
    method = f"{names[0]} − {names[1]}"
    levels = {
        name: {"code": part.code, "version": part.code_version, "method": part.method, "settings": dict(part.settings)}
        for name, part in (("high", high), ("low", low))
    }
    return Provenance(
        code="adiabat",
        code_version=version("adiabat"),
        method=method,
        settings={"difference": levels},
        fidelity=method,
        orbital_basis=high.orbital_basis if "hamiltonian" in labels else None,
        source=high.source,
    )
