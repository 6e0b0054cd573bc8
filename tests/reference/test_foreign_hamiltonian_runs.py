"""Real runs of CP2K and Wannier90, where they are installed: their files import, and their bands come back."""

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from adiabat.data.hamiltonian_formats.options import HamiltonianOptions
from adiabat.data.hamiltonian_formats.registry import read_hamiltonian

CP2K = next((path for name in ("cp2k.psmp", "cp2k.ssmp", "cp2k") if (path := shutil.which(name))), None)
EXAMPLE = Path("/usr/share/doc/wannier90/examples/example03")
"""Overlaps of silicon that Debian's wannier90-data brings."""

PLAIN = HamiltonianOptions()
HBN = """
&GLOBAL
 PROJECT hbn
 RUN_TYPE ENERGY
 PRINT_LEVEL MEDIUM
&END
&FORCE_EVAL
 METHOD QS
 &DFT
  &QS
   METHOD XTB
   &XTB
    DO_EWALD T
   &END
  &END
  &KPOINTS
   SCHEME MACDONALD 4 4 1 0.125 0.125 0.0
   FULL_GRID T
  &END
  &SCF
   EPS_SCF 1e-8
   &MIXING
    METHOD BROYDEN_MIXING
   &END
  &END
  &PRINT
   &KS_CSR_WRITE
    REAL_SPACE T
    UPPER_TRIANGULAR F
    BINARY {binary}
    THRESHOLD 0
   &END
   &S_CSR_WRITE
    REAL_SPACE T
    UPPER_TRIANGULAR F
    BINARY {binary}
    THRESHOLD 0
   &END
   &BAND_STRUCTURE
    FILE_NAME hbn.bs
    &KPOINT_SET
     SPECIAL_POINT G 0 0 0
     SPECIAL_POINT M 0.5 0 0
     NPOINTS 2
    &END
   &END
  &END
 &END
 &SUBSYS
  &CELL
   A 2.5 0 0
   B -1.25 2.1650635 0
   C 0 0 12
  &END
  &COORD
   SCALED
   B 0 0 0.5
   N 0.3333333 0.6666667 0.49
  &END
 &END
&END
"""


def last_number(note: str) -> float:
    return float(note.split()[-2])


@pytest.mark.skipif(CP2K is None, reason="CP2K is not installed")
@pytest.mark.parametrize("binary", ["T", "F"])
def test_bands_of_cp2k_come_back(binary: str, tmp_path: Path) -> None:
    (tmp_path / "hbn.inp").write_text(HBN.format(binary=binary))
    command = [str(CP2K), "-i", "hbn.inp", "-o", "hbn.log"]
    subprocess.run(
        command, cwd=tmp_path, check=True, timeout=120, env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    )
    record, notes = read_hamiltonian(tmp_path, "cp2k", PLAIN)
    # CP2K wrapped both atoms, at z = 1/2 and 0.49 and y = 2/3; images count from the input all the same.
    assert record.structure.positions[1, 2] == pytest.approx(5.88)
    assert "wrapped" in notes[0]
    assert last_number(notes[-1]) < 1e-7
    order = next(note for note in notes if note.startswith("orbital order"))
    assert float(re.search(r"to (\S+) of", order)[1]) < 1e-10
    assert record.provenance.orbital_basis.valence == {5: 3.0, 7: 5.0}
    assert record.labels["energy"] < -100


@pytest.mark.skipif(
    shutil.which("wannier90.x") is None or not EXAMPLE.is_dir(), reason="wannier90 and its data are not installed"
)
def test_bands_of_wannier90_come_back(tmp_path: Path) -> None:
    # The example projects on sp3; turned into s, z, x, y, and not localised further, functions stay orbitals.
    lines = gzip.decompress((EXAMPLE / "silicon.amn.gz").read_bytes()).decode().splitlines()
    n_bands, n_k, n_functions = map(int, lines[1].split())
    projections = np.zeros((n_k, n_bands, n_functions), dtype=complex)
    for line in lines[2:]:
        m, n, k, real, imaginary = line.split()[:5]
        projections[int(k) - 1, int(m) - 1, int(n) - 1] = float(real) + 1j * float(imaginary)
    hybrids = 0.5 * np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, -1, -1, 1], [1, 1, -1, -1]])
    turned = projections @ np.kron(np.eye(2), hybrids)
    rows = [f"{m + 1} {n + 1} {k + 1} {turned[k, m, n].real:.12f} {turned[k, m, n].imag:.12f}"
            for k in range(n_k) for n in range(n_functions) for m in range(n_bands)]  # fmt: skip
    (tmp_path / "silicon.amn").write_text("\n".join(["s, p", f"{n_bands} {n_k} {n_functions}", *rows]) + "\n")
    for suffix in ("mmn", "eig"):
        (tmp_path / f"silicon.{suffix}").write_bytes(gzip.decompress((EXAMPLE / f"silicon.{suffix}.gz").read_bytes()))
    text = re.sub(r"num_iter\s*=\s*\d+", "num_iter = 0", (EXAMPLE / "silicon.win").read_text())
    text = re.sub(r":\s*sp3", ":s;p", text)
    switches = "write_hr = .true.\nwrite_xyz = .true.\nbands_plot = .true.\nbands_num_points = 10\n"
    (tmp_path / "silicon.win").write_text(switches + text)
    subprocess.run(["wannier90.x", "silicon"], cwd=tmp_path, check=True, timeout=120)
    record, notes = read_hamiltonian(tmp_path, "wannier90", HamiltonianOptions(valence={14: 4.0}))
    assert "agree with silicon_band.dat" in notes[-1]
    # Six decimals of some hundred images.
    assert last_number(notes[-1]) < 2e-4
    assert record.provenance.orbital_basis.shells == {14: (0, 1)}
    bond = next(k for k, pair in enumerate(record.labels["hamiltonian"].pairs.tolist()) if pair[3] != pair[4]
                and np.linalg.norm(vector(record, pair)) < 2.5)  # fmt: skip
    block = record.labels["hamiltonian"].block(bond)
    # Along a bond s attracts the p that points away from it to the other atom: signs of the three p follow the bond.
    direction = vector(record, record.labels["hamiltonian"].pairs[bond].tolist())[[1, 2, 0]]
    np.testing.assert_allclose(np.sign(block[0, 1:]), np.sign(direction) * np.sign(block[0, 1] * direction[0]))


def vector(record: object, pair: list[int]) -> np.ndarray:
    structure = record.structure
    return structure.positions[pair[4]] + np.array(pair[:3]) @ structure.cell - structure.positions[pair[3]]
