"""Bands, densities and Fermi levels come back from disk as they were; what is damaged is refused with its place."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from adiabat.core.errors import FileFormatError, SchemaVersionError
from adiabat.data.band_structure import BandComparison, BandEdges, BandStructure, ReferenceBands
from adiabat.data.dos_result import DensityOfStates
from adiabat.data.electronic_files import load_bands, load_dos, save_bands, save_dos
from adiabat.data.electronic_tables import load_bands_csv, save_bands_csv, save_dos_csv
from adiabat.data.fermi_result import FermiResult
from adiabat.data.result_file import kind_of

EDGES = BandEdges(
    1.5, 2.0, False, -0.5, 1.0, np.zeros(3), np.array([0.5, 0.0, 0.0]), np.array([0.25, 0.0, 0.0]), (0, 1)
)


def collinear_bands() -> BandStructure:
    """Two spins, a path that jumps, a dropped state, weights and a reference."""
    generator = np.random.default_rng(0)
    energies = np.sort(generator.normal(size=(2, 6, 3)), axis=-1)
    energies[1, 2, 2] = np.inf
    k_frac = generator.random((6, 3))
    return BandStructure(
        k_frac=k_frac,
        distances=np.array([0.0, 0.4, 0.8, 0.8, 1.0, 1.2]),
        branches=((0, 3), (3, 6)),
        tick_positions=np.array([0.0, 0.8, 1.2]),
        tick_labels=("Γ", "U|K", "X1"),
        energies=energies,
        spin="collinear",
        smallest_overlap=generator.random(6),
        n_dropped=np.array([0, 0, 1, 0, 0, 0]),
        cell=3 * np.eye(3),
        periodic=np.array([True, True, False]),
        n_electrons=7.0,
        fermi_level=0.25,
        edges=EDGES,
        weights={"B p": generator.random((2, 6, 3)), "N": generator.random((2, 6, 3))},
        reference=ReferenceBands(
            np.array([0.0, np.nan]), energies[:, :2], "PBE", 0.2, BandComparison(0.3, 0.1, 0.28, 0.2, (-5.0, 5.0), 9)
        ),
        notes=("The cell is 4 primitive cells.",),
        metadata={"formula": "BN", "mesh": [3, 3, 1], "method": "PBE, ‘so’"},
    )


def density() -> DensityOfStates:
    grid = np.linspace(-2, 2, 41)
    total = np.stack([np.exp(-(grid**2)), 2 * np.exp(-(grid**2))])
    return DensityOfStates(
        grid, total, "collinear", "gaussian", 0.1, {"B": total / 4, "N": 3 * total / 4}, 3.0, 0.1, EDGES, ("note",), {}
    )


def assert_equal(first: object, second: object) -> None:
    """Field by field, arrays included."""
    for name, value in vars(first).items():
        other = getattr(second, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other, err_msg=name)
        elif isinstance(value, dict) and value and isinstance(next(iter(value.values())), np.ndarray):
            assert list(value) == list(other)
            for key in value:
                np.testing.assert_array_equal(value[key], other[key])
        elif hasattr(value, "__dict__"):
            assert_equal(value, other)
        else:
            assert value == other, name


def test_bands_come_back_from_hdf5(tmp_path: Path) -> None:
    bands = collinear_bands()
    save_bands(bands, tmp_path / "b.h5")
    assert_equal(bands, load_bands(tmp_path / "b.h5"))
    bare = replace(bands, weights={}, reference=None, edges=None, fermi_level=None, n_electrons=None, notes=())
    save_bands(bare, tmp_path / "b.h5")
    assert_equal(bare, load_bands(tmp_path / "b.h5"))
    assert [file.name for file in tmp_path.iterdir()] == ["b.h5"]


def test_densities_come_back_from_hdf5(tmp_path: Path) -> None:
    save_dos(density(), tmp_path / "d.h5")
    assert_equal(density(), load_dos(tmp_path / "d.h5"))
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["total"].attrs["unit"] == "states/eV/cell"


def test_bands_come_back_from_csv_with_path_labels_and_spins(tmp_path: Path) -> None:
    bands = collinear_bands()
    save_bands_csv(bands, tmp_path / "b.csv")
    text = (tmp_path / "b.csv").read_text(encoding="utf-8")
    columns = next(line for line in text.splitlines() if not line.startswith("#"))
    assert columns == "branch,label,k1,k2,k3,distance,E1_up,E2_up,E3_up,E1_down,E2_down,E3_down"
    again = load_bands_csv(tmp_path / "b.csv")
    np.testing.assert_allclose(again.energies, bands.energies, atol=1e-8)  # the digits written
    np.testing.assert_allclose(again.k_frac, bands.k_frac, atol=1e-9)
    assert (again.branches, again.tick_labels) == (bands.branches, bands.tick_labels)
    assert (again.fermi_level, again.n_electrons, again.spin) == (0.25, 7.0, "collinear")
    assert again.n_dropped.tolist() == bands.n_dropped.tolist()
    assert_equal(again.edges, bands.edges)
    assert dict(again.metadata) == dict(bands.metadata)


def test_a_density_table_adds_up(tmp_path: Path) -> None:
    save_dos_csv(density(), tmp_path / "d.csv")
    lines = [line for line in (tmp_path / "d.csv").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "energy,integrated,total_up,total_down,B_up,B_down,N_up,N_down"
    table = np.array([[float(field) for field in line.split(",")] for line in lines[1:]])
    np.testing.assert_allclose(table[:, 4] + table[:, 6], table[:, 2], rtol=1e-6)
    assert table[-1, 1] == pytest.approx(3 * np.sqrt(np.pi), rel=0.01)  # ∫ of 3 exp(−E²), its tails cut at ±2


def test_a_fermi_level_comes_back(tmp_path: Path) -> None:
    result = FermiResult(0.3, 8.0, EDGES, "diagonalization", smallest_overlap=0.07, notes=("a",), metadata={"b": [1]})
    result.save(tmp_path / "f.json")
    assert_equal(result, FermiResult.load(tmp_path / "f.json"))
    for text in ("{}", '{"format": "other"}', "not json", '{"format": "adiabat Fermi level 1", "edges": null}'):
        (tmp_path / "f.json").write_text(text)
        with pytest.raises(FileFormatError):
            FermiResult.load(tmp_path / "f.json")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    save_bands(collinear_bands(), tmp_path / "b.h5")
    data = (tmp_path / "b.h5").read_bytes()
    (tmp_path / "b.h5").write_bytes(data[: int(share * len(data))])
    for read in (load_bands, kind_of):
        with pytest.raises(FileFormatError, match=r"b\.h5"):
            read(tmp_path / "b.h5")


def test_files_of_another_kind_or_version_are_refused(tmp_path: Path) -> None:
    save_dos(density(), tmp_path / "d.h5")
    assert kind_of(tmp_path / "d.h5") == "adiabat density of states"
    with pytest.raises(FileFormatError, match="density of states"):
        load_bands(tmp_path / "d.h5")
    with h5py.File(tmp_path / "d.h5", "a") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(SchemaVersionError, match="99"):
        load_dos(tmp_path / "d.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    assert kind_of(tmp_path / "other.h5") is None
    with pytest.raises(FileFormatError, match="something else"):
        load_bands(tmp_path / "other.h5")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "", "empty"),
        (lambda text: "a,b\n" + text, "first line"),
        (lambda text: text.replace("# n_electrons: 7.0\n", ""), "n_electrons"),
        (lambda text: text.replace("# n_electrons: 7.0", "# n_electrons: 7.0.1"), "line 3"),
        (lambda text: text.rsplit(",", 1)[0] + "\n", "line 16"),
        (lambda text: text.replace("\n1,X1,", "\n1,X1,x"), "line 16"),
        (lambda text: "\n".join(text.splitlines()[:10]), "no table"),
    ],
)
def test_a_table_that_was_changed_is_refused_with_its_line(tmp_path: Path, change, words: str) -> None:
    save_bands_csv(collinear_bands(), tmp_path / "b.csv")
    (tmp_path / "b.csv").write_text(change((tmp_path / "b.csv").read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(FileFormatError) as caught:
        load_bands_csv(tmp_path / "b.csv")
    assert words in str(caught.value)


def test_points_are_named_by_their_label_or_their_place_near_gamma() -> None:
    bands = replace(collinear_bands(), k_frac=np.array([[0, 0, 0], *[[0.2, 0.1, 0]] * 4, [0.5, 0.5, 0]]))
    assert bands.label_of(np.array([1.0, -1.0, 0.0])) == "Γ"
    assert bands.label_of(np.array([-0.5, 0.5, 0.0])) == "X1"
    assert bands.label_of(np.array([0.7, -0.9, 0.0])) == "(-0.3, 0.1, 0)"
