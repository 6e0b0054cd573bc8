from pathlib import Path

import numpy as np
import pytest

from adiabat.core.errors import FileFormatError, LabelError
from adiabat.core.operators import BlockOperator
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions
from adiabat.data.hamiltonian_formats.registry import detect_format
from adiabat.data.hamiltonian_formats.wannier90 import read_wannier90
from adiabat.data.hamiltonian_formats.wannier90_win import assign_orbitals, read_win
from adiabat.data.structure import Structure
from foreign_files import write_wannier90

PLAIN = HamiltonianOptions()
CUBIC = ["begin unit_cell_cart", "4 0 0", "0 4 0", "0 0 4", "end unit_cell_cart"]
ATOMS = ["begin atoms_frac", "B 0 0 0", "N 0.4 0.3 0.2", "end atoms_frac"]


def chain(hopping: float = 1.0) -> dict[tuple[int, int, int], np.ndarray]:
    """Two s orbitals, coupled within the cell and to the next along x."""
    return {
        (-1, 0, 0): np.array([[0.0, 0.2 * hopping], [0.0, 0.0]]),
        (0, 0, 0): np.array([[-1.0, hopping], [hopping, -2.0]]),
        (1, 0, 0): np.array([[0.0, 0.0], [0.2 * hopping, 0.0]]),
    }


def block(operator: BlockOperator, *pair: int) -> np.ndarray:
    return operator.block(operator.pairs.tolist().index(list(pair)))


def test_elements_are_divided_by_the_degeneracy(tmp_path: Path) -> None:
    write_wannier90(chain(), ["B:s", "N:s"], [*CUBIC, *ATOMS], tmp_path, mesh=8)
    found = read_wannier90(tmp_path, PLAIN)
    assert detect_format(tmp_path) == "wannier90"
    assert block(found.hamiltonian, 0, 0, 0, 0, 1).item() == 1.0
    assert block(found.hamiltonian, -1, 0, 0, 0, 1).item() == 0.2
    assert found.hamiltonian.spin == "none"
    text = (tmp_path / "bn_hr.dat").read_text().splitlines()
    text[3] = "    2    1    2"
    (tmp_path / "bn_hr.dat").write_text("\n".join(text) + "\n")
    found = read_wannier90(tmp_path, PLAIN)
    assert block(found.hamiltonian, -1, 0, 0, 0, 1).item() == 0.1


def test_wsvec_spreads_an_element_over_its_copies(tmp_path: Path) -> None:
    write_wannier90(chain(), ["B:s", "N:s"], [*CUBIC, *ATOMS], tmp_path, mesh=8)
    lines = ["## written for a test"]
    for image in chain():
        for m in (1, 2):
            for n in (1, 2):
                copies = [[0, 0, 0], [8, 0, 0]] if (image, m, n) == ((-1, 0, 0), 1, 2) else [[0, 0, 0]]
                lines += [
                    " ".join(map(str, (*image, m, n))),
                    str(len(copies)),
                    *(" ".join(map(str, c)) for c in copies),
                ]
    (tmp_path / "bn_wsvec.dat").write_text("\n".join(lines) + "\n")
    found = read_wannier90(tmp_path, PLAIN)
    assert block(found.hamiltonian, -1, 0, 0, 0, 1).item() == 0.1
    assert block(found.hamiltonian, 7, 0, 0, 0, 1).item() == 0.1


def test_spinors_come_in_pairs_of_up_and_down(tmp_path: Path) -> None:
    spin = np.array([[0.1, 0.2j], [-0.2j, -0.1]])
    hamiltonian = {
        r: np.kron(h, np.eye(2)) + (np.kron(np.eye(2), spin) if r == (0, 0, 0) else 0) for r, h in chain().items()
    }
    write_wannier90(hamiltonian, ["B:s", "N:s"], [*CUBIC, *ATOMS], tmp_path, mesh=8, spinors=True)
    found = read_wannier90(tmp_path, PLAIN)
    assert found.hamiltonian.spin == "spinor"
    np.testing.assert_allclose(block(found.hamiltonian, 0, 0, 0, 1, 1).ravel(), [-1.9, 0.2j, -0.2j, -2.1], atol=1e-12)
    assert any("↑ and ↓ of each projection in turn" in note for note in found.notes)


