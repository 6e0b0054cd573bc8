import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from adiabat.cli.main import app
from adiabat.data.store import DatasetStore

runner = CliRunner()
FRAME = """2
Lattice="50 0 0 0 50 0 0 0 50" Properties=species:S:1:pos:R:3:forces:R:3 Energy={energy}{more}
H 0.0 0.0 0.0 0.0 0.0 0.5
H 0.0 0.0 {distance} 0.0 0.0 -0.5
"""
HF = ["--xc", "hf", "--basis", "sto-3g", "--workers", "1"]


@pytest.fixture
def hydrogen(tmp_path: Path) -> Path:
    path = tmp_path / "h2.xyz"
    path.write_text("".join(FRAME.format(energy=-30.0 - k, distance=0.7 + 0.05 * k, more="") for k in range(3)))
    return path


def run(*arguments: object):
    return runner.invoke(app, ["label", *map(str, arguments)])


def test_labels_kept_and_computed_come_together(hydrogen, tmp_path):
    result = run(hydrogen, "-o", tmp_path / "a.lmdb", *HF, "--keep", "energy,forces", "--frames", ":2")
    assert result.exit_code == 0, result.output
    assert "2 labelled" in result.output
    with DatasetStore.open(tmp_path / "a.lmdb") as store:
        record = store[0]
        assert len(store) == 2
    # A 50 Å Lattice round a molecule is no periodicity.
    assert not record.structure.pbc.any()
    assert float(record.labels["energy"]) == -30.0
    assert record.labels["forces"][0, 2] == 0.5
    assert record.provenance.inherited == {"energy": "h2.xyz", "forces": "h2.xyz"}
    assert set(record.labels) == {
        "energy", "forces", "hamiltonian", "overlap", "h0", "density_matrix", "orbital_energies"
    }  # fmt: skip
    assert record.provenance.method == "HF/sto-3g"


def test_the_same_command_goes_on(hydrogen, tmp_path):
    run(hydrogen, "-o", tmp_path / "a.lmdb", *HF, "--frames", ":1")
    result = run(hydrogen, "-o", tmp_path / "a.lmdb", *HF)
    assert "2 labelled, 1 already there" in result.output


def test_failures_are_shown_listed_and_end_in_exit_code_1(tmp_path):
    path = tmp_path / "h2.xyz"
    path.write_text(FRAME.format(energy=-30, distance=0.7, more="") + FRAME.format(energy=-30, distance=0.01, more=""))
    result = run(path, "-o", tmp_path / "a.lmdb", *HF, "--targets", "energy")
    assert result.exit_code == 1
    assert "1 labelled, 0 already there or repeated, 1 failed" in result.output
    assert "structure 1 (H2): got: atoms 0 and 1" in result.output
    assert json.loads((tmp_path / "a.failures.json").read_text())[0]["kind"] == "StructureError"


def test_molecule_charge_and_spin_override_the_file(tmp_path):
    path = tmp_path / "h2.xyz"
    path.write_text(FRAME.format(energy=-30, distance=0.7, more=' pbc="T T T"'))
    refused = run(path, "-o", tmp_path / "a.lmdb", *HF)
    assert refused.exit_code == 1
    assert "--molecule" in refused.output
    options = ["--molecule", "--charge", "1", "--spin", "1", "--unrestricted", "--targets", "energy"]
    assert run(path, "-o", tmp_path / "b.lmdb", *HF, *options).exit_code == 0
    with DatasetStore.open(tmp_path / "b.lmdb") as store:
        assert (store[0].structure.charge, store[0].structure.spin) == (1, 1)
        assert not np.any(store[0].structure.cell)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "pysfc"], "did you mean 'pyscf'?"),
        (["--engine", "gfn2", "--xc", "pbe"], "option 'xc' for engine 'gfn2'"),
        (["--xc", "pbee"], "functional 'pbee'"),
        (["--basis", "cc-pv5z"], "def2-TZVP instead"),
        (["--targets", "energi"], "'energy'"),
        (["--keep", "stress"], "without stress"),
        (["--keep", "energy", "--energy-key", "E"], "energy key 'E'"),
        (["--frames", "x"], "a Python slice"),
        (["--workers", "-1"], "-1 workers"),
        (["--engine", "pyscf-crystal", "--kpoints", "6;6;1"], "--kpoints 6;6;1"),
        (["--engine", "pyscf-crystal", "--kpoints", "6,6"], "k-points (6, 6)"),
        (["--engine", "pyscf-crystal"], "span a volume"),
        (["--kpoints", "6,6,1"], "option 'kpoints' for engine 'pyscf'"),
    ],
)
def test_bad_input_ends_in_three_parts_and_leaves_nothing(hydrogen, tmp_path, arguments, message):
    result = run(hydrogen, "-o", tmp_path / "a.lmdb", *arguments)
    assert result.exit_code == 1
    text = result.output
    assert message in text
    assert "expected:" in text
    assert "try:" in text
    assert not (tmp_path / "a.lmdb").exists()


def test_free_atoms_are_labelled_for_reference_energies(hydrogen, tmp_path):
    result = run(hydrogen, "-o", tmp_path / "atoms.lmdb", *HF, "--isolated-atoms")
    assert result.exit_code == 0, result.output
    with DatasetStore.open(tmp_path / "atoms.lmdb") as store:
        (atom,) = list(store)
    assert atom.structure.spin == 1
    # Hydrogen's Hartree-Fock energy in STO-3G, -0.46658185 Ha.
    assert float(atom.labels["energy"]) == pytest.approx(-12.6964, abs=1e-3)
