"""From a stored record or a model to a crystal whose electrons can be solved for."""

from dataclasses import dataclass

import numpy as np

from adiabat.core.errors import ElectronicError, LabelError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.record import Record
from adiabat.data.structure import Structure
from adiabat.electronic.crystal import Crystal
from adiabat.models.model import Model


@dataclass(frozen=True, eq=False)
class CrystalElectrons:
    """H, S and electrons of a crystal, with what their results must be labelled with.

    Attributes:
        structure: the crystal; periodic only where H reaches into other cells.
        crystal: H(R), S(R), cell and electron count.
        basis: shells of each element; None if the source does not tell.
        source: file and record, or model and structure file.
        method: level of theory, or the model.
        notes: sentences on what was decided.
    """

    structure: Structure
    crystal: Crystal
    basis: OrbitalBasis | None
    source: str
    method: str = ""
    notes: tuple[str, ...] = ()

    @property
    def metadata(self) -> dict[str, str]:
        """What a saved result says of where it comes from."""
        return {
            "source": self.source,
            "method": self.method,
            "formula": self.structure.formula,
            "structure_hash": self.structure.content_hash,
            "basis": self.basis.name if self.basis is not None else "",
        }


def crystal_from_record(record: Record, *, source: str = "", n_electrons: float | None = None) -> CrystalElectrons:
    """Crystal of a labelled record.

    Args:
        record: with the labels ``hamiltonian`` and ``overlap``.
        source: what to call it; by default what the record says.
        n_electrons: electrons of the cell; by default counted from the valence electrons of the record's basis, or else
            what the source file said of the cell (``info["n_electrons"]``).

    Raises:
        LabelError: H or S is missing.
        BasisError: the number of electrons is not known.
        ElectronicError: operators from which nothing follows.
    """
    hamiltonian, overlap = (_operator(record, name) for name in ("hamiltonian", "overlap"))
    provenance = record.provenance
    if n_electrons is None and not _knows_valence(record):
        n_electrons = record.structure.info.get("n_electrons")
    return _electrons(
        record.structure,
        hamiltonian,
        overlap,
        provenance.orbital_basis,
        n_electrons,
        source or provenance.source,
        provenance.method,
    )


def crystal_from_model(
    model: Model, structure: Structure, *, source: str = "", n_electrons: float | None = None
) -> CrystalElectrons:
    """Crystal of the Hamiltonian that a model predicts.

    Args:
        model: with an operator head.
        structure: periodic along one direction or more.
        source: what to call it.
        n_electrons: electrons of the cell; by default counted from the valence electrons of the model's basis.

    Raises:
        ModelError: the model has no operator head.
        StructureError: an element that the model does not know.
        BasisError: the number of electrons is not known.
        ElectronicError: operators from which nothing follows.
    """
    basis = model.require_operator().orbitals
    hamiltonian, overlap = model.hamiltonian(structure), model.overlap(structure)
    return _electrons(structure, hamiltonian, overlap, basis, n_electrons, source, "model")


def _electrons(
    structure: Structure,
    hamiltonian: BlockOperator,
    overlap: BlockOperator,
    basis: OrbitalBasis | None,
    n_electrons: float | None,
    source: str,
    method: str,
) -> CrystalElectrons:
    if not np.array_equal(hamiltonian.pairs, overlap.pairs):
        pairs = np.unique(np.concatenate([hamiltonian.pairs, overlap.pairs]), axis=0)
        hamiltonian, overlap = hamiltonian.on_pairs(pairs), overlap.on_pairs(pairs)
    reaches = np.any(hamiltonian.pairs[:, :3] != 0, axis=0)
    flat = structure.pbc & ~reaches
    notes: tuple[str, ...] = ()
    if flat.any() and reaches.any():
        names = " and ".join(f"a{axis + 1}" for axis in np.flatnonzero(flat))
        notes = (f"No orbital reaches the next cell along {names}: treated as not periodic there.",)
    if n_electrons is None:
        n_electrons = _counted(structure, basis)
    periodic = structure.pbc & reaches
    found = Structure(
        structure.atomic_numbers,
        structure.positions,
        structure.cell,
        periodic,
        structure.charge,
        structure.spin,
        structure.info,
    )
    crystal = Crystal(hamiltonian, overlap, structure.cell, periodic, n_electrons)
    return CrystalElectrons(found, crystal, basis, source, method, notes)


def _knows_valence(record: Record) -> bool:
    basis = record.provenance.orbital_basis
    valence = basis.valence if basis is not None else None
    return all(int(z) in (valence or {}) for z in record.structure.atomic_numbers)


def _counted(structure: Structure, basis: OrbitalBasis | None) -> float:
    if basis is None:
        raise ElectronicError(
            f"{structure.formula} with a Hamiltonian in a basis that is not named",
            expected="the number of electrons outside the pseudopotentials",
            suggestion="give the number of electrons of the cell: --electrons 8",
        )
    return basis.n_electrons(structure.atomic_numbers, structure.charge)


def _operator(record: Record, name: str) -> BlockOperator:
    value = record.labels.get(name)
    if not isinstance(value, BlockOperator):
        having = ", ".join(record.labels) or "nothing"
        raise LabelError(
            f"{record.structure.formula} labelled with {having}, without {name}",
            expected="a record with hamiltonian and overlap",
            suggestion="label it with an engine that gives H and S, or import the files that hold them",
        )
    return value