def test_a_mesh_too_coarse_for_the_reach_is_refused_with_the_number(tmp_path: Path) -> None:
    write_wannier90(chain(), ["B:s", "N:s"], [*CUBIC, *ATOMS], tmp_path, mesh=2)
    with pytest.raises(LabelError, match=r"H of 0\.2 eV at the border of the k-mesh \(2, 2, 2\)"):
        read_wannier90(tmp_path, PLAIN)


def test_complex_hamiltonian_without_spinors_is_refused(tmp_path: Path) -> None:
    hamiltonian = chain()
    hamiltonian[0, 0, 0] = hamiltonian[0, 0, 0] + np.array([[0, 0.1j], [-0.1j, 0]])
    write_wannier90(hamiltonian, ["B:s", "N:s"], [*CUBIC, *ATOMS], tmp_path, mesh=8)
    with pytest.raises(LabelError, match=r"complex, imaginary parts up to 0\.1 eV"):
        read_wannier90(tmp_path, PLAIN)


@pytest.mark.parametrize("line", ["B:sp3", "B:l=1,mr=1", "random", "f=0.2,0.2,0.2:s", "B:s:z=1,0,0"])
def test_functions_that_are_no_shells_of_atoms_are_refused(line: str, tmp_path: Path) -> None:
    write_wannier90(chain(), [line, "N:s"], [*CUBIC, *ATOMS], tmp_path, mesh=8)
    with pytest.raises(FileFormatError, match="whole shells on atoms"):
        read_wannier90(tmp_path, PLAIN)


def test_functions_off_their_atoms_are_refused(tmp_path: Path) -> None:
    write_wannier90(chain(), ["B:s", "N:s"], [*CUBIC, *ATOMS], tmp_path, mesh=8)
    (tmp_path / "bn_centres.xyz").write_text("2\ncomment\nX 0.8 0.6 0.4\nX 1.6 1.2 0.8\n")
    with pytest.raises(FileFormatError, match=r"up to 1\.08 Å from the nearest B"):
        read_wannier90(tmp_path, PLAIN)


def test_centres_tell_the_copy_of_an_atom(tmp_path: Path) -> None:
    write_wannier90(chain(), ["B:s", "N:s"], [*CUBIC, *ATOMS], tmp_path, mesh=8)
    (tmp_path / "bn_centres.xyz").write_text("2\ncomment\nX 0 0 0\nX -2.4 1.2 0.8\n")
    found = read_wannier90(tmp_path, PLAIN)
    assert block(found.hamiltonian, -1, 0, 0, 0, 1).item() == 1.0


def test_missing_input_says_what_is_needed(tmp_path: Path) -> None:
    write_wannier90(chain(), ["B:s", "N:s"], [*CUBIC, *ATOMS], tmp_path, mesh=8)
    (tmp_path / "bn.win").unlink()
    with pytest.raises(FileFormatError, match=r"without bn\.win"):
        read_wannier90(tmp_path, PLAIN)


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    write_wannier90(chain(), ["B:s", "N:s"], [*CUBIC, *ATOMS], tmp_path, mesh=8)
    path = tmp_path / "bn_hr.dat"
    path.write_text("\n".join(path.read_text().splitlines()[:-2]) + "\n")
    with pytest.raises(FileFormatError, match="damaged or cut off"):
        read_wannier90(path, PLAIN)


def test_order_of_projections_is_by_line_atom_and_l(tmp_path: Path) -> None:
    structure = Structure(np.array([5, 7, 5]), np.array([[0, 0, 0], [1.6, 1.2, 0.8], [2, 2, 2.0]]), 4 * np.eye(3))
    found = assign_orbitals(["B : p;s", "f=0.4,0.3,0.2 : l=2"], structure, "bn.win")
    assert found == [(0, 0), (0, 1), (2, 0), (2, 1), (1, 2)]


def test_input_file_in_bohr(tmp_path: Path) -> None:
    path = tmp_path / "a.win"
    lines = ["mp_grid : 4 4 2", "Begin Unit_Cell_Cart", "bohr", "10 0 0", "0 10 0 ! comment", "0 0 10"]
    lines += ["end unit_cell_cart", "begin atoms_cart", "bohr", "Si1 5 5 0", "end atoms_cart", "fermi_energy = 1.5d0"]
    path.write_text("\n".join(lines) + "\n")
    found = read_win(path)
    assert found.structure is not None
    assert found.structure.positions[0, 0] == pytest.approx(2.645886, abs=1e-5)
    assert (found.fermi_level, found.mesh, found.spinors) == (1.5, (4, 4, 2), False)
