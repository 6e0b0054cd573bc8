"""What an audit says: findings of three severities, and an error when a dataset cannot be right."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from adiabat.core.errors import LabelError


class Severity(StrEnum):
    """How bad a finding is: an error cannot be right, a warning deserves a look."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class AuditError(LabelError):
    """A dataset that cannot be right."""


@dataclass(frozen=True)
class Finding:
    """One result of one check.

    Attributes:
        check: name of the check.
        severity: how bad it is.
        message: what was found, in a sentence with numbers.
        suggestion: what to do; empty for information.
        records: indices of the records concerned, or empty for all.
    """

    check: str
    severity: Severity
    message: str
    suggestion: str = ""
    records: tuple[int, ...] = ()


@dataclass(frozen=True)
class Audit:
    """Result of :func:`adiabat.data.audit.audit_records`.

    Attributes:
        n_records: number of records.
        findings: in the order of the checks.
    """

    n_records: int
    findings: tuple[Finding, ...]

    def of(self, severity: Severity) -> list[Finding]:
        """Findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return not self.of(Severity.ERROR)

    def raise_if_failed(self) -> None:
        """Raise the errors as one.

        Raises:
            AuditError: there are errors.
        """
        errors = self.of(Severity.ERROR)
        if errors:
            raise AuditError(
                "; ".join(f"{finding.check}: {finding.message}{where(finding.records)}" for finding in errors),
                expected="a dataset whose labels agree with each other and with physics",
                suggestion="; ".join(dict.fromkeys(f.suggestion for f in errors if f.suggestion)),
            )


def where(records: Sequence[int]) -> str:
    """Words for the records concerned."""
    if not records:
        return ""
    shown = ", ".join(str(index) for index in records[:6])
    return f" (record {shown})" if len(records) == 1 else f" (records {shown}{', …' if len(records) > 6 else ''})"
