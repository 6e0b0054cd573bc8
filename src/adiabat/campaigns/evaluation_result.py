"""The result of an evaluation: errors in the field's units, and the arrays behind them, on disk and back."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.campaigns.density_check import DensityCheck
from adiabat.campaigns.error_statistics import ErrorStatistics
from adiabat.campaigns.spread_scoring import SpreadEvaluation
from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import FileFormatError, SchemaVersionError

SCHEMA_VERSION: Final = 1
METRICS: Final = "metrics.json"
ARRAYS: Final = "arrays.npz"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors of a model on a set of records. Errors are predicted − reference.

    Attributes:
        n_structures: how many records were compared.
        errors: by quantity, see ``error_statistics.UNITS``. The MAE of ``hamiltonian`` is the mean |H_pred − H_ref|
            over all n_orb² elements of a molecule, averaged over molecules.
        forces_by_element: force components by chemical symbol.
        groups: for each value of the grouping key, the errors of its structures.
        hamiltonian_by_shells: by place and angular momenta, ``onsite s–p``, ``pair p–p``.
        similarity: mean of ``orbital_similarity`` and ``coefficient_cosine`` over occupied orbitals.
        smallest_overlap: least λ_min(S) of all molecules; H errors reach energies amplified by up to its inverse.
        density_checks: SCF runs from the predicted density.
        seconds: mean time a structure, by kind of prediction.
        uncertainty: how good the spreads are; None of a model that gives none.
        provenance: model, data and settings, as plain JSON values.
        arrays: references and predictions [eV, Å], as written to ``arrays.npz``.
    """

    n_structures: int
    errors: Mapping[str, ErrorStatistics]
    forces_by_element: Mapping[str, ErrorStatistics] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, ErrorStatistics]] = field(default_factory=dict)
    hamiltonian_by_shells: Mapping[str, ErrorStatistics] = field(default_factory=dict)
    similarity: Mapping[str, float] = field(default_factory=dict)
    smallest_overlap: float | None = None
    density_checks: Sequence[DensityCheck] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    uncertainty: SpreadEvaluation | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    @property
    def scf_cycle_ratio(self) -> float | None:
        """SCF cycles from the predicted density over those from ``minao``, of all checks together."""
        if not self.density_checks:
            return None
        predicted = sum(check.cycles_from_prediction for check in self.density_checks)
        return predicted / sum(check.cycles_from_minao for check in self.density_checks)

    def to_json(self) -> dict[str, Any]:
        """Everything but the arrays."""
        return {
            "schema_version": SCHEMA_VERSION,
            "n_structures": self.n_structures,
            "errors": _to_json(self.errors),
            "forces_by_element": _to_json(self.forces_by_element),
            "groups": {name: _to_json(errors) for name, errors in self.groups.items()},
            "hamiltonian_by_shells": _to_json(self.hamiltonian_by_shells),
            "similarity": dict(self.similarity),
            "smallest_overlap": self.smallest_overlap,
            "density_checks": [check.to_json() for check in self.density_checks],
            "scf_cycle_ratio": self.scf_cycle_ratio,
            "seconds": dict(self.seconds),
            "uncertainty": None if self.uncertainty is None else self.uncertainty.to_json(),
            "provenance": dict(self.provenance),
        }

    def save(self, directory: str | Path) -> None:
        """Write ``metrics.json`` and ``arrays.npz``, each atomically."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        data = io.BytesIO()
        np.savez_compressed(data, **dict(self.arrays))  # pyright: ignore[reportArgumentType]
        write_atomically(directory / ARRAYS, data.getvalue())
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"
        write_atomically(directory / METRICS, text.encode())

    @classmethod
    def load(cls, directory: str | Path) -> "Evaluation":
        """Read what :meth:`save` wrote.

        Raises:
            FileFormatError: a file is missing or damaged.
            SchemaVersionError: another version of the format.
        """
        directory = Path(directory)
        try:
            data = json.loads((directory / METRICS).read_text(encoding="utf-8"))
            with np.load(io.BytesIO((directory / ARRAYS).read_bytes()), allow_pickle=False) as arrays:
                loaded = {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError) as error:
            raise FileFormatError(
                f"{directory}, which cannot be read: {error}",
                expected=f"{METRICS} and {ARRAYS} of an evaluation",
                suggestion="repeat `adiabat evaluate … -o DIRECTORY`",
            ) from error
        if data.get("schema_version") != SCHEMA_VERSION:
            raise SchemaVersionError(
                f"an evaluation of schema version {data.get('schema_version')}",
                expected=f"schema version {SCHEMA_VERSION}",
                suggestion="repeat `adiabat evaluate`",
            )
        uncertainty = data.get("uncertainty")
        return cls(
            n_structures=data["n_structures"],
            errors=_from_json(data["errors"]),
            forces_by_element=_from_json(data["forces_by_element"]),
            groups={name: _from_json(errors) for name, errors in data["groups"].items()},
            hamiltonian_by_shells=_from_json(data["hamiltonian_by_shells"]),
            similarity=data["similarity"],
            smallest_overlap=data["smallest_overlap"],
            density_checks=[DensityCheck(**check) for check in data["density_checks"]],
            seconds=data["seconds"],
            uncertainty=None if uncertainty is None else SpreadEvaluation.from_json(uncertainty),
            provenance=data["provenance"],
            arrays=loaded,
        )


def _to_json(errors: Mapping[str, ErrorStatistics]) -> dict[str, Any]:
    return {name: statistics.to_json() for name, statistics in errors.items()}


def _from_json(data: Mapping[str, Any]) -> dict[str, ErrorStatistics]:
    return {name: ErrorStatistics(**values) for name, values in data.items()}
