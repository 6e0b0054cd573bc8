"""A crystal written in each code's documented convention comes back in ours, and turns as D · D^T.

The files are made from integrals over the harmonics that the codes document (tests/support/analytic_crystals.py), not
from the package's own tables of orders and signs; so a wrong table cannot hide.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation

from adiabat.core import orbitals
from adiabat.core.errors import BasisError
from adiabat.core.operators import BlockOperator
from adiabat.data.hamiltonian_formats.deeph_legacy import write_deeph_legacy
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions
from adiabat.data.hamiltonian_formats.registry import read_hamiltonian
from adiabat.data.hamiltonian_formats.self_check import eigenvalues_at
from adiabat.data.record import Record
from adiabat.equivariant.wigner import wigner_d
from analytic_crystals import AnalyticCrystal
from foreign_files import write_abacus, write_cp2k, write_scfout, write_wannier90
from hamiltonian_files import boron_nitride, record_of
from siesta_files import write_siesta

EXACT = 1e-12
"""eV, or 1: binary files, and text with 17 digits."""
PRINTED = {"wannier90": 2e-6}
"""eV: six decimals."""
SPINS = {"none": {}, "collinear": {"exchange": 0.3}, "spinor": {"spin_orbit": 0.6}}
SP = {5: [(0, 1.8), (1, 1.6)], 7: [(0, 2.0), (1, 2.0)]}
SPDF = {5: [(0, 1.8), (1, 1.6), (2, 2.2)], 7: [(0, 2.0), (1, 2.0), (3, 2.4)]}
ROTATION = -Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()


def crystal(code: str, spin: str = "none", rotation: np.ndarray | None = None) -> AnalyticCrystal:
    turned = np.eye(3) if rotation is None else rotation
    base = boron_nitride()
    shells = SP if code == "cp2k" else SPDF
    harmonics = {"cp2k": "ours", "wannier90": "ours", "deeph-legacy": "ours"}.get(code, code)
    geometry = {"positions": base.positions @ turned.T, "cell": base.cell @ turned.T}
    return boron_nitride(harmonics, shells=shells, reach=2.8, **geometry, **SPINS[spin])


def write(code: str, made: AnalyticCrystal, folder: Path) -> Path:
    if code == "openmx":
        write_scfout(made, folder / "bn.scfout")
    elif code == "abacus":
        write_abacus(made, folder)
    elif code == "cp2k":
        write_cp2k(made, folder)
    elif code == "siesta":
        write_siesta(made, folder, "HSX")
    elif code == "deeph-legacy":
        write_deeph_legacy(record_of(made), folder)
    return folder


def read(code: str, path: Path) -> Record:
    return read_hamiltonian(path, code, HamiltonianOptions())[0]


def largest_difference(found: BlockOperator, expected: BlockOperator) -> float:
    pairs = np.unique(np.concatenate([found.pairs, expected.pairs]), axis=0)
    return float(np.abs(found.on_pairs(pairs).values - expected.on_pairs(pairs).values).max())


CASES = [
    ("openmx", "none"), ("openmx", "collinear"), ("openmx", "spinor"),
    ("abacus", "none"), ("abacus", "collinear"), ("abacus", "spinor"),
    ("siesta", "none"), ("siesta", "collinear"), ("siesta", "spinor"),
    ("cp2k", "none"), ("cp2k", "collinear"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "spin"), CASES)
def test_a_documented_convention_comes_back_in_ours(code: str, spin: str, tmp_path: Path) -> None:
    found = read(code, write(code, crystal(code, spin), tmp_path))
    ours = crystal(code, spin)
    expected = record_of(boron_nitride("ours", shells=ours.shells, reach=ours.reach, **SPINS[spin]))
    assert found.labels["hamiltonian"].spin == spin
    for name in ("hamiltonian", "overlap"):
        assert largest_difference(found.labels[name], expected.labels[name]) < EXACT
    assert found.structure.atomic_numbers.tolist() == [5, 7]
    np.testing.assert_allclose(found.structure.positions, expected.structure.positions, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.structure.cell, expected.structure.cell, rtol=0, atol=1e-9)


@pytest.mark.parametrize("code", ["openmx", "abacus", "siesta", "cp2k", "deeph-legacy"])
def test_what_is_read_turns_with_the_crystal(code: str, tmp_path: Path) -> None:
    folders = [tmp_path / "still", tmp_path / "turned"]
    for folder in folders:
        folder.mkdir()
    still = read(code, write(code, crystal(code), folders[0]))
    turned = read(code, write(code, crystal(code, rotation=ROTATION), folders[1]))
    matrix = torch.tensor(ROTATION)
    rotations = {
        int(z): block_diag(*(wigner_d(l, matrix).numpy() for l in still.provenance.orbital_basis.of(z)))
        for z in still.structure.atomic_numbers
    }
    numbers = still.structure.atomic_numbers
    for name in ("hamiltonian", "overlap"):
        first, second = still.labels[name], turned.labels[name]
        assert np.array_equal(first.pairs, second.pairs)
        for k, (*_, i, j) in enumerate(first.pairs):
            expected = rotations[numbers[i]] @ first.block(k) @ rotations[numbers[j]].T
            np.testing.assert_allclose(second.block(k), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("code", ["openmx", "abacus", "siesta"])
@pytest.mark.parametrize("other", ["openmx", "abacus", "siesta", "adiabat"])
def test_a_wrong_table_is_caught_by_the_bonds(
    code: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(code, crystal(code), tmp_path)
    if other == code:
        read(code, path)
        return
    identity = {l: (1,) * (2 * l + 1) for l in range(4)}
    monkeypatch.setitem(orbitals._ORDER, code, orbitals._ORDER[other])
    monkeypatch.setitem(orbitals._SIGN, code, orbitals._SIGN.get(other, identity))
    with pytest.raises(BasisError, match="turn about the bond"):
        read(code, path)


def test_wannier_functions_come_back_as_orbitals_of_their_atoms(tmp_path: Path) -> None:
    # Wannier90 lists p as z, x, y; an orthogonal basis, so H alone is compared.
    made = boron_nitride("ours", shells=SP, reach=2.2)
    order = [0, 2, 3, 1, 4, 6, 7, 5]  # s; z, x, y of each atom, among s; y, z, x
    hamiltonian = {r: h[np.ix_(order, order)] for r, h in made.hamiltonian().items()}
    geometry = ["begin unit_cell_cart", *(" ".join(map(repr, row)) for row in made.cell.tolist()), "end unit_cell_cart"]
    geometry += [
        "begin atoms_cart",
        *(f"{s} {' '.join(map(repr, x))}" for s, x in zip("BN", made.positions.tolist(), strict=True)),
    ]
    write_wannier90(hamiltonian, ["B:s;p", "N:p;s"], [*geometry, "end atoms_cart"], tmp_path, mesh=8)
    found = read("wannier90", tmp_path)
    expected = record_of(made).labels["hamiltonian"]
    assert largest_difference(found.labels["hamiltonian"], expected) < PRINTED["wannier90"]
    overlap = found.labels["overlap"]
    onsite = [k for k, pair in enumerate(overlap.pairs.tolist()) if pair[:3] == [0, 0, 0] and pair[3] == pair[4]]
    assert all(np.array_equal(overlap.block(k), np.eye(4)) for k in onsite)
    assert float(np.abs(overlap.values).sum()) == 8.0


@pytest.mark.parametrize("code", ["openmx", "abacus", "siesta"])
def test_spinors_of_a_crystal_without_magnetism_come_in_kramers_pairs(code: str, tmp_path: Path) -> None:
    record = read(code, write(code, crystal(code, "spinor"), tmp_path))
    hamiltonian, overlap = record.labels["hamiltonian"], record.labels["overlap"]
    # The crystal has no inversion: pairs stand at k = −k only.
    for k in ([0.0, 0.0, 0.0], [0.5, 0.0, 0.5]):
        energies = eigenvalues_at(hamiltonian, overlap, np.array(k))[0]
        assert np.abs(energies[::2] - energies[1::2]).max() < 1e-10
        # ↓↓ with the wrong sign of its imaginary part, as a mistaken layout would have it, splits them.
        values = hamiltonian.values.copy()
        values[3] = values[3].conj()
        split = eigenvalues_at(hamiltonian.with_values(values), overlap, np.array(k))[0]
        assert np.abs(split[::2] - split[1::2]).max() > 1e-3
