"""``adiabat bands``, ``dos`` and ``fermi`` as a user calls them, on a real Hamiltonian of hBN and on models."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write
from typer.testing import CliRunner

from adiabat.cli.main import app
from adiabat.data.band_structure import BandStructure
from adiabat.data.electronic_files import load_bands, load_dos, save_bands
from adiabat.data.electronic_tables import load_bands_csv
from adiabat.data.fermi_result import FermiResult
from adiabat.electronic.bands import solve_bands
from adiabat.models.package import save_model
from adiabat.simulation.crystal_electrons import crystal_from_model
from adiabat.training.setup import prepare
from labelled_crystals import boron_nitride, crystal_config, crystal_records, write_store
from shipped_crystal import hbn_record, own_bands

MESH = ("--kpoints", "4,4,1")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("hbn") / "hbn.lmdb", [hbn_record()])


def run(*arguments: object):
    return CliRunner().invoke(app, [str(word) for word in arguments], env={"COLUMNS": "200"})


def refused(*arguments: object) -> str:
    """What a command that must not work says, and that it leaves nothing behind."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert all(f"{part}: " in result.stderr for part in ("got", "expected", "try"))
    return " ".join(result.stderr.split())


def test_bands_with_everything(store: Path, tmp_path: Path) -> None:
    """Compared with CP2K's own bands, given in our format, and drawn with a density beside them."""
    density = run("dos", store, *MESH, "-o", tmp_path / "dos", "--project", "element", "--width", "0.3")
    assert density.exit_code == 0, density.output
    own = own_bands()
    reference = tmp_path / "cp2k.h5"
    bare = run("bands", store, "--path", "GMKG", "--n-points", "9", *MESH, "-o", tmp_path / "bare")
    assert bare.exit_code == 0, bare.output
    saved = load_bands(tmp_path / "bare" / "bands.h5")
    save_bands(_cp2k(saved, own.k_frac, own.energies), reference)
    drawn = ("--fat", "B:p,N", "--dos", tmp_path / "dos" / "dos.h5", "--window", "-5,8", "-o", tmp_path / "bands")
    result = run("bands", store, "--path", "GMKG", "--n-points", "30", *MESH, "--reference", reference, *drawn)
    assert result.exit_code == 0, result.output
    files = sorted(file.name for file in (tmp_path / "bands").iterdir())
    assert files == ["bands.csv", "bands.h5", "bands.html", "bands.png", "bands.svg"]
    bands = load_bands(tmp_path / "bands" / "bands.h5")
    assert list(bands.weights) == ["B p", "N"]
    assert bands.reference is not None
    comparison = bands.reference.comparison
    assert comparison is not None
    assert comparison.rms < 1e-3  # eV; H is cut at 9 Å
    assert f"{1000 * comparison.rms:.2f} meV" in result.stdout
    assert "Γ–M–K–Γ" in result.stdout
    np.testing.assert_allclose(load_bands_csv(tmp_path / "bands" / "bands.csv").energies, bands.energies, atol=1e-7)
    page = (tmp_path / "bands" / "bands.html").read_text()
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")


def _cp2k(saved: BandStructure, k_frac: np.ndarray, energies: np.ndarray) -> BandStructure:
    """CP2K's bands as a file of ours; distances do not matter where k is told."""
    n_k = len(k_frac)
    return BandStructure(
        k_frac, np.arange(n_k) / n_k, ((0, n_k),), np.array([0.0]), ("Γ",), energies[None], "none",
        np.full(n_k, np.nan), np.zeros(n_k, dtype=np.int64), saved.cell, saved.periodic, 8.0, saved.fermi_level,
        metadata={"method": "CP2K"},
    )  # fmt: skip


def test_saved_bands_are_drawn_again_without_computing(store: Path, tmp_path: Path) -> None:
    assert run("bands", store, "--n-points", "12", *MESH, "-o", tmp_path / "a").exit_code == 0
    again = run("bands", tmp_path / "a" / "bands.h5", "--window", "-2,2", "-o", tmp_path / "b")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "a" / "bands.h5").read_bytes() != (tmp_path / "a" / "bands.png").read_bytes()
    np.testing.assert_array_equal(
        load_bands(tmp_path / "a" / "bands.h5").energies, load_bands(tmp_path / "b" / "bands.h5").energies
    )
    assert "computed already" in refused("bands", tmp_path / "a" / "bands.h5", "--fat", "B")
    # The CSV of a run is a reference too, and its path is taken over.
    compared = run("bands", store, *MESH, "--reference", tmp_path / "a" / "bands.csv")
    assert compared.exit_code == 0, compared.output
    assert "0.00 meV" in compared.stdout


def test_a_density_and_a_level_say_the_same(store: Path, tmp_path: Path) -> None:
    assert run("dos", store, *MESH, "--method", "tetrahedron", "-o", tmp_path, "--window", "-8,8").exit_code == 0
    dos = load_dos(tmp_path / "dos.h5")
    assert dos.fermi_level is not None
    assert dos.grid[0] - dos.fermi_level == pytest.approx(-8.0)
    result = run("fermi", store, *MESH, "--gap", "-o", tmp_path / "fermi.json")
    assert result.exit_code == 0, result.output
    level = FermiResult.load(tmp_path / "fermi.json")
    assert level.fermi_level == pytest.approx(dos.fermi_level, abs=1e-9)
    assert f"{level.fermi_level:.4f} eV" in result.stdout
    printed = run("fermi", store, *MESH, "--json")
    assert json.loads(printed.stdout)["edges"]["gap"] == pytest.approx(level.edges.gap)  # type: ignore[union-attr]


