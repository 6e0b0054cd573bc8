"""Audit of Hamiltonians and overlaps: Hermitian, S ≻ 0, one pair list, and in keeping with their own eigenvalues."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from scipy.linalg import LinAlgError, eigh

from adiabat.core.operators import BlockOperator
from adiabat.data.audit_result import Finding, Severity
from adiabat.data.record import Record

OPERATORS: Final = ("hamiltonian", "overlap", "density_matrix", "h0")
_MAX_RECORDS: Final = 50
_HERMITIAN: Final = 1e-6
"""eV, or 1 for S; files in float64 hold operators to 1e-8 of values of up to 1e3."""

_EIGENVALUES: Final = 1e-2
"""eV; checkpoints hold eigenvalues of the last Fock matrix but one, off by the convergence threshold."""

_ELECTRONS: Final = 1e-3


def check_operators(records: Sequence[Record]) -> Iterator[Finding]:
    """Check up to 50 evenly spaced records that hold operators."""
    chosen = [k for k, record in enumerate(records) if any(name in record.labels for name in OPERATORS)]
    sample = chosen[:: max(1, -(-len(chosen) // _MAX_RECORDS))]
    if not sample:
        return
    problems: dict[str, list[int]] = {}
    smallest = np.inf
    for index in sample:
        texts, eigenvalue = _problems(records[index])
        smallest = min(smallest, eigenvalue)
        for text in texts:
            problems.setdefault(text, []).append(index)
    for text, indices in problems.items():
        yield Finding("operators", Severity.ERROR, text, "label these structures again", tuple(indices))
    if not problems:
        text = f"{len(sample)} of {len(chosen)} records checked: Hermitian, consistent"
        if np.isfinite(smallest):
            text += (
                f"; smallest eigenvalue of S {smallest:.2g}: errors of H reach energies up to {1 / smallest:.0f}-fold"
            )
        yield Finding("operators", Severity.INFO, text)


def _problems(record: Record) -> tuple[list[str], float]:
    """What is wrong with one record's operators, and the smallest eigenvalue of a molecule's S."""
    operators = {n: v for n in OPERATORS if isinstance(v := record.labels.get(n), BlockOperator)}
    texts = [f"{name} is not Hermitian" for name, o in operators.items() if o.hermiticity_error() > _HERMITIAN]
    first = next(iter(operators.values()))
    if any(
        not np.array_equal(first.n_orbitals, o.n_orbitals)
        or (name != "density_matrix" and not np.array_equal(first.pairs, o.pairs))
        for name, o in operators.items()
    ):
        return [*texts, f"{', '.join(operators)} have different atom pairs or orbital counts"], np.inf
    basis = record.provenance.orbital_basis
    if basis is not None and not np.array_equal(basis.n_orbitals(record.structure.atomic_numbers), first.n_orbitals):
        return [*texts, f"orbital counts differ from the basis {basis.name!r} of the provenance"], np.inf
    if record.structure.pbc.any() or texts:
        return texts, np.inf
    return _dense_problems(record, operators)


def _dense_problems(record: Record, operators: dict[str, BlockOperator]) -> tuple[list[str], float]:
    texts, smallest = [], np.inf
    dense = {name: operator.to_dense() for name, operator in operators.items()}
    if "overlap" in dense:
        smallest = float(np.linalg.eigvalsh(dense["overlap"])[0])
        if smallest <= 0:
            return ["the overlap is not positive definite"], smallest
        if np.abs(np.diag(dense["overlap"]) - 1).max() > 1e-3:
            texts.append("orbitals are not normalised: the overlap's diagonal is not one")
    if {"overlap", "density_matrix"} <= set(dense):
        n_electrons = float((dense["overlap"] * dense["density_matrix"]).sum())
        if abs(n_electrons - round(n_electrons)) > _ELECTRONS or round(n_electrons) > record.structure.n_electrons:
            texts.append("Tr(D S) is not the number of electrons")
    if {"overlap", "hamiltonian"} <= set(dense) and "orbital_energies" in record.labels:
        try:
            energies = eigh(dense["hamiltonian"], dense["overlap"], eigvals_only=True)
        except LinAlgError:
            return [*texts, "the eigenvalue problem of H and S has no solution"], smallest
        stored = np.asarray(record.labels["orbital_energies"])
        if energies.shape != stored.shape or np.abs(energies - stored).max() > _EIGENVALUES:
            texts.append("orbital energies are not the eigenvalues of (H, S): another unit, order or structure")
    return texts, smallest
