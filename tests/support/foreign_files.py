"""Writers of other codes' files for tests, by the formats' documentation, from crystals over that code's harmonics."""

import struct
from pathlib import Path

import numpy as np

from adiabat.core.units import BOHR, HARTREE, RYDBERG
from analytic_crystals import AnalyticCrystal
from hamiltonian_files import blocks_of, spin_of

SYMBOLS = {5: "B", 7: "N"}


def pao(crystal: AnalyticCrystal, number: int) -> str:
    """``B6.0-s1p1d1``; OpenMX counts shells by l."""
    ls = [l for l, _ in crystal.shells[number]]
    return f"{SYMBOLS[number]}6.0-" + "".join(f"{'spdf'[l]}{ls.count(l)}" for l in sorted(set(ls)))


def write_scfout(crystal: AnalyticCrystal, path: Path, *, version: int = 3, fermi_level: float = -3.25) -> None:
    """OpenMX's binary file: integers and doubles without record marks. Version 3 is 3.9's, 0 is 3.7's and 3.8's."""
    h, s = blocks_of(crystal, crystal.hamiltonian()), blocks_of(crystal, crystal.overlap())
    images = sorted({key[:3] for key in s}, key=lambda r: (r != (0, 0, 0), r))
    n_atoms = len(crystal.numbers)
    # Each atom's own pair comes first.
    neighbors = [
        sorted((k for k in s if k[3] == i), key=lambda k, i=i: (k != (0, 0, 0, i, i), k)) for i in range(n_atoms)
    ]
    keys = [key for own in neighbors for key in own]
    switch = {"none": 0, "collinear": 1, "spinor": 3}[spin_of(crystal)]
    out = bytearray()

    def integers(*values: int) -> None:
        out.extend(struct.pack(f"<{len(values)}i", *values))

    def doubles(values: object) -> None:
        out.extend(np.ascontiguousarray(values, dtype="<f8").tobytes())

    integers(n_atoms, 4 * version + switch, n_atoms, 0, 0, len(images) - 1)
    if version == 3:
        integers(1)
    padded = lambda rows: np.column_stack([np.zeros(len(rows)), rows])  # noqa: E731
    doubles(padded(np.array(images) @ crystal.cell / BOHR))
    integers(*padded(np.array(images)).astype(int).ravel())
    integers(*crystal.n_orbitals)
    integers(*(len(own) - 1 for own in neighbors))
    integers(*(key[4] + 1 for key in keys))
    integers(*(images.index(key[:3]) for key in keys))
    doubles(padded(crystal.cell / BOHR))
    doubles(padded(2 * np.pi * np.linalg.inv(crystal.cell / BOHR).T))
    doubles(padded(crystal.positions / BOHR))
    if switch == 0:
        parts = [[h[key] for key in keys]]
    elif switch == 1:
        parts = [[h[key][spin] for key in keys] for spin in (0, 1)]
    else:
        # ↑↑ and ↓↓ real, ↑↓ real and imaginary; then imaginary ↑↑, ↓↓, and what spin–orbit adds to ↑↓ (zero here).
        up, up_down, down = ([h[key][c] for key in keys] for c in (0, 1, 3))
        parts = [[b.real for b in up], [b.real for b in down], [b.real for b in up_down], [b.imag for b in up_down]]
        parts += [[b.imag for b in up], [b.imag for b in down], [0 * b.real for b in up_down]]
    for part in parts:
        doubles(np.concatenate([block.ravel() for block in part]) / HARTREE)
    flat_s = np.concatenate([s[key].ravel() for key in keys])
    doubles(flat_s)
    for _ in range(3 + (3 if version == 3 else 0) + (switch + 1) + 2):  # positions, momenta, DM, iDM
        doubles(np.full_like(flat_s, 0.125))
    integers(3)
    doubles([fermi_level / HARTREE, 1e-3, 0, 0, 0, 0, 0, 0, 8.0, 0.0])
    species = sorted(set(crystal.numbers))
    lines = ["<Definition.of.Atomic.Species"]
    lines += [f" {SYMBOLS[z]} {pao(crystal, z)} {SYMBOLS[z]}_PBE19" for z in species]
    lines += ["Definition.of.Atomic.Species>", "<Atoms.SpeciesAndCoordinates"]
    electrons = {5: 1.5, 7: 2.5}
    for n, (z, x) in enumerate(zip(crystal.numbers, crystal.positions, strict=True)):
        lines.append(f" {n + 1} {SYMBOLS[z]} {x[0]} {x[1]} {x[2]} {electrons[z]} {electrons[z]}")
    lines.append("Atoms.SpeciesAndCoordinates>")
    integers(len(lines))
    for line in lines:
        out.extend(line.encode().ljust(256, b"\0"))
    path.write_bytes(bytes(out))


