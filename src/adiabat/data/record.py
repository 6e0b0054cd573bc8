"""One labelled structure: geometry, labels in our units, and where the labels came from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import LabelError
from adiabat.core.fields import field as lookup
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.structure import Structure

Labels = Mapping[str, npt.NDArray[np.float64] | BlockOperator]
"""Label arrays by field name; scalars are arrays of shape ()."""


@dataclass(frozen=True)
class Provenance:
    """Who computed the labels, and how.

    Attributes:
        code: ``pyscf``, ``tblite``, ``file``, ….
        code_version: its version.
        method: level of theory as a referee would write it, ``PBE/def2-SVP``.
        settings: everything that changes the numbers, as plain JSON values.
        fidelity: name under which labels of this level are grouped; the method by default.
        orbital_basis: shells of the operators, if there are any.
        source: file (base name) or command that the structure came from.
        inherited: labels taken over from the source instead of computed, with the source's name.
    """

    code: str
    code_version: str = ""
    method: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    fidelity: str = ""
    orbital_basis: OrbitalBasis | None = None
    source: str = ""
    inherited: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        data = {key: value for key, value in asdict(self).items() if key != "orbital_basis"}
        data["orbital_basis"] = self.orbital_basis.to_json() if self.orbital_basis else None
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Provenance":
        """Inverse of :meth:`to_json`."""
        basis: Any = data.get("orbital_basis")
        plain: dict[str, Any] = {**data, "orbital_basis": OrbitalBasis.from_json(basis) if basis else None}
        return cls(**plain)

    @property
    def settings_hash(self) -> str:
        """SHA-256 of code, method and settings: equal for labels that may stand in for each other."""
        text = json.dumps([self.code, self.method, self.settings], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Record:
    """A structure with its labels.

    Raises:
        FieldError: a label of an unregistered name.
        LabelError: a label of the wrong shape or with values that are not finite.
    """

    structure: Structure
    labels: Labels
    provenance: Provenance

    def __post_init__(self) -> None:
        """Check each label against the registry."""
        n_atoms = self.structure.n_atoms
        for name, value in self.labels.items():
            spec = lookup(name)
            if spec.kind == "operator":
                if not isinstance(value, BlockOperator) or len(value.n_orbitals) != n_atoms:
                    raise LabelError(
                        f"label {name!r} of type {type(value).__name__}",
                        expected=f"a BlockOperator over {n_atoms} atoms",
                        suggestion="BlockOperator.from_dense(matrix, basis.n_orbitals(atomic_numbers))",
                    )
                flat = value.values
            else:
                assert isinstance(value, np.ndarray)
                expected = tuple(n_atoms if size == "n_atoms" else size for size in spec.shape)
                if spec.kind != "orbital" and value.shape != expected:
                    raise LabelError(
                        f"label {name!r} of shape {value.shape}",
                        expected=f"{expected} [{spec.unit}]",
                        suggestion="check the reader's key for this label",
                    )
                flat = value
            if not np.isfinite(flat).all():
                raise LabelError(
                    f"label {name!r} with values that are not finite",
                    expected=f"finite numbers [{spec.unit}]",
                    suggestion="the calculation failed or the file is damaged; drop the frame",
                )

    @property
    def fidelity(self) -> str:
        """Name of the level of theory that the labels are of; empty where the record does not say."""
        return self.provenance.fidelity or self.provenance.method

    @property
    def key(self) -> str:
        """Identity of the label set: structure and settings. Two records with one key are duplicates."""
        text = self.structure.content_hash + self.provenance.settings_hash
        return hashlib.sha256(text.encode()).hexdigest()
