"""Data files as CP2K's packages have them, in miniature: no CP2K is needed."""

from pathlib import Path

import pytest

from adiabat.core.errors import BasisError, ConfigError, EngineError
from adiabat.engines import cp2k_files as files
from adiabat.engines.cp2k_xtb import n_valence, xtb_orbital_basis
from adiabat.engines.gth_data import load_basis, load_potentials
from adiabat.physics.gaussian_basis import GaussianBasis

BASIS = """
 B  SZV-MOLOPT-SR-GTH SZV-MOLOPT-SR-GTH-q3
 1
 2 0 1 2 1 1
      3.05  0.142 -0.124
      0.91  0.070 -0.383
 B  DZVP-MOLOPT-SR-GTH DZVP-MOLOPT-SR-GTH-q3
 1
 2 0 2 2 2 2 1
      3.05  0.142 -0.541 -0.124 -0.166 -0.081
      0.91  0.070 -0.187 -0.383 -0.631 -0.772
Ga SZV-MOLOPT-SR-GTH-q3
 1
 2 0 0 1 1
  0.3 1.0
Ga SZV-MOLOPT-SR-GTH SZV-MOLOPT-SR-GTH-q13
 1
 2 0 0 1 1
  0.4 1.0
"""
POTENTIALS = """# comment
B GTH-PBE-q3 GTH-PBE
    2    1
     0.41899145    2    -5.85946171     0.90375643
    0
Ga GTH-PBE-q13 GTH-PBE
    2    1   10
     0.49    0
    0
Ga GTH-PBE-q3
    2    1
     0.49    0
    0
"""
XTB = """# element eta gamma alpha Zeff level kpoly
    B  0.34 1.3 1.09 4.46  2s  -7.08
                           2p   0.66
    Ti 0.51 0.0 1.00 9.00  3d  -1.00
                           4s   0.00
                           4p   0.00
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "BASIS_MOLOPT").write_text(BASIS)
    (tmp_path / "GTH_POTENTIALS").write_text(POTENTIALS)
    (tmp_path / "xTB_parameters").write_text(XTB)
    return tmp_path


def basis(folder: Path, name: str, potential: str = "GTH-PBE", elements=(5,), **options) -> GaussianBasis:
    return load_basis(folder, name, load_potentials(folder, potential, elements), **options)


def test_polarised_basis_is_composed_of_what_is_shipped(folder):
    composed = basis(folder, "SZVP-MOLOPT-SR-GTH")
    assert composed.orbital_basis.shells == {5: (0, 1, 2)}
    assert composed.text[5].splitlines() == [
        "B SZVP-MOLOPT-SR-GTH", "1", "2 0 2 2 1 1 1", "3.05 0.142 -0.124 -0.081", "0.91 0.070 -0.383 -0.772",
    ]  # fmt: skip
    assert composed.valence == {5: 3.0}


def test_composition_is_that_of_the_published_set(shared_data):
    """The SZVP entries that were made by hand for the shared data come out of CP2K's own files."""
    try:
        data = files.data_folder(files.find_program())
    except EngineError:
        pytest.skip("CP2K is not installed")
    text = (shared_data / "hbn_ham" / "BASIS_SZVP").read_text()
    name, elements = "SZVP-MOLOPT-SR-GTH", (1, 5, 6, 7, 8, 14)
    published = GaussianBasis.from_text(text, name, elements)
    assert dict(basis(data, name, elements=elements).text) == dict(published.text)


def test_an_entry_for_the_electrons_of_the_potential_is_taken(folder):
    large = basis(folder, "SZV-MOLOPT-SR-GTH", elements=(31,))
    small = basis(folder, "SZV-MOLOPT-SR-GTH", "GTH-PBE-q3", elements=(31,))
    assert (large.valence, large.sets(31)[0].exponents.tolist()) == ({31: 13.0}, [0.4])
    assert (small.valence, small.sets(31)[0].exponents.tolist()) == ({31: 3.0}, [0.3])


def test_an_entry_for_other_electrons_is_refused(folder):
    with pytest.raises(BasisError, match="Ga with 13 valence electrons"):
        basis(folder, "SZV-MOLOPT-SR-GTH-q3", elements=(31,))


def test_a_file_of_the_users_comes_instead(folder, tmp_path):
    own = tmp_path / "own"
    own.write_text("B MINE\n1\n2 0 0 1 1\n 0.7 1.0\n")
    assert basis(folder, "MINE", basis_file=str(own)).sets(5)[0].exponents.tolist() == [0.7]
    with pytest.raises(BasisError, match="entry of own"):
        basis(folder, "DZVP-MOLOPT-SR-GTH", basis_file=str(own))


def test_unknown_names_bring_the_nearest(folder):
    with pytest.raises(BasisError) as caught:
        basis(folder, "DZVP-MOLOPT-SR")
    assert "DZVP-MOLOPT-SR-GTH" in caught.value.suggestion
    with pytest.raises(ConfigError, match="'GTH-PBA' for B") as refused:
        load_potentials(folder, "GTH-PBA", [5])
    assert "GTH-PBE" in refused.value.suggestion


def test_tight_binding_shells_stand_in_the_order_of_the_file(folder):
    orbitals = xtb_orbital_basis(folder, [22, 5])
    assert orbitals.shells == {5: (0, 1), 22: (2, 0, 1)}
    assert orbitals.n_electrons([5, 22]) == 7
    with pytest.raises(EngineError, match="C, for which"):
        xtb_orbital_basis(folder, [6])


@pytest.mark.parametrize(
    ("z", "count"),
    [
        (1, 1), (2, 2), (6, 4), (11, 1), (20, 2), (29, 11), (30, 2), (31, 3), (35, 7), (47, 11), (53, 7), (57, 3),
        (60, 3), (72, 4), (79, 11), (80, 2), (82, 4), (86, 8),
    ],
)  # fmt: skip
def test_valence_electrons_of_gfn1(z, count):
    assert n_valence(z) == count


def test_a_missing_cp2k_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ADIABAT_CP2K", raising=False)
    with pytest.raises(EngineError) as caught:
        files.find_program()
    assert "apt-get install cp2k" in caught.value.suggestion


def test_missing_data_files_say_where_they_were_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("CP2K_DATA_DIR", str(tmp_path))
    with pytest.raises(EngineError, match="no file GTH_POTENTIALS") as caught:
        files.data_folder("/usr/bin/cp2k")
    assert "CP2K_DATA_DIR" in caught.value.suggestion
