import numpy as np
import pytest
from pyscf import dft, gto, scf

from adiabat.core.errors import BasisError, FileFormatError
from adiabat.core.orbitals import restore_matrix
from adiabat.core.units import BOHR, HARTREE
from adiabat.data.audit import audit_records
from adiabat.data.pyscf_checkpoint import is_pyscf_checkpoint
from adiabat.data.readers import ReadOptions, read_file

WATER = "O 0 0 0.1; H 0 0.76 0.7; H 0 -0.76 0.7"


def run(path, atom=WATER, basis="def2-svp", method=dft.RKS, **options):
    molecule = gto.M(atom=atom, basis=basis, verbose=0, **options)
    calculation = method(molecule)
    if method is dft.RKS:
        calculation.xc, calculation.grids.level = "pbe", 0
    calculation.conv_tol, calculation.conv_tol_grad = 1e-11, 1e-7
    calculation.chkfile = str(path)
    calculation.kernel()
    return calculation


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "water.chk"
    return path, run(path)


def test_every_label_is_that_of_pyscf(water):
    path, calculation = water
    record = read_file(path, ReadOptions(method="PBE/def2-SVP")).records[0]
    basis = record.provenance.orbital_basis
    sequence = basis.shell_sequence(record.structure.atomic_numbers)

    def pyscf_order(name):
        return restore_matrix(record.labels[name].to_dense(), "pyscf", sequence)

    assert basis.name == "def2-svp"
    np.testing.assert_allclose(record.structure.positions, calculation.mol.atom_coords() * BOHR, atol=1e-12)
    assert float(record.labels["energy"]) == pytest.approx(calculation.e_tot * HARTREE)
    np.testing.assert_allclose(pyscf_order("overlap"), calculation.get_ovlp(), atol=1e-14)
    np.testing.assert_allclose(pyscf_order("density_matrix"), calculation.make_rdm1(), atol=1e-12)
    # H is rebuilt from the last orbitals, whose Fock matrix is one SCF cycle old: off by the convergence threshold.
    np.testing.assert_allclose(pyscf_order("hamiltonian") / HARTREE, calculation.get_fock(), atol=1e-6)
    np.testing.assert_allclose(record.labels["orbital_energies"] / HARTREE, calculation.mo_energy, atol=1e-10)
    homo, lumo = calculation.mo_energy[4:6]
    assert float(record.labels["fermi_level"]) == pytest.approx((homo + lumo) / 2 * HARTREE)
    assert audit_records([record]).passed


def test_negative_control_orbital_order_matters(water):
    path, calculation = water
    overlap = read_file(path).records[0].labels["overlap"].to_dense()
    assert np.abs(overlap - calculation.get_ovlp()).max() > 0.1


def test_unrestricted_has_only_an_energy(tmp_path):
    calculation = run(tmp_path / "o.chk", "O 0 0 0", "sto-3g", scf.UHF, spin=2)
    reading = read_file(tmp_path / "o.chk")
    assert list(reading.records[0].labels) == ["energy"]
    assert reading.records[0].structure.spin == 2
    assert float(reading.records[0].labels["energy"]) == pytest.approx(calculation.e_tot * HARTREE)
    assert any("only the energy" in note for note in reading.notes)


def test_cartesian_d_is_refused(tmp_path):
    run(tmp_path / "cart.chk", method=scf.RHF, cart=True)
    with pytest.raises(BasisError, match=r"Cartesian d or f shells in cart\.chk"):
        read_file(tmp_path / "cart.chk")


def test_truncated_checkpoint(water, tmp_path):
    path = tmp_path / "cut.chk"
    path.write_bytes(water[0].read_bytes()[:3000])
    assert is_pyscf_checkpoint(path)
    with pytest.raises(FileFormatError, match=r"cut\.chk, which is not a complete PySCF checkpoint"):
        read_file(path)


def test_no_code_of_the_file_is_run(water, tmp_path):
    import json
    import shutil

    import h5py

    path = tmp_path / "evil.chk"
    shutil.copy(water[0], path)
    with h5py.File(path, "r+") as file:
        tables = json.loads(file["mol"][()])
        tables["basis"] = f"__import__('os').mkdir({str(tmp_path / 'pwned')!r})"
        del file["mol"]
        file["mol"] = json.dumps(tables)
    assert read_file(path).records[0].provenance.orbital_basis.name == "custom"
    assert not (tmp_path / "pwned").exists()
