"""Is what was read a Hamiltonian and an overlap? Each check gives a number, and an error if it cannot be."""

from dataclasses import replace
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse
from scipy.sparse.linalg import eigsh

from adiabat.core.errors import LabelError
from adiabat.core.operators import BlockOperator
from adiabat.data.hamiltonian_formats.axial_symmetry import check_axial_symmetry
from adiabat.data.hamiltonian_formats.contents import Crystal, OwnEigenvalues, shell_names
from adiabat.data.hamiltonian_formats.images import block_norms, check_images, pair_distances

_ABSOLUTE: Final = 1e-5
"""eV, or 1 for S: |O − O†| that rounding in print explains. Wannier90 prints six decimals, the others more."""

_RELATIVE: Final = 1e-7
"""The same as a share of the largest element: older SIESTA files hold single precision."""

_ROUNDING: Final = 1e-10
"""|O − O†| that is left as it is, so that what is read is written back bit for bit."""

_EIGENVALUES: Final = 0.01
"""eV; beyond it H is not the one whose eigenvalues the code printed. Below, the last step of the SCF explains it."""

_DENSE: Final = 2000
"""Orbitals up to which S(k) is diagonalized in full."""

_MAX_K: Final = 9
"""k-points at which matrices are diagonalized, if they are small."""

_WORK: Final = 4e9
"""n_k · n_orb³ up to which k-points are added: some ten seconds on one core."""


def self_check(crystal: Crystal, place: str) -> tuple[Crystal, list[str]]:
    """Check H and S and say what was found; what rounding left asymmetric is symmetrized.

    Args:
        crystal: as read.
        place: name of the file, for messages.

    Raises:
        LabelError: H or S is not Hermitian, S is not positive definite, a pair lacks its reverse, or the eigenvalues
            are not those that the code printed.
        FileFormatError: S is largest between atoms far apart.
        BasisError: S is not symmetric about bonds, so its orbitals are not in the order of the format's code.
    """
    for name, operator in (("H", crystal.hamiltonian), ("S", crystal.overlap)):
        if not np.isfinite(operator.values).all():
            raise LabelError(
                f"{place}: {name} with elements that are not finite",
                expected="finite numbers",
                suggestion="the calculation failed or the file is damaged; compute it again",
            )
    notes = describe(crystal)
    hamiltonian, note_h = _hermitian(crystal.hamiltonian, "H", "eV", place)
    overlap, note_s = _hermitian(crystal.overlap, "S", "", place)
    crystal = replace(crystal, hamiltonian=hamiltonian, overlap=overlap)
    check_images(crystal.structure.positions, crystal.structure.cell, overlap, place)
    notes += [note_h, note_s, _positive(overlap, crystal.structure.pbc, place)]
    notes.append(check_axial_symmetry(overlap, crystal.structure, crystal.basis, place))
    if crystal.eigenvalues is None:
        notes.append("eigenvalues: the files have none of their own to compare with")
    else:
        notes.append(_compare(crystal, crystal.eigenvalues, place))
    return crystal, notes


def describe(crystal: Crystal) -> list[str]:
    """Structure, basis, spin, reach and electrons, a line each."""
    structure, basis, operator = crystal.structure, crystal.basis, crystal.hamiltonian
    shells = dict(zip(structure.symbols, (shell_names(basis, z) for z in structure.atomic_numbers), strict=True))
    names = "; ".join(f"{symbol} {text}" for symbol, text in shells.items())
    distances = pair_distances(operator, structure.positions, structure.cell)
    norms = block_norms(operator)
    reach = float(distances.max(initial=0.0))
    far = float(norms[distances > 0.8 * reach].max(initial=0.0))
    lines = [
        f"{crystal.code}{' ' + crystal.code_version if crystal.code_version else ''}: {structure.formula}, "
        f"{structure.n_atoms} atoms, cell {np.round(np.linalg.norm(structure.cell, axis=1), 3).tolist()} Å",
        f"basis: {names}; {operator.n_orbitals.sum()} orbitals",
        f"spin: {operator.spin}; {len(operator)} pairs of atoms",
        f"reach: {reach:.2f} Å; blocks of H beyond {0.8 * reach:.2f} Å are at most {far:.2g} eV",
    ]
    if crystal.n_electrons is not None:
        charge = f", charge {structure.charge:+d}" if structure.charge else ""
        lines.append(f"electrons: {crystal.n_electrons:g}{charge}")
    elif basis.valence is None:
        lines.append("electrons: the files do not say; --valence gives them, as in --valence B=3,N=5")
    if crystal.fermi_level is not None:
        lines.append(f"Fermi level of the file: {crystal.fermi_level:.4f} eV")
    return lines


def _hermitian(operator: BlockOperator, name: str, unit: str, place: str) -> tuple[BlockOperator, str]:
    largest = float(np.abs(operator.values).max(initial=0.0))
    tolerance = _ABSOLUTE + _RELATIVE * largest
    norms = block_norms(operator)
    missing = np.flatnonzero((norms == 0) & (norms[operator.partners] > tolerance))
    if len(missing):
        row = operator.partners[missing[0]]
        raise LabelError(
            f"{place}: {name} with {len(missing)} pairs that lack their reverse, such as (R, i, j) = "
            f"{operator.pairs[row].tolist()} with elements up to {np.abs(operator.block(int(row))).max():.3g} {unit}",
            expected="(−R, j, i) for each (R, i, j)",
            suggestion="let the code write the whole matrix, not one triangle (CP2K: UPPER_TRIANGULAR F)",
        )
    error = operator.hermiticity_error()
    if error > tolerance:
        raise LabelError(
            f"{place}: {name} that is not Hermitian: |{name} − {name}†| is up to {error:.3g} {unit}".rstrip(),
            expected=f"at most {tolerance:.1g} {unit}: what rounding in print explains".replace(" :", ":"),
            suggestion="check that the calculation converged, the spin layout, and that the file is of this structure",
        )
    note = f"{name} is Hermitian to {error:.1e} {unit}".rstrip()
    return (operator.symmetrized(), f"{note}; symmetrized") if error > _ROUNDING else (operator, note)


