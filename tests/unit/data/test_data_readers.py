import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from adiabat.core.errors import ConfigError, FileFormatError, LabelError, StructureError
from adiabat.core.units import BOHR, GPA, HARTREE, KBAR
from adiabat.data.isolated_atom import is_isolated_atom
from adiabat.data.label_keys import LabelKeys
from adiabat.data.label_units import LabelUnits
from adiabat.data.readers import ReadOptions, read_file, read_records


@pytest.fixture(scope="session")
def messy(repository):
    return repository / "tests" / "data" / "messy"


def xyz(path, comment, rows=("H 0 0 0", "H 0 0 0.74")):
    path.write_text(f"{len(rows)}\n{comment}\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_capital_energy_and_a_box_that_is_no_periodicity(messy):
    reading = read_file(messy / "ethanol.xyz")
    assert reading.keys == LabelKeys(energy="Energy", forces="forces")
    assert any("treated as a molecule; --keep-cell" in note for note in reading.notes)
    record = reading.records[0]
    assert not record.structure.pbc.any()
    assert not record.structure.cell.any()
    assert float(record.labels["energy"]) == -4209.783455217897
    assert "Energy" not in record.structure.info


def test_the_box_is_kept_on_request(messy):
    record = read_file(messy / "ethanol.xyz", ReadOptions(keep_cell=True)).records[0]
    assert record.structure.pbc.all()
    np.testing.assert_array_equal(record.structure.cell, 50 * np.eye(3))


def test_a_box_that_says_it_is_periodic_is_believed(tmp_path):
    path = xyz(tmp_path / "a.xyz", 'Lattice="30 0 0 0 30 0 0 0 30" pbc="T T T" energy=-31')
    reading = read_file(path)
    assert reading.records[0].structure.pbc.all()
    assert any("vacuum surround" in note for note in reading.notes)


def test_a_slab_is_no_molecule(tmp_path):
    rows = [f"Cu {x} {y} 0" for x in (0, 2.5) for y in (0, 2.5)]
    path = xyz(tmp_path / "slab.xyz", 'Lattice="5 0 0 0 5 0 0 0 40" energy=-1', rows)
    assert read_records(path)[0].structure.pbc.all()


def test_a_molecule_across_the_boundary_is_still_one(tmp_path):
    rows = ["H 0 0 0.3", "H 0 0 49.6"]
    path = xyz(tmp_path / "wrapped.xyz", 'Lattice="50 0 0 0 50 0 0 0 50" energy=-1', rows)
    # Dropping the cell would tear it apart: its atoms stand 49 Å from each other without the image.
    structure = read_records(path)[0].structure
    assert np.linalg.norm(structure.positions[0] - structure.positions[1]) == pytest.approx(0.7)
    assert not structure.pbc.any()


def test_isolated_atoms_are_known_and_need_no_forces(messy):
    records = read_records(messy / "isolated_atoms.xyz")
    assert all(is_isolated_atom(record.structure) for record in records)
    assert [list(record.labels) for record in records] == [["energy"]] * 3
    assert not any(is_isolated_atom(record.structure) for record in read_records(messy / "acetylacetone.xyz"))


def test_raw_vasp_stress(messy):
    reading = read_file(messy / "silicon_strained.xyz")
    assert reading.keys.stress == "vasp_stress_raw"
    assert any("kbar, positive under compression" in note and "xx yy zz xy yz zx" in note for note in reading.notes)
    compressed = reading.records[0]
    assert compressed.structure.cell[0, 0] < 10.9
    assert compressed.labels["stress"][0, 0] < 0, "negative under compression"


def test_vasp_order_sign_and_unit(tmp_path):
    path = xyz(tmp_path / "v.xyz", 'Lattice="3 0 0 0 3 0 0 0 3" vasp_stress_raw="1 2 3 4 5 6" energy=1')
    stress = read_records(path)[0].labels["stress"]
    np.testing.assert_allclose(stress, -KBAR * np.array([[1, 4, 6], [4, 2, 5], [6, 5, 3]]))


def test_ase_stress_and_explicit_convention(tmp_path):
    path = xyz(tmp_path / "v.xyz", 'Lattice="3 0 0 0 3 0 0 0 3" my_stress="1 2 3 4 5 6" energy=1')
    np.testing.assert_allclose(read_records(path)[0].labels["stress"], [[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    units = LabelUnits(stress="GPa", stress_order="xx yy zz xy zx yz", stress_sign=-1)
    stress = read_records(path, options=ReadOptions(units=units))[0].labels["stress"]
    np.testing.assert_allclose(stress, -GPA * np.array([[1, 4, 5], [4, 2, 6], [5, 6, 3]]))


def test_virial_is_minus_volume_times_stress(tmp_path):
    path = xyz(tmp_path / "v.xyz", 'Lattice="3 0 0 0 3 0 0 0 3" virial="1 0 0 0 2 0 0 0 3" energy=1')
    np.testing.assert_allclose(read_records(path)[0].labels["stress"], -np.diag([1, 2, 3]) / 27)


def test_stress_agrees_with_ase(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    atoms.calc = EMT()
    atoms.get_stress()
    write(tmp_path / "cu.xyz", atoms)
    write(tmp_path / "cu.traj", atoms)
    for name in ("cu.xyz", "cu.traj"):
        labels = read_records(tmp_path / name)[0].labels
        np.testing.assert_allclose(labels["stress"], atoms.get_stress(voigt=False), atol=1e-7)
        np.testing.assert_allclose(labels["forces"], atoms.get_forces(), atol=1e-7)
        assert float(labels["energy"]) == pytest.approx(atoms.get_potential_energy())


def test_two_energies_that_disagree_are_refused(tmp_path):
    path = xyz(tmp_path / "two.xyz", "energy=-31.0 REF_energy=-32.0")
    with pytest.raises(LabelError, match="may be the energy and differ in frame 0") as caught:
        read_file(path)
    assert "'energy' (-31)" in caught.value.got
    assert "'REF_energy' (-32)" in caught.value.got
    assert "--energy-key" in caught.value.suggestion
    assert float(read_records(path, keys=LabelKeys(energy="REF_energy"))[0].labels["energy"]) == -32.0


def test_two_energies_that_agree_are_one(tmp_path):
    assert read_file(xyz(tmp_path / "two.xyz", "energy=-31.0 dft_energy=-31.0")).keys.energy == "energy"


@pytest.mark.parametrize("other", ["free_energy", "energy_per_atom", "formation_energy", "kinetic_energy"])
def test_other_energies_are_no_candidates(tmp_path, other):
    assert read_file(xyz(tmp_path / "a.xyz", f"energy=-31.0 {other}=5.0")).keys.energy == "energy"


@pytest.mark.parametrize("key", ["Energy", "TotEnergy", "dft_total_energy", "TOTEN", "energy_pbe"])
def test_energy_under_any_name(tmp_path, key):
    assert read_file(xyz(tmp_path / "a.xyz", f"{key}=-31.0")).keys.energy == key


def test_forces_under_another_name_and_gradients(tmp_path):
    rows = ("H 0 0 0 0 0 1", "H 0 0 0.74 0 0 -1")
    plain = xyz(tmp_path / "f.xyz", "Properties=species:S:1:pos:R:3:dft_force:R:3 energy=1", rows)
    gradient = xyz(tmp_path / "g.xyz", "Properties=species:S:1:pos:R:3:gradient:R:3 energy=1", rows)
    assert read_records(plain)[0].labels["forces"][0, 2] == 1
    assert read_records(gradient)[0].labels["forces"][0, 2] == -1


def test_unknown_key_suggests_the_nearest(tmp_path):
    with pytest.raises(LabelError, match="'Enrgy', which is in no frame") as caught:
        read_records(xyz(tmp_path / "a.xyz", "Energy=-31.0"), keys=LabelKeys(energy="Enrgy"))
    assert "Energy" in caught.value.suggestion


def test_units(tmp_path):
    rows = ("H 0 0 0 0 0 1", "H 0 0 1.4 0 0 -1")
    path = xyz(tmp_path / "au.xyz", "Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.16", rows)
    units = LabelUnits(energy="hartree", forces="hartree/bohr", positions="bohr")
    record = read_records(path, options=ReadOptions(units=units))[0]
    assert float(record.labels["energy"]) == pytest.approx(-1.16 * HARTREE)
    assert record.labels["forces"][0, 2] == pytest.approx(HARTREE / BOHR)
    assert record.structure.positions[1, 2] == pytest.approx(1.4 * BOHR)


def test_unknown_unit_suggests_the_nearest():
    with pytest.raises(LabelError, match="energy unit 'Hartree'") as caught:
        LabelUnits(energy="Hartree")
    assert "hartree" in caught.value.suggestion
    with pytest.raises(LabelError, match="stress order"):
        LabelUnits(stress_order="xx yy zz xy xy yz")


def test_charge_spin_and_dipole(tmp_path):
    path = xyz(tmp_path / "a.xyz", 'charge=1 multiplicity=2 dipole="1 0 0" energy=1')
    record = read_records(path)[0]
    assert (record.structure.charge, record.structure.spin) == (1, 1)
    np.testing.assert_array_equal(record.labels["dipole"], [1, 0, 0])
    with pytest.raises(LabelError, match=r"charge 0\.5 in frame 0"):
        read_records(xyz(tmp_path / "b.xyz", "charge=0.5"))


@pytest.mark.parametrize(
    ("frames", "expected"), [(":3", [0, 1, 2]), ("::5", [0, 5, 10]), ("-1", [11]), ("4", [4]), ("-2:", [10, 11])]
)
def test_frames(messy, frames, expected):
    everything = read_records(messy / "ethanol.xyz")
    chosen = read_records(messy / "ethanol.xyz", options=ReadOptions(frames=frames))
    assert [r.key for r in chosen] == [everything[k].key for k in expected]


@pytest.mark.parametrize("frames", ["a", "1:2:3:4", "", "::0"])
def test_frames_that_are_no_slice(messy, frames):
    with pytest.raises(ConfigError, match="frames"):
        read_records(messy / "ethanol.xyz", options=ReadOptions(frames=frames))


def test_truncated_file_names_frame_and_line(messy, tmp_path):
    lines = (messy / "ethanol.xyz").read_text().splitlines(keepends=True)
    path = tmp_path / "cut.xyz"
    path.write_text("".join(lines[: 11 * 2 + 5]))
    with pytest.raises(FileFormatError, match=r"after 3 of 9 atoms in line 27 of cut\.xyz \(frame 2\)") as caught:
        read_records(path)
    assert "--frames :2" in caught.value.suggestion
    assert len(read_records(path, options=ReadOptions(frames=":2"))) == 2


@pytest.mark.parametrize(
    ("line", "text", "place"),
    [(13, "C 0.1 0.2\n", "line 14"), (11, "nine\n", "line 12"), (14, "C 0 0 0 x 0 0\n", "line 12")],
)
def test_damaged_line_is_named(messy, tmp_path, line, text, place):
    lines = (messy / "ethanol.xyz").read_text().splitlines(keepends=True)
    lines[line] = text
    path = tmp_path / "bad.xyz"
    path.write_text("".join(lines))
    with pytest.raises(FileFormatError, match=f"{place} of bad.xyz \\(frame 1\\)"):
        read_records(path)


def test_no_number_is_no_label(tmp_path):
    with pytest.raises(LabelError, match=r"'energy' with values that are not finite in frame 0 of a\.xyz"):
        read_records(xyz(tmp_path / "a.xyz", "energy=nan"))


def test_unknown_element(tmp_path):
    with pytest.raises(StructureError, match="atomic numbers"):
        read_records(xyz(tmp_path / "x.xyz", "energy=1", ("X 0 0 0", "H 0 0 1")))


@pytest.mark.parametrize(
    ("name", "content"), [("a.unknown", b"nothing"), ("a.traj", b"- of Ulm"), ("a.db", b"SQLite format 3\x00 cut")]
)
def test_damaged_files_of_other_formats(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError):
        read_records(tmp_path / name)


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(FileFormatError, match="no file at"):
        read_records(tmp_path / "nothing.xyz")
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(FileFormatError, match="no frames"):
        read_records(tmp_path / "empty.xyz")


def test_partial_charges(tmp_path):
    atoms: Atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, charges=np.array([-0.4, 0.2, 0.2]))
    write(tmp_path / "q.traj", atoms)
    np.testing.assert_allclose(read_records(tmp_path / "q.traj")[0].labels["charges"], [-0.4, 0.2, 0.2])


@pytest.mark.parametrize(
    "folder_file", ["rmd17/malonaldehyde_test_01.xyz", "mlearn/Cu_test.xyz", "acac/test_MD_300K.xyz"]
)
def test_published_files_are_read_whole(shared_data, folder_file):
    reading = read_file(shared_data / folder_file, ReadOptions(frames="::20"))
    assert all({"energy", "forces"} <= set(record.labels) for record in reading.records)


@pytest.mark.parametrize("quotes", ['""', "{}", "[]"])
def test_six_components_under_a_name_that_ase_wants_nine_for(tmp_path, quotes):
    text = "1 2 3 4 5 6" if quotes != "[]" else "1, 2, 3, 4, 5, 6"
    path = xyz(tmp_path / "six.xyz", f'Lattice="3 0 0 0 3 0 0 0 3" stress={quotes[0]}{text}{quotes[1]} energy=1')
    reading = read_file(path)
    assert reading.keys.stress == "stress"
    np.testing.assert_allclose(reading.records[0].labels["stress"], [[1, 6, 5], [6, 2, 4], [5, 4, 3]])