def write_openmx_eigenvalues(bands: np.ndarray, k_points: np.ndarray, path: Path) -> None:
    """The part of OpenMX's ``.out`` with eigenvalues at k-points."""
    lines = ["           Eigenvalues (Hartree) for SCF KS-eq.           ", ""]
    for n, k in enumerate(k_points):
        lines += [f"   kloop={n}", f"   k1=  {k[0]:.5f} k2=  {k[1]:.5f} k3=  {k[2]:.5f}", ""]
        lines += [
            f"{b + 1:5d} " + " ".join(f"{e / HARTREE:19.14f}" for e in bands[:, n, b]) for b in range(bands.shape[2])
        ]
        lines.append("")
    path.write_text("\n".join(lines))


def write_abacus(crystal: AnalyticCrystal, folder: Path, *, generation: str = "old") -> None:
    """STRU, and H and S of ``out_mat_hs2 1`` in ``OUT.bn``."""
    folder.joinpath("OUT.bn").mkdir(parents=True)
    names = {"old": ("data-HR-sparse_SPIN{}.csr", "data-SR-sparse_SPIN0.csr"), "new": ("hrs{}_nao.csr", "srs1_nao.csr")}
    spin, h, s = spin_of(crystal), crystal.hamiltonian(), crystal.overlap()
    if spin == "spinor":
        h = {r: _interleaved(four) for r, four in h.items()}
        s = {r: np.kron(m, np.eye(2)).astype(complex) for r, m in s.items()}
    components = [{r: m[c] for r, m in h.items()} for c in (0, 1)] if spin == "collinear" else [h]
    for c, component in enumerate(components):
        name = names[generation][0].format(c if generation == "old" else c + 1)
        scaled = {r: m / RYDBERG for r, m in component.items()}
        (folder / "OUT.bn" / name).write_text(_abacus_csr(scaled, "H", generation))
    (folder / "OUT.bn" / names[generation][1]).write_text(_abacus_csr(s, "S", generation))
    species = sorted(set(crystal.numbers))
    orbitals = [f"{SYMBOLS[z]}_gga_6au_100Ry_{pao_of_abacus(crystal, z)}.orb" for z in species]
    lines = ["ATOMIC_SPECIES", *(f"{SYMBOLS[z]} 1.0 {SYMBOLS[z]}.upf" for z in species)]
    lines += ["NUMERICAL_ORBITAL", *orbitals, "LATTICE_CONSTANT", repr(1.0 / BOHR), "LATTICE_VECTORS"]
    lines += [" ".join(map(repr, row)) for row in crystal.cell.tolist()]
    lines += ["ATOMIC_POSITIONS", "Direct // fractions of the cell"]
    fractional = crystal.positions @ np.linalg.inv(crystal.cell)
    for z in species:
        own = [x for number, x in zip(crystal.numbers, fractional, strict=True) if number == z]
        lines += [
            SYMBOLS[z],
            "0.0 # magnetism",
            str(len(own)),
            *(f"{x[0]!r} {x[1]!r} {x[2]!r} m 1 1 1" for x in (p.tolist() for p in own)),
        ]
    (folder / "STRU").write_text("\n".join(lines) + "\n")
    log = "ABACUS v3.8.1\n        electron number of element B = 3\n        electron number of element N = 5\n"
    log += "            AUTOSET number of electrons:  = 8\n EFERMI = -3.25 eV\n"
    (folder / "OUT.bn" / "running_scf.log").write_text(log)


