"""The level of theory of Hamiltonians, read from the provenance of their labels."""

from collections.abc import Mapping, Sequence
from typing import Any

from adiabat.core.errors import LabelError
from adiabat.core.operators import BlockOperator, Spin
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.record import Provenance, Record
from adiabat.models.config import LEVEL_KEYS, OperatorReference, level_of


def operator_reference(records: Sequence[Record], fidelities: Sequence[str] = ()) -> OperatorReference:
    """The level of theory of all records with a Hamiltonian, or that of each fidelity.

    Args:
        records: labelled structures.
        fidelities: that the model tells apart, the target first; empty for one level.

    Raises:
        LabelError: there is none, it is not fully described, there are several of one fidelity, or those of different
            fidelities are not over one basis.
    """
    if not fidelities:
        return _one_level(records)
    levels: dict[str, OperatorReference] = {}
    for name in fidelities:
        own = [record for record in records if record.fidelity == name and "hamiltonian" in record.labels]
        if own:
            levels[name] = _one_level(own)
    target = levels.pop(fidelities[0], None)
    if target is None:
        raise LabelError(
            f"Hamiltonians of {', '.join(levels) or 'no fidelity'} and none of the target, {fidelities[0]}",
            expected="Hamiltonians of the first of model.fidelities",
            suggestion="label some at that level, or name another level first",
        )
    basis = target.orbitals
    for name, level in levels.items():
        same = all(getattr(level, key) == getattr(target, key) for key in ("basis", "spin", "baseline"))
        if not same:
            raise LabelError(
                f"Hamiltonians of {fidelities[0]} in {_in_words(target)} and of {name} in {_in_words(level)}",
                expected="one basis, spin layout and baseline for all fidelities of one model",
                suggestion="train on the cheap level first, then start from it with training.init_model: the trunk is "
                "carried over, whatever the basis",
            )
        basis = basis.merged_with(level.orbitals)
    shells = {"orbital_basis": basis.to_json()}
    others = {name: level.model_copy(update=shells) for name, level in levels.items()}
    return target.model_copy(update={**shells, "others": others})


def _in_words(level: OperatorReference) -> str:
    return f"{level.basis}, spin {level.spin}, baseline {level.baseline}"


def _one_level(records: Sequence[Record]) -> OperatorReference:
    labelled = [record for record in records if "hamiltonian" in record.labels]
    with_h0 = [record for record in labelled if "h0" in record.labels]
    if with_h0 and len(with_h0) < len(labelled):
        raise LabelError(
            f"{len(with_h0)} of {len(labelled)} Hamiltonians with an h0 label",
            expected="an H0 with each of them, or with none",
            suggestion="train on Hamiltonians from one `adiabat label` campaign",
        )
    basis = _common_basis([record.provenance for record in labelled])
    return _with_h0(with_h0, basis) if with_h0 else _without_h0(labelled, basis)


def _with_h0(labelled: Sequence[Record], basis: OrbitalBasis | None) -> OperatorReference:
    levels = [dict(level) for level in {tuple(level_of(record.provenance.settings).items()) for record in labelled}]
    if len(levels) != 1 or set(levels[0]) != set(LEVEL_KEYS):
        found_levels = sorted(", ".join(f"{key} {value}" for key, value in level.items()) for level in levels)
        raise LabelError(
            f"Hamiltonians at {len(levels)} levels of theory: {'; '.join(found_levels) or 'none is labelled'}",
            expected="one level, in the provenance of every Hamiltonian: H0 and the overlap are computed from it",
            suggestion="train on Hamiltonians from one `adiabat label` campaign",
        )
    assert basis is not None
    return OperatorReference(**levels[0], orbital_basis=basis.to_json())


def _without_h0(labelled: Sequence[Record], basis: OrbitalBasis | None) -> OperatorReference:
    methods = sorted({record.provenance.method for record in labelled})
    spins: list[Spin] = sorted(
        {operator.spin for record in labelled if isinstance(operator := record.labels["hamiltonian"], BlockOperator)}
    )
    if len(methods) != 1 or len(spins) != 1 or basis is None:
        raise LabelError(
            f"Hamiltonians of the methods {methods or 'none is labelled'} and spin layouts {spins}",
            expected="one method and one spin layout for all of them",
            suggestion="train on one of them; `adiabat data inspect` shows what a store holds",
        )
    gaussian: dict[str, Any] | None = None
    for record in labelled:
        found = record.provenance.settings.get("gaussian_basis")
        if isinstance(found, Mapping):
            gaussian = _merged(gaussian, found)
    return OperatorReference(
        basis=basis.name, orbital_basis=basis.to_json(), baseline="two-center", spin=spins[0], method=methods[0],
        xc=str(labelled[0].provenance.settings.get("xc", "")), gaussian_basis=gaussian,
        tabulated_overlap=gaussian is None and all("overlap" in record.labels for record in labelled),
    )  # fmt: skip


def _merged(ours: dict[str, Any] | None, theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Basis functions of the elements of both."""
    if ours is None:
        return dict(theirs)
    return {
        **ours,
        **{key: {**ours[key], **value} if isinstance(value, Mapping) else value for key, value in theirs.items()},
    }


def _common_basis(labelled: Sequence[Provenance]) -> OrbitalBasis | None:
    basis: OrbitalBasis | None = None
    for provenance in labelled:
        found = provenance.orbital_basis
        if found is None:
            raise LabelError(
                "a Hamiltonian without its orbital basis",
                expected="the shells of each element in the provenance",
                suggestion="label the structures again with `adiabat label`",
            )
        basis = found if basis is None or basis == found else basis.merged_with(found)
    return basis
