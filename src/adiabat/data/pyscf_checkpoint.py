"""PySCF checkpoint files: energy, Hamiltonian, overlap, density matrix and orbital energies of one SCF.

A checkpoint holds orbitals, not the Hamiltonian, which follows from them:

    H = S C ε Cᵀ S,   D = C n Cᵀ

The molecule is read from its integral tables. PySCF's own loader evaluates text of the file as Python code, which a
data file must never be able to ask for.
"""

import ast
import json
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers as number_of_symbol
from pyscf import gto

from adiabat.core.errors import BasisError, FileFormatError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis, reorder_matrix
from adiabat.core.units import BOHR, HARTREE
from adiabat.data.record import Labels, Provenance, Record
from adiabat.data.structure import Structure

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ANGULAR, _CONTRACTIONS, _ATOM = 1, 3, 0
"""Columns of PySCF's shell table ``_bas``. Source: [libcint]."""

Array = npt.NDArray[np.float64]


def is_pyscf_checkpoint(path: Path) -> bool:
    """Whether a file is HDF5 with a molecule and an SCF in it."""
    with path.open("rb") as file:
        if file.read(8) != _HDF5_SIGNATURE:
            return path.suffix in (".chk", ".chkfile")
    try:
        with h5py.File(path) as file:
            return "mol" in file and "scf" in file
    except OSError:
        return True


def read_pyscf_checkpoint(path: Path, *, method: str = "", fidelity: str = "") -> tuple[Record, list[str]]:
    """Read one checkpoint; returns the record and notes on what was found.

    Args:
        path: the file that ``mf.chkfile`` names.
        method: level of theory; the file names only the basis.
        fidelity: name under which labels of this level are grouped.

    Raises:
        FileFormatError: a file that is damaged or is no SCF checkpoint of a molecule.
        BasisError: Cartesian d or f shells.
    """
    try:
        with h5py.File(path) as file:
            text = cast(Any, file["mol"])[()]
            scf = {key: np.asarray(value) for key, value in cast(Any, file["scf"]).items()}
        molecule = _molecule(json.loads(text))
        energy = float(scf["e_tot"])
        coefficients, orbital_energies, occupations = (scf[f"mo_{key}"] for key in ("coeff", "energy", "occ"))
    except (OSError, KeyError, ValueError, SyntaxError, TypeError) as error:
        raise FileFormatError(
            f"{path.name}, which is not a complete PySCF checkpoint ({error})",
            expected="HDF5 with 'mol' and 'scf/{e_tot,mo_coeff,mo_energy,mo_occ}'",
            suggestion="check that the SCF finished; set mf.chkfile before mf.kernel()",
        ) from error
    structure = _structure(molecule)
    basis = _orbital_basis(molecule, structure, path)
    labels: dict[str, Any] = {"energy": np.asarray(energy * HARTREE)}
    notes = [f"energy: scf/e_tot, taken as hartree; basis {basis.name}, {molecule.nao} orbitals"]
    if coefficients.ndim != 2:
        notes.append("spin-unrestricted or k-point orbitals: only the energy is read")
    else:
        labels |= _operators(molecule, basis, structure, coefficients, orbital_energies, occupations)
        notes.append(f"operators and orbital energies read: {', '.join(sorted(set(labels) - {'energy'}))}")
        if "hamiltonian" not in labels:
            notes.append("no Hamiltonian: linearly dependent orbitals were removed, so H cannot be rebuilt")
    settings = {"basis": basis.name, "ecp": bool(len(molecule._ecpbas))}
    provenance = Provenance("pyscf", "", method, settings, fidelity or method, basis, path.name)
    return Record(structure, labels, provenance), notes


def _molecule(tables: dict[str, Any]) -> Any:
    molecule: Any = gto.Mole()
    molecule._atm = np.array(tables["_atm"], dtype=np.int32)
    molecule._bas = np.array(tables["_bas"], dtype=np.int32)
    molecule._env = np.array(tables["_env"], dtype=np.float64)
    molecule._ecpbas = np.array(tables.get("_ecpbas", []), dtype=np.int32).reshape(-1, 8)
    molecule._atom = [(str(symbol), [float(x) for x in position]) for symbol, position in tables["_atom"]]
    basis = str(tables["basis"])
    molecule.basis = ast.literal_eval(basis) if basis.startswith(("'", '"')) else "custom"
    molecule.charge = int(tables.get("charge", 0))
    molecule.spin = int(tables.get("spin", 0) or 0)
    molecule.cart = bool(tables.get("cart", False))
    molecule._built = True
    return molecule


def _structure(molecule: Any) -> Structure:
    symbols = ["".join(filter(str.isalpha, symbol)).capitalize() for symbol, _ in molecule._atom]
    return Structure(
        atomic_numbers=np.array([number_of_symbol.get(symbol, 0) for symbol in symbols], dtype=np.int64),
        positions=np.array([position for _, position in molecule._atom]) * BOHR,
        charge=molecule.charge,
        spin=int(molecule.spin or 0),
    )


def _orbital_basis(molecule: Any, structure: Structure, path: Path) -> OrbitalBasis:
    table = molecule._bas
    if molecule.cart and np.any(table[:, _ANGULAR] >= 2):
        raise BasisError(
            f"Cartesian d or f shells in {path.name}",
            expected="spherical shells, 2l + 1 orbitals each",
            suggestion="run PySCF with mol.cart = False",
        )
    shells = {}
    for atom, number in enumerate(structure.atomic_numbers.tolist()):
        own = table[table[:, _ATOM] == atom]
        shells[number] = tuple(int(l) for l in np.repeat(own[:, _ANGULAR], own[:, _CONTRACTIONS]))
    return OrbitalBasis(str(molecule.basis), shells)


def _operators(
    molecule: Any,
    basis: OrbitalBasis,
    structure: Structure,
    coefficients: Array,
    orbital_energies: Array,
    occupations: Array,
) -> Labels:
    overlap: Array = molecule.intor("int1e_ovlp_cart" if molecule.cart else "int1e_ovlp_sph")
    matrices = {"overlap": overlap, "density_matrix": (coefficients * occupations) @ coefficients.T}
    labels: dict[str, Any] = {}
    if coefficients.shape[0] == coefficients.shape[1]:
        covariant = overlap @ coefficients
        matrices["hamiltonian"] = (covariant * (orbital_energies * HARTREE)) @ covariant.T
        labels["orbital_energies"] = np.sort(orbital_energies) * HARTREE
    sequence = basis.shell_sequence(structure.atomic_numbers)
    n_orbitals = basis.n_orbitals(structure.atomic_numbers)
    for name, matrix in matrices.items():
        symmetric = (matrix + matrix.T) / 2
        labels[name] = BlockOperator.from_dense(reorder_matrix(symmetric, "pyscf", sequence), n_orbitals)
    occupied = occupations > 1e-3
    if not occupied.all() and np.all(occupations[occupied] > 1.999):
        middle = (orbital_energies[occupied].max() + orbital_energies[~occupied].min()) / 2
        labels["fermi_level"] = np.asarray(middle * HARTREE)
    return labels