def test_metals_and_electron_counts(store: Path, tmp_path: Path) -> None:
    message = refused("fermi", store, *MESH, "--electrons", 7, "--gap", "-o", tmp_path / "f.json")
    assert "a metal: 7 electrons fill 3.5 bands" in message
    assert not (tmp_path / "f.json").exists()
    metal = run("fermi", store, *MESH, "--electrons", 7, "--smearing", "gaussian:0.2")
    assert "none: a metal" in metal.stdout
    assert "gaussian 0.2 eV" in metal.stdout
    unknown = write_store(tmp_path / "unknown.lmdb", [hbn_record(valence=False)])
    for command in ("bands", "dos", "fermi"):
        assert "--electrons" in refused(command, unknown)
    assert run("fermi", unknown, *MESH, "--electrons", 8).exit_code == 0
    assert "50 electrons" in refused("fermi", store, "--electrons", 50)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--kpoints", "2,2,1"), "a 2×2×1 k-mesh"),
        (("--kpoints", "4,4,4"), "one k point along a direction that is not periodic"),
        (("--kpoints", "4,4"), "three whole numbers"),
        (("--k-spacing", "0"), "--k-spacing 0"),
        (("--smearing", "cold"), "KIND:WIDTH"),
        (("--smearing", "colt:0.1"), "did you mean 'cold'?"),
        (("--path", "GMQ"), "a point of the"),
        (("--path", "G"), "two labels or more"),
        (("--n-points", "1"), "1 points on a path"),
        (("--window", "5,-5"), "the lower one first"),
        (("--fat", "C:p"), "an element of B, N"),
        (("--record", "3"), "1 structures"),
        (("--reference", "nowhere.h5"), "nowhere.h5"),
        (("--dos", "nowhere.h5", "-o", "bands"), "nowhere.h5"),
    ],
)
def test_bad_options_of_bands(store: Path, tmp_path: Path, monkeypatch, arguments, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    mesh = () if "--kpoints" in arguments else MESH
    assert words in refused("bands", store, "--n-points", "4", *mesh, *arguments)
    assert not list(tmp_path.iterdir())


def test_bad_sources(store: Path, tmp_path: Path) -> None:
    assert "no file or folder" in refused("bands", tmp_path / "nothing")
    assert "neither a store nor a Hamiltonian" in refused("dos", tmp_path)
    write(tmp_path / "water.xyz", molecule("H2O"))
    assert "periodic in no direction" in refused("bands", tmp_path / "water.xyz")
    two = write_store(tmp_path / "two.lmdb", crystal_records(2))
    assert "2 structures and no --record" in refused("fermi", two)
    assert "a structure only with a model" in refused("fermi", two, tmp_path / "water.xyz")
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 40)
    assert "cut.h5" in refused("bands", tmp_path / "cut.h5")
    (tmp_path / "taken").write_text("")
    assert "which is a file" in refused("dos", store, "-o", tmp_path / "taken")
    assert "--kpoints 4,4,1 with --method kpm" in refused("dos", store, *MESH, "--method", "kpm")
    assert "take Γ only" in refused("dos", store, "--method", "kpm")
    assert "samples the zone" in refused("fermi", store, "--method", "kpm", "--gap")


def test_a_model_predicts_bands_of_a_structure_that_has_no_labels(tmp_path: Path) -> None:
    """What is printed and saved is what follows from the model's H and S, and its electrons are counted."""
    store = write_store(tmp_path / "data.lmdb", crystal_records(6))
    model = prepare(crystal_config(store)).model.eval()
    save_model(model, tmp_path / "model.safetensors", {})
    structure = boron_nitride(seed=50, size=(2, 1, 1), shake=0.03)
    write(tmp_path / "cell.xyz", structure.to_ase())
    path = ("--path", "G=0,0,0 A=1/2,1/3,0", "--n-points", "3")
    files = (tmp_path / "model.safetensors", tmp_path / "cell.xyz")
    result = run(
        "bands", *files, *path, *MESH, "-o", tmp_path / "bands", "--reference", store, "--reference-record", "0"
    )
    assert result.exit_code == 1  # a reference in another cell
    assert "reference bands of the cell" in result.stderr
    result = run("bands", *files, *path, *MESH, "-o", tmp_path / "bands", "--fat", "N:p")
    assert result.exit_code == 0, result.output
    bands = load_bands(tmp_path / "bands" / "bands.h5")
    crystal = crystal_from_model(model, structure).crystal
    assert crystal.n_electrons == bands.n_electrons == 16.0
    np.testing.assert_allclose(bands.energies, solve_bands(crystal, bands.k_frac).energies.numpy(), atol=1e-6)
    assert bands.metadata["method"] == "model"
    assert "without a structure" in refused("bands", files[0])
    write(tmp_path / "salt.xyz", bulk("NaCl", "rocksalt", 5.6))
    assert "Cl, Na" in refused("bands", files[0], tmp_path / "salt.xyz")
    write(tmp_path / "water.xyz", molecule("H2O"))
    assert "periodic in no direction" in refused("bands", files[0], tmp_path / "water.xyz")


@pytest.mark.parametrize("place", ["crystal_states.solve_bands", "crystal_bands.solve_bands"])
def test_a_run_that_is_interrupted_leaves_nothing(store: Path, tmp_path: Path, monkeypatch, place: str) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"adiabat.simulation.{place}", interrupted)
    result = run("bands", store, *MESH, "-o", tmp_path / "out", "--n-points", "4")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert not list(tmp_path.iterdir())
