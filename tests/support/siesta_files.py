"""SIESTA's files from an analytic crystal over SIESTA's harmonics, written by sisl, with the bands in .EIG and .KP."""

import warnings
from pathlib import Path

import numpy as np
import sisl
from scipy.linalg import eigh
from scipy.sparse import csr_matrix

from analytic_crystals import AnalyticCrystal
from hamiltonian_files import structure_of

K_POINTS = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.1, 0.3, -0.2]])


def sisl_hamiltonian(crystal: AnalyticCrystal, shift: float = 0.0) -> sisl.Hamiltonian:
    """sisl's matrix of a crystal, each H lowered by ``shift`` times S."""
    images = np.array(list(crystal.overlap()))
    atoms = []
    for number in crystal.numbers:
        orbitals = []
        zetas: dict[int, int] = {}
        for l, _ in crystal.shells[number]:
            zetas[l] = zetas.get(l, 0) + 1
            orbitals += [sisl.AtomicOrbital(n=l + 1, l=l, m=m, zeta=zetas[l], R=4.0) for m in range(-l, l + 1)]
        atoms.append(sisl.Atom(number, orbitals))
    nsc = 2 * np.abs(images).max(axis=0) + 1
    geometry = sisl.Geometry(crystal.positions, atoms, lattice=sisl.Lattice(crystal.cell, nsc=nsc))
    spin = sisl.Spin({"none": "unpolarized", "collinear": "polarized", "spinor": "spin-orbit"}[_spin(crystal)])
    h, s = crystal.hamiltonian(), crystal.overlap()
    order = [tuple(map(int, image)) for image in geometry.lattice.sc_off]
    zero = np.zeros_like(next(iter(s.values())))
    parts = [_real_parts(h.get(r, 0 * h[0, 0, 0]), s.get(r, zero), shift) for r in order]
    rows = [csr_matrix(np.hstack([own[k] for own in parts])) for k in range(len(parts[0]))]
    overlap = csr_matrix(np.hstack([s.get(r, zero) for r in order]))
    return sisl.Hamiltonian.fromsp(geometry, rows, S=overlap, spin=spin)


def _spin(crystal: AnalyticCrystal) -> str:
    if crystal.exchange is not None:
        return "collinear"
    return "none" if crystal.spin_orbit is None else "spinor"


def _real_parts(h: np.ndarray, s: np.ndarray, shift: float) -> list[np.ndarray]:
    """sisl's real components: ↑↑, ↓↓, ↑↓ (re, im), then imaginary ↑↑ and ↓↓, and ↓↑ (re, im)."""
    if h.ndim == 2:
        return [h - shift * s]
    if len(h) == 2:
        return [h[0] - shift * s, h[1] - shift * s]
    up, up_down, down_up, down = h
    parts = [up.real - shift * s, down.real - shift * s, up_down.real, up_down.imag]
    return [*parts, up.imag, down.imag, down_up.real, down_up.imag]


def write_siesta(crystal: AnalyticCrystal, folder: Path, kind: str) -> np.ndarray:
    """Files of one kind, ``HSX``, ``TSHS`` or ``nc``, and .EIG, .KP; returns the bands (spin, k, band).

    sisl writes a Fermi level of zero, so H goes into the file as it is.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matrix = sisl_hamiltonian(crystal)
        matrix.write(folder / f"bn.{kind}")
        if kind != "HSX":
            write_orbital_index(crystal, folder / "bn.ORB_INDX")
    bands = bands_of(crystal, K_POINTS)
    n_spins, n_k, n_bands = bands.shape
    lines = ["  0.0000", f" {n_bands} {n_spins} {n_k}"]
    for k in range(n_k):
        lines.append(f"{k + 1:5d} " + " ".join(f"{e:.9f}" for e in bands[:, k].ravel()))
    (folder / "bn.EIG").write_text("\n".join(lines) + "\n")
    reciprocal = 2 * np.pi * np.linalg.inv(structure_of(crystal).cell).T
    rows = [f"{n + 1} {' '.join(repr(float(x)) for x in k)} 1.0" for n, k in enumerate(K_POINTS @ reciprocal * BOHR)]
    (folder / "bn.KP").write_text(f"{n_k}\n" + "\n".join(rows) + "\n")
    return bands


BOHR = sisl.unit.siesta.unit_convert("Bohr", "Ang")


def write_orbital_index(crystal: AnalyticCrystal, path: Path) -> None:
    """SIESTA's table of orbitals, columns io ia is spec iao n l m z p sym rc isc iuo."""
    images = np.array(list(crystal.overlap()))
    span = np.abs(images).max(axis=0)
    n_orb = int(crystal.n_orbitals.sum())
    cells = sorted(
        {
            (x, y, z)
            for x in range(-span[0], span[0] + 1)
            for y in range(-span[1], span[1] + 1)
            for z in range(-span[2], span[2] + 1)
        },
        key=lambda r: r != (0, 0, 0),
    )
    lines = [f"{n_orb} {n_orb * len(cells)} = orbitals in unit cell and supercell. See end of file.", "", "header"]
    count = 0
    for cell in cells:
        own = 0
        for atom, number in enumerate(crystal.numbers):
            zetas: dict[int, int] = {}
            on_atom = 0
            for l, _ in crystal.shells[number]:
                zetas[l] = zetas.get(l, 0) + 1
                for m in range(-l, l + 1):
                    count, own, on_atom = count + 1, own + 1, on_atom + 1
                    symbol = {5: "B", 7: "N"}[number]
                    species = sorted(set(crystal.numbers)).index(number) + 1
                    fields = [
                        count,
                        atom + 1,
                        species,
                        symbol,
                        on_atom,
                        l + 1,
                        l,
                        m,
                        zetas[l],
                        "F",
                        "x",
                        5.0,
                        *cell,
                        own,
                    ]
                    lines.append(" ".join(map(str, fields)))
    path.write_text("\n".join(lines) + "\n")


def bands_of(crystal: AnalyticCrystal, k_points: np.ndarray) -> np.ndarray:
    """Bands straight from the crystal's matrices, (spin, k, band)."""
    h, s = crystal.hamiltonian(), crystal.overlap()
    result = []
    for k in k_points:
        phases = {image: np.exp(2j * np.pi * np.dot(k, image)) for image in s}
        h_k = sum(phases[image] * h[image] for image in s)
        s_k = sum(phases[image] * s[image] for image in s)
        if h_k.ndim == 2:
            blocks = [h_k]
        elif len(h_k) == 2:
            blocks = [h_k[0], h_k[1]]
        else:
            blocks, s_k = [np.block([[h_k[0], h_k[1]], [h_k[2], h_k[3]]])], np.kron(np.eye(2), s_k)
        result.append([eigh(block, s_k, eigvals_only=True) for block in blocks])
    return np.array(result).transpose(1, 0, 2)