def _positive(overlap: BlockOperator, pbc: npt.NDArray[np.bool_], place: str) -> str:
    n_orb = int(overlap.n_orbitals.sum())
    sample = _k_sample(pbc)[: _affordable(n_orb)]
    if n_orb <= _DENSE:
        smallest = min(float(np.linalg.eigvalsh(bloch_matrix(overlap, k).toarray())[0]) for k in sample)
        where = f"over {len(sample)} k-points"
    else:
        matrix = bloch_matrix(overlap, sample[0]).real.tocsc()
        smallest = float(eigsh(matrix, k=1, sigma=-0.1, return_eigenvectors=False)[0])
        where = "at Γ"
    if smallest <= 0:
        raise LabelError(
            f"{place}: an overlap that is not positive definite, λ_min(S) = {smallest:.3g} {where}",
            expected="λ_min(S) > 0: an overlap is a Gram matrix",
            suggestion="check that S is complete (no cutoff below the orbitals' reach) and of this structure",
        )
    return f"λ_min(S) = {smallest:.2g} {where}: errors of H reach energies up to {1 / smallest:.0f}-fold"


def _k_sample(pbc: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Γ, one point of no symmetry, and the zone boundary."""
    gamma, *corners = product(*[(0.0, 0.5) if periodic else (0.0,) for periodic in pbc])
    return np.array([gamma, np.where(pbc, [0.137, 0.291, 0.418], 0.0), *corners])


def _affordable(n_orb: int) -> int:
    """Number of k-points whose diagonalization does not keep anybody waiting; at least one."""
    return max(1, min(_MAX_K, int(_WORK / n_orb**3)))


def _compare(crystal: Crystal, own: OwnEigenvalues, place: str) -> str:
    size = int(crystal.overlap.n_orbitals.sum()) * (2 if crystal.hamiltonian.spin == "spinor" else 1)
    chosen = np.unique(np.linspace(0, len(own.k_frac) - 1, _affordable(size)).round().astype(int))
    n_bands = own.energies.shape[2]
    worst, at = 0.0, own.k_frac[0]
    for k in chosen:
        try:
            computed = eigenvalues_at(crystal.hamiltonian, crystal.overlap, own.k_frac[k])
        except scipy.linalg.LinAlgError as error:
            raise LabelError(
                f"{place}: no eigenvalues of (H, S) at k = {np.round(own.k_frac[k], 4).tolist()} ({error})",
                expected="an overlap that is positive definite at every k",
                suggestion="check that S is complete (no cutoff below the orbitals' reach) and of this structure",
            ) from error
        if computed.shape[0] != own.energies.shape[0] or computed.shape[1] < n_bands:
            raise LabelError(
                f"{place}: {own.energies.shape[0]} spins with {n_bands} bands in {own.source}, but "
                f"{computed.shape[0]} with {computed.shape[1]} from H and S",
                expected="eigenvalues of this H",
                suggestion="check that all files are of one calculation",
            )
        difference = float(np.abs(computed[:, :n_bands] - own.energies[:, k]).max())
        if difference > worst:
            worst, at = difference, own.k_frac[k]
    if worst > _EIGENVALUES:
        raise LabelError(
            f"{place}: eigenvalues of (H, S) up to {worst:.3g} eV off those in {own.source}, at k = "
            f"{np.round(at, 4).tolist()}",
            expected=f"agreement to {_EIGENVALUES} eV",
            suggestion="check that all files are of one calculation, and that the SCF converged",
        )
    return f"eigenvalues: {n_bands} bands at {len(chosen)} k agree with {own.source} to {worst:.1e} eV"


def eigenvalues_at(
    hamiltonian: BlockOperator, overlap: BlockOperator, k_frac: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Eigenvalues of (H, S) at one k [unit of H]: (1, n_orb), (2, n_orb) collinear, (1, 2 n_orb) for spinors."""
    s = bloch_matrix(overlap, k_frac).toarray()
    components = [
        bloch_matrix(hamiltonian.component(c), k_frac).toarray()
        for c in range({"none": 1, "collinear": 2, "spinor": 4}[hamiltonian.spin])
    ]
    if hamiltonian.spin == "spinor":
        components = [np.block([components[:2], components[2:]])]
        s = np.kron(np.eye(2), s)
    return np.stack([scipy.linalg.eigh(h, s, eigvals_only=True) for h in components])


def bloch_matrix(operator: BlockOperator, k_frac: npt.NDArray[np.float64]) -> scipy.sparse.csr_array:
    """O(k) = Σ_R exp(2πi k·R) O(R) of an operator without spin, sparse, complex."""
    starts = np.concatenate([[0], np.cumsum(operator.n_orbitals)])
    sizes = np.diff(operator.offsets)
    i, j = np.repeat(operator.pairs[:, 3], sizes), np.repeat(operator.pairs[:, 4], sizes)
    first = np.repeat(operator.offsets[:-1], sizes)
    row, column = np.divmod(np.arange(operator.offsets[-1]) - first, operator.n_orbitals[j])
    phases = np.exp(2j * np.pi * (operator.pairs[:, :3] @ k_frac))
    values: npt.NDArray[Any] = operator.values * np.repeat(phases, sizes)
    return scipy.sparse.coo_array((values, (starts[i] + row, starts[j] + column)), shape=(starts[-1],) * 2).tocsr()