def pao_of_abacus(crystal: AnalyticCrystal, number: int) -> str:
    ls = [l for l, _ in crystal.shells[number]]
    return "".join(f"{ls.count(l)}{'spdf'[l]}" for l in sorted(set(ls)))


def _interleaved(four: np.ndarray) -> np.ndarray:
    """↑ and ↓ of each orbital behind each other."""
    n = four.shape[1]
    whole = np.zeros((2 * n, 2 * n), dtype=complex)
    for c, block in enumerate(four):
        whole[c // 2 :: 2, c % 2 :: 2] = block
    return whole


def _abacus_csr(matrices: dict, name: str, generation: str) -> str:
    size = len(next(iter(matrices.values())))
    if generation == "old":
        lines = ["STEP: 0", f"Matrix Dimension of {name}(R): {size}", f"Matrix number of {name}(R): {len(matrices)}"]
    else:
        lines = [
            " --- Ionic Step 1 ---",
            f" # print {name} matrix in real space {name}(R)",
            " 1 # number of spin directions",
        ]
        lines += [
            " 1 # spin index",
            f" {size} # number of localized basis",
            f" {len(matrices)} # number of Bravais lattice vector R",
        ]
        lines += [
            "",
            " user_defined_lattice",
            " 1.0",
            " 0 0 1",
            " Direct",
            " #-----#",
            " #  CSR Format  #",
            " #-----#",
            "",
        ]
    for image, matrix in matrices.items():
        rows, columns = np.nonzero(matrix)
        lines.append(" ".join(map(str, (*image, len(rows)))))
        if not len(rows):
            continue
        values = matrix[rows, columns]
        words = [f"({v.real:.16e},{v.imag:.16e})" if np.iscomplexobj(values) else f"{v:.16e}" for v in values]
        pointers = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=size))])
        titles = (
            ["", "", ""] if generation == "old" else [" # CSR values", " # CSR column indices", " # CSR row pointers"]
        )
        for title, part in zip(titles, (words, columns, pointers), strict=True):
            lines += ([title] if title else []) + [" " + " ".join(map(str, part))]
    return "\n".join(lines) + "\n"


