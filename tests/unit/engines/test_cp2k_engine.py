"""The engine around a program that answers as CP2K 2023.1 did: no CP2K is needed."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adiabat.core.errors import ConfigError, EngineError, FileFormatError, LabelError, ScfNotConvergedError
from adiabat.core.units import BOHR, GPA, HARTREE
from adiabat.data.structure import Structure
from adiabat.engines.cp2k import Cp2kEngine, Cp2kXtbEngine
from adiabat.engines.crystal_images import unwrapped, wrapped
from adiabat.engines.mid_gap import mid_gap
from adiabat.engines.registry import create_engine
from adiabat.physics.crystal_overlap import crystal_overlap
from adiabat.physics.gaussian_basis import GaussianBasis

KEPT = Path(__file__).resolve().parents[2] / "data" / "cp2k"
A = 2.7155
SILICON = Structure(
    np.array([14, 14]),
    np.array([[0.0, 0, 0], [1.40, 1.36, 1.35]]),
    np.array([[0.0, A, A], [A, 0, A], [A, A, 0]]),
    np.array([True, True, True]),
)
XTB = "Si 0.44 1.5 0.95 16.9 3s -14.2\n 3p -3.9\n 3d 25.5\n"
POTENTIAL = "Si GTH-PBE-q4 GTH-PBE\n 2 2\n 0.44 1 -7.3\n 0\n"
BASIS = "Si SZVP-MOLOPT-SR-GTH\n 1\n 2 0 2 2 1 1 1\n 1.2 0.2 0.1 0.2\n 0.2 -0.6 -0.4 0.4\n"


@pytest.fixture
def answer(tmp_path: Path, monkeypatch):
    """Install a CP2K that prints a kept output, and ends with an exit code."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "xTB_parameters").write_text(XTB)
    (data / "GTH_POTENTIALS").write_text(POTENTIAL)
    (data / "BASIS_MOLOPT").write_text(BASIS)
    monkeypatch.setenv("CP2K_DATA_DIR", str(data))

    def install(text: str, exit_code: int = 0) -> None:
        (tmp_path / "text").write_text(text)
        program = tmp_path / "cp2k"
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo " CP2K version 2023.1" && exit\n'
            f'cat "{tmp_path}/text"; cp input "{tmp_path}/input"; exit {exit_code}\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("ADIABAT_CP2K", str(program))

    install((KEPT / "silicon_gfn1.out").read_text())
    return install


def test_labels_come_in_our_units_and_signs(answer):
    labels = Cp2kXtbEngine(kpoints=(2, 2, 2)).label(SILICON, ["energy", "forces", "stress"]).labels
    assert float(labels["energy"]) == pytest.approx(-3.681892948692346 * HARTREE, rel=1e-14)
    assert labels["forces"][0, 0] == pytest.approx(0.011845283259 * HARTREE / BOHR, rel=1e-12)
    assert labels["stress"][0, 1] == pytest.approx(-0.433271353131 * GPA, rel=1e-12)


def test_provenance_holds_what_the_numbers_depend_on(answer):
    engine = Cp2kEngine(k_spacing=0.4, xc="PBE")
    provenance = engine.provenance(SILICON)
    assert (provenance.code, provenance.code_version) == ("cp2k", "2023.1")
    assert provenance.method == "PBE/SZVP-MOLOPT-SR-GTH"
    assert provenance.settings["kpoints"] == [6, 6, 6]
    assert provenance.orbital_basis.shells == {14: (0, 1, 2)}
    assert provenance.orbital_basis.n_electrons([14, 14]) == 8
    kept = GaussianBasis.from_json(provenance.settings["gaussian_basis"])
    assert crystal_overlap(SILICON, kept).hermiticity_error() < 1e-13
    same, other = replace(engine, mixing=0.1, timeout=5.0), replace(engine, cutoff=500.0)
    assert same.provenance(SILICON).settings_hash == provenance.settings_hash
    assert other.provenance(SILICON).settings_hash != provenance.settings_hash


def test_an_scf_that_did_not_converge_is_no_label(answer):
    answer((KEPT / "not_converged.out").read_text())
    with pytest.raises(ScfNotConvergedError, match=r"still changes by 9.0e-02 after 100 cycles"):
        Cp2kXtbEngine().label(SILICON, ["energy"])


def test_a_run_that_gave_up_says_what_cp2k_said(answer):
    answer((KEPT / "unknown_keyword.out").read_text(), exit_code=1)
    with pytest.raises(EngineError, match="gives up: found an unknown keyword NDIGITS in section STRESS_TENSOR"):
        Cp2kXtbEngine().label(SILICON, ["energy"])


