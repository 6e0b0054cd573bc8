"""The audit: everything that can be known to be wrong about a dataset before anyone trains on it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from adiabat.core.errors import LabelError
from adiabat.data.audit_contents import count_contents, find_duplicates, find_missing_labels, find_repeated_labels
from adiabat.data.audit_differences import compare_differences
from adiabat.data.audit_operators import check_operators
from adiabat.data.audit_outliers import find_outliers, judge_energy_reference
from adiabat.data.audit_pair_probe import probe_with_pair_potentials
from adiabat.data.audit_result import Audit, Finding
from adiabat.data.audit_units import judge_energy_unit, judge_forces, judge_lengths
from adiabat.data.record import Record

Check = Callable[[Sequence[Record]], Iterator[Finding]]

CHECKS: Final[tuple[Check, ...]] = (
    count_contents,
    find_missing_labels,
    find_duplicates,
    find_repeated_labels,
    judge_lengths,
    judge_energy_unit,
    judge_energy_reference,
    judge_forces,
    find_outliers,
    compare_differences,
    probe_with_pair_potentials,
    check_operators,
)
"""Every check, in the order of the report; each looks at all records and yields findings."""


def audit_records(records: Sequence[Record]) -> Audit:
    """Check records against each other and against physics.

    Raises:
        LabelError: there are no records.
    """
    if not records:
        raise LabelError("an empty dataset", expected="at least one record", suggestion="import or label structures")
    return Audit(len(records), tuple(finding for check in CHECKS for finding in check(records)))