def write_cp2k(crystal: AnalyticCrystal, folder: Path, *, binary: bool = True) -> None:
    """CSR files, input and the parts of the log that are read, for s and p shells."""
    folder.mkdir(parents=True, exist_ok=True)
    spin, h, s = spin_of(crystal), crystal.hamiltonian(), crystal.overlap()
    images = list(s)
    log = [
        " CP2K| version string:                 CP2K version 2023.1",
        " CP2K| Input file name                 bn.inp",
        " GLOBAL| Project name                  bn",
        "",
    ]
    for n, z in enumerate(sorted(set(crystal.numbers))):
        log += [f"  {n + 1}. Atomic kind: {SYMBOLS[z]}                Number of atoms:       1", ""]
        log += [
            "     Orbital Basis Set                            toy",
            "",
            "                        Set   Shell   Orbital            Exponent    Coefficient",
            "",
        ]
        for shell, (l, exponent) in enumerate(crystal.shells[z]):
            for axis in "xyz" if l else [""]:
                log.append(f"{1:27d} {shell + 1:7d}    2{'spdf'[l]}{axis} {exponent:20.6f} {0.1:14.6f}")
        log += ["", "     GTH Potential information for", ""]
    log += [f"                             - Atoms:                   {len(crystal.numbers)}", ""]
    log += [" MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM", ""]
    electrons = {5: 3.0, 7: 5.0}
    for n, (z, x) in enumerate(zip(crystal.numbers, crystal.positions, strict=True)):
        log.append(f"  {n + 1} 1 {SYMBOLS[z]} {z} {x[0]:.6f} {x[1]:.6f} {x[2]:.6f} {electrons[z]:.4f} 10.8110")
    log += ["", " Number of electrons:                 8", ""]
    for quantity, matrices in (("KS", h), ("S", s)):
        log += [f" {quantity} CSR write|  {len(images)} periodic images", "      Number    X      Y      Z"]
        log += [f"  {n + 1} {r[0]} {r[1]} {r[2]}" for n, r in enumerate(images)]
        for component in range(2 if (quantity, spin) == ("KS", "collinear") else 1):
            for n, image in enumerate(images):
                matrix = matrices[image] if matrices[image].ndim == 2 else matrices[image][component]
                matrix = matrix / HARTREE if quantity == "KS" else matrix
                name = f"bn-{quantity}_SPIN_{component + 1}_R_{n + 1}-1_0.csr"
                (folder / name).write_bytes(_cp2k_csr(matrix, binary=binary))
    (folder / "bn.log").write_text("\n".join(log) + "\n")
    rows = [f"   {key} {' '.join(map(repr, row))}" for key, row in zip("ABC", crystal.cell.tolist(), strict=True)]
    atoms = [
        f"   {SYMBOLS[z]} {' '.join(map(repr, x))}"
        for z, x in zip(crystal.numbers, crystal.positions.tolist(), strict=True)
    ]
    (folder / "bn.inp").write_text(
        "\n".join(["&SUBSYS", "  &CELL", *rows, "  &END", "  &COORD", *atoms, "  &END", "&END", ""])
    )


def _cp2k_csr(matrix: np.ndarray, *, binary: bool) -> bytes:
    rows, columns = np.nonzero(matrix)
    if binary:
        records = [
            struct.pack("<iiidi", 16, r + 1, c + 1, matrix[r, c], 16) for r, c in zip(rows, columns, strict=True)
        ]
        return b"".join(records)
    return "".join(f"{r + 1:8d}{c + 1:8d} {matrix[r, c]:.17e}\n" for r, c in zip(rows, columns, strict=True)).encode()


def write_wannier90(
    hamiltonian: dict,
    projections: list[str],
    structure_lines: list[str],
    folder: Path,
    *,
    mesh: int,
    spinors: bool = False,
) -> None:
    """``bn_hr.dat`` and ``bn.win``; each R has degeneracy one unless it lies on the border of the mesh's supercell."""
    folder.mkdir(parents=True, exist_ok=True)
    n_functions = len(next(iter(hamiltonian.values())))
    degeneracy = [2 ** sum(2 * abs(x) == mesh for x in image) for image in hamiltonian]
    lines = [" written for a test", f"  {n_functions}", f"  {len(hamiltonian)}"]
    lines += ["".join(f"{d:5d}" for d in degeneracy[start : start + 15]) for start in range(0, len(degeneracy), 15)]
    for (image, matrix), d in zip(hamiltonian.items(), degeneracy, strict=True):
        for column in range(n_functions):
            for row in range(n_functions):
                value = complex(matrix[row, column]) * d
                index = "".join(f"{n:5d}" for n in (*image, row + 1, column + 1))
                lines.append(f"{index}{value.real:12.6f}{value.imag:12.6f}")
    (folder / "bn_hr.dat").write_text("\n".join(lines) + "\n")
    win = [f"num_wann = {n_functions}", f"mp_grid : {mesh} {mesh} {mesh}", f"spinors = .{str(spinors).lower()}."]
    win += [*structure_lines, "begin projections", *projections, "end projections"]
    (folder / "bn.win").write_text("\n".join(win) + "\n")