def test_a_run_that_was_cut_off_is_no_label(answer):
    text = (KEPT / "silicon_gfn1.out").read_text()
    answer(text.split("PROGRAM ENDED")[0], exit_code=0)
    with pytest.raises(EngineError, match="ended with exit code 0"):
        Cp2kXtbEngine().label(SILICON, ["energy"])
    answer(text, exit_code=9)
    with pytest.raises(EngineError, match="ended with exit code 9"):
        Cp2kXtbEngine().label(SILICON, ["energy"])


def test_another_basis_under_the_same_name_is_found_out(answer):
    answer((KEPT / "silicon_gfn1.out").read_text().replace("3dx2", "3px2"))
    with pytest.raises(EngineError, match=r"with shells \{'Si': \(0, 1, 1, 2\)\}"):
        Cp2kXtbEngine().label(SILICON, ["energy"])


def test_matrices_that_were_not_written_are_missed(answer):
    with pytest.raises(FileFormatError, match="without a list of images"):
        Cp2kXtbEngine().label(SILICON, ["hamiltonian"])


def test_structures_without_a_volume_are_refused_before_anything_runs(answer):
    flat = Structure(SILICON.atomic_numbers, SILICON.positions)
    with pytest.raises(EngineError, match="span a volume"):
        Cp2kXtbEngine().check([SILICON, flat], ["energy"])
    with pytest.raises(LabelError, match="target 'dipole'"):
        Cp2kXtbEngine().check([SILICON], ["dipole"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"xc": "pbesole"}, "functional 'pbesole'"),
        ({"cutoff": 5.0}, "cutoffs of 5.0"),
        ({"smearing": -0.1}, "smearing = -0.1"),
        ({"mixing": 0.0}, "mixing = 0.0"),
        ({"kpoints": (2, 2)}, r"k-points \(2, 2\)"),
        ({"eps_scf": 1.0}, "eps_scf = 1.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(answer, options, message):
    with pytest.raises(ConfigError, match=message):
        create_engine("cp2k", **options)


def test_tight_binding_has_no_functional(answer):
    with pytest.raises(ConfigError, match="option 'xc'"):
        create_engine("cp2k-gfn1", xc="pbe")


def test_it_travels_to_a_worker(answer):
    engine = Cp2kEngine(kpoints=(3, 3, 1))
    assert pickle.loads(pickle.dumps(engine)) == engine


def test_positions_are_written_inside_the_cell(answer, tmp_path):
    far = replace(SILICON, positions=SILICON.positions + np.array([[0, 0, 0], [0, 4 * A, 4 * A]]))
    Cp2kXtbEngine().label(far, ["energy"])
    lines = (tmp_path / "input").read_text().split("&COORD")[1].split("&END")[0].split("\n")[1:3]
    assert np.allclose(np.array(lines[1].split()[1:], dtype=float), SILICON.positions[1], atol=1e-9)


BORON = GaussianBasis("one", {14: "Si one\n1\n2 0 1 1 1 1\n0.12 1.0 1.0"})


@pytest.mark.parametrize("shift", [[0.0, 0, 0], [0.5, 0.5, 0.0], [-0.5, 1.5, 0.5]])
def test_images_count_from_the_given_positions(shift):
    """A code that wraps atoms its own way, those on the border to the other side, is seen through."""
    cells = np.array([[0, 0, 0], [3, -2, 1]])
    given = replace(SILICON, positions=SILICON.positions + (cells + np.array(shift)) @ SILICON.cell)
    inside, told = wrapped(given)
    fractions = np.linalg.solve(inside.cell.T, inside.positions.T).T
    assert fractions.min() >= -0.5 - 1e-12
    assert fractions.max() < 0.5 + 1e-12
    theirs = replace(inside, positions=inside.positions + (fractions < -0.5 + 1e-9) @ inside.cell)
    overlap = crystal_overlap(theirs, BORON)
    _, ours = unwrapped((overlap, overlap), inside, told)
    exact = crystal_overlap(given, BORON, ours.pairs)
    assert np.abs(ours.values - exact.values).max() < 1e-12
    # Negative control: images as the code counts them are those of other distances.
    assert np.abs(crystal_overlap(given, BORON, overlap.pairs).values - overlap.values).max() > 0.1


def test_metals_have_no_gap():
    overlap = crystal_overlap(SILICON, BORON)
    kinetic = overlap.with_values(-10.0 * overlap.values)
    with pytest.raises(EngineError, match=r"filled states up to -10\.000 eV and empty ones from -10\.000 eV"):
        mid_gap(kinetic, overlap, (2, 2, 1), 8.0, SILICON)
    with pytest.raises(EngineError, match="7 electrons, which leave a band half filled"):
        mid_gap(kinetic, overlap, (2, 2, 1), 7.0, SILICON)
