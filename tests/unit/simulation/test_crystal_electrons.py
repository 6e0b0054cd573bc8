"""From H and S to bands, densities and levels: held to CP2K's own numbers and to sums that must hold."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.linalg import eigh

from adiabat.core.errors import BasisError, ConfigError, ElectronicError, LabelError
from adiabat.data.record import Record
from adiabat.data.structure import Structure
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.smearing import Smearing
from adiabat.electronic.supercell import supercell_operator, supercell_positions
from adiabat.physics.k_path import k_path, path_through
from adiabat.simulation.crystal_bands import BandSettings, compute_bands, with_reference_bands
from adiabat.simulation.crystal_dos import DosSettings, compute_dos
from adiabat.simulation.crystal_electrons import CrystalElectrons, crystal_from_record
from adiabat.simulation.crystal_fermi import compute_fermi
from adiabat.simulation.crystal_states import check_memory, reach_size, sampling_mesh
from adiabat.simulation.orbital_groups import projection_groups, selected_groups
from labelled_crystals import crystal_records
from shipped_crystal import hbn_record, own_bands


@pytest.fixture(scope="module")
def hbn() -> CrystalElectrons:
    return crystal_from_record(hbn_record())


def test_electrons_and_bands_are_those_of_cp2k(hbn: CrystalElectrons) -> None:
    """H and S were cut at 9 Å, which costs half a meV in the bands up to 12 eV above the gap."""
    own = own_bands()
    assert hbn.crystal.n_electrons == 8.0
    path = path_through(hbn.structure, own.k_frac, {0: "Γ"})
    bands = compute_bands(hbn, path, BandSettings(mesh=own.mesh))
    np.testing.assert_allclose(bands.energies[0, :, :8], own.energies[:, :8], atol=1e-3)
    level = compute_fermi(hbn, mesh=own.mesh)
    assert level.edges is not None
    np.testing.assert_allclose([level.edges.vbm, level.edges.cbm], [own.vbm, own.cbm], atol=1e-4)
    assert level.fermi_level == pytest.approx((own.vbm + own.cbm) / 2, abs=1e-4)


def test_bands_at_any_k_are_the_eigenvalues_of_the_sums_over_blocks(hbn: CrystalElectrons) -> None:
    path = k_path(hbn.structure, "G=0.1,0.2,0 A=0.4,-0.3,0", n_points=5)
    bands = compute_bands(hbn, path, BandSettings((4, 4, 1)))
    for k, energies in zip(path.k_frac, bands.energies[0], strict=True):
        h, s = np.zeros((18, 18), complex), np.zeros((18, 18), complex)
        for matrix, operator in ((h, hbn.crystal.hamiltonian), (s, hbn.crystal.overlap)):
            for (x, y, z, i, j), block in operator.blocks():
                matrix[9 * i : 9 * i + 9, 9 * j : 9 * j + 9] += np.exp(2j * np.pi * k @ [x, y, z]) * block
        np.testing.assert_allclose(energies, eigh(h, s, eigvals_only=True), atol=1e-9)
        assert bands.smallest_overlap.min() <= np.linalg.eigvalsh(s)[0] + 1e-12


def test_the_gap_is_looked_for_on_the_mesh_and_on_the_path(hbn: CrystalElectrons) -> None:
    """A path through Γ alone does not hide the edges, nor does a mesh that misses them."""
    short = compute_bands(hbn, k_path(hbn.structure, "G=0,0,0 A=0.1,0,0", n_points=3), BandSettings(mesh=(9, 9, 1)))
    level = compute_fermi(hbn, mesh=(9, 9, 1))
    assert short.edges is not None
    assert level.edges is not None
    assert short.edges.gap == pytest.approx(level.edges.gap, abs=1e-9)
    full = compute_bands(hbn, k_path(hbn.structure, "GMKG", n_points=40), BandSettings(mesh=(4, 4, 1)))
    assert full.edges is not None
    assert full.edges.gap < compute_fermi(hbn, mesh=(4, 4, 1)).edges.gap  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["element", "atom", "l", "shell", "orbital"])
def test_shares_of_all_groups_of_a_kind_add_up_to_one(hbn: CrystalElectrons, kind: str) -> None:
    groups = projection_groups(hbn, kind)
    assert np.sum([group.members for group in groups], axis=0).tolist() == [1] * 18
    bands = compute_bands(hbn, k_path(hbn.structure, "GM", n_points=4), BandSettings((4, 4, 1), groups=groups))
    np.testing.assert_allclose(sum(bands.weights.values()), 1.0, atol=1e-9)


def test_pz_of_nitrogen_is_the_top_of_the_valence_bands_at_the_zone_corner(hbn: CrystalElectrons) -> None:
    """The textbook picture of hBN: π bands of N below the gap and of B above it. They hardly mix at K."""
    groups = selected_groups(hbn, ["N:pz", "B:pz", "N:p", "0"])
    path = k_path(hbn.structure, "G=0,0,0 K=1/3,1/3,0", n_points=2)
    bands = compute_bands(hbn, path, BandSettings((4, 4, 1), groups=groups))
    assert bands.weights["N pz"][0, 1, 3] > 0.85
    assert bands.weights["B pz"][0, 1, 4] > 0.8
    assert bands.weights["N p"][0, 1, 3] >= bands.weights["N pz"][0, 1, 3] - 1e-9
    assert list(bands.weights) == ["N pz", "B pz", "N p", "B0"]


@pytest.mark.parametrize("text", ["C", "B:g", "5", "", ":", "N:pq"])
def test_orbitals_that_are_not_there(hbn: CrystalElectrons, text: str) -> None:
    with pytest.raises(ConfigError, match="the orbitals"):
        selected_groups(hbn, [text])


def test_unknown_projection_and_unnamed_shells(hbn: CrystalElectrons) -> None:
    with pytest.raises(ConfigError, match="--project shel"):
        projection_groups(hbn, "shel")
    nameless = replace(hbn, basis=None)
    assert [group.name for group in projection_groups(nameless, "element")] == ["B", "N"]
    with pytest.raises(BasisError, match="not named"):
        projection_groups(nameless, "l")


@pytest.mark.parametrize("method", ["gaussian", "tetrahedron"])
def test_a_density_holds_the_electrons_and_its_parts(hbn: CrystalElectrons, method: str) -> None:
    groups = projection_groups(hbn, "shell")
    dos = compute_dos(hbn, DosSettings(method=method, mesh=(8, 8, 1), groups=groups))
    assert dos.fermi_level is not None
    assert np.interp(dos.fermi_level, dos.grid, dos.integrated) == pytest.approx(8.0, abs=2e-3)
    np.testing.assert_allclose(sum(dos.projections.values()), dos.total, atol=1e-9)
    in_gap = np.abs(dos.grid - dos.fermi_level) < 1.0
    assert dos.total[:, in_gap].max() < 1e-9


def test_spin_channels_and_kramers_pairs_go_through(hbn: CrystalElectrons) -> None:
    collinear = crystal_from_record(crystal_records(1, spin="collinear")[0])
    bands = compute_bands(collinear, k_path(collinear.structure, "GMKG", n_points=9), BandSettings((4, 4, 1)))
    assert bands.energies.shape == (2, len(bands.k_frac), 8)
    assert (bands.energies[1] - bands.energies[0]).min() > 0.1  # exchange splits ↑ from ↓
    spinor = crystal_from_record(crystal_records(1, spin="spinor")[0])
    groups = projection_groups(spinor, "l")
    bands = compute_bands(spinor, k_path(spinor.structure, "GM", n_points=5), BandSettings((4, 4, 1), groups=groups))
    assert bands.energies.shape[2] == 16
    np.testing.assert_allclose(bands.energies[0, 0, ::2], bands.energies[0, 0, 1::2], atol=1e-9)  # Γ, a Kramers point
    np.testing.assert_allclose(sum(bands.weights.values()), 1.0, atol=1e-9)


def test_a_metal_gets_a_level_with_the_smearing_named_and_no_gap(hbn: CrystalElectrons) -> None:
    metal = crystal_from_record(hbn_record(), n_electrons=7.0)
    bands = compute_bands(metal, k_path(metal.structure, "GM", n_points=5), BandSettings(mesh=(6, 6, 1)))
    assert bands.edges is None
    assert bands.metadata["smearing"] == "fermi-dirac 0.05 eV"
    states = solve_bands(metal.crystal, sampling_mesh(metal, (6, 6, 1), 0.2).k_frac)
    assert bands.fermi_level is not None
    assert float(states.energies[0, :, 3].min()) < bands.fermi_level < float(states.energies[0, :, 3].max())
    cold = compute_fermi(metal, mesh=(4, 4, 1), smearing=Smearing("cold", 0.1))
    assert cold.metadata["smearing"] == "cold 0.1 eV"
    with pytest.raises(ElectronicError, match=r"a metal: 7 electrons fill 3\.5 bands"):
        compute_fermi(metal, mesh=(4, 4, 1), needs_gap=True)
    assert compute_fermi(hbn, mesh=(4, 4, 1), needs_gap=True).edges is not None


def test_a_mesh_must_be_as_fine_as_hoppings_are_long(hbn: CrystalElectrons) -> None:
    needed = reach_size(hbn)
    assert needed[0] >= 3
    assert needed[2] == 1
    with pytest.raises(ElectronicError, match="2×2×1 k-mesh") as caught:
        sampling_mesh(hbn, (2, 2, 1), 0.2)
    assert f"--kpoints {needed[0]},{needed[1]},1" in caught.value.suggestion
    with pytest.raises(ElectronicError, match="4×4×2"):
        sampling_mesh(hbn, (4, 4, 2), 0.2)
    assert sampling_mesh(hbn, None, 50.0).size == needed  # a wide spacing is refined to it
    # A supercell needs fewer points; one twice as wide in one direction still needs the others.
    record = supercell(hbn_record(), (4, 1, 1))
    assert reach_size(crystal_from_record(record)) == (1, needed[1], 1)


def supercell(record: Record, repeats: tuple[int, int, int]) -> Record:
    structure = record.structure
    large = Structure(
        np.tile(structure.atomic_numbers, int(np.prod(repeats))),
        supercell_positions(structure.positions, structure.cell, repeats),
        structure.cell * np.array(repeats)[:, None],
        structure.pbc,
    )
    labels = {name: supercell_operator(value, repeats) for name, value in record.labels.items()}  # type: ignore[arg-type]
    return Record(large, labels, record.provenance)


def test_bands_of_a_supercell_are_folded_and_it_is_said(hbn: CrystalElectrons) -> None:
    large = crystal_from_record(supercell(hbn_record(), (2, 1, 1)))
    path = k_path(large.structure, "G=0,0,0 A=0.4,0.2,0", n_points=3)
    bands = compute_bands(large, path, BandSettings(mesh=(2, 4, 1)))
    half = path.k_frac * [0.5, 1, 1]
    unit = solve_bands(hbn.crystal, np.concatenate([half, half + np.array([0.5, 0, 0])])).energies[0].numpy()
    folded = np.sort(unit.reshape(2, len(path), -1).transpose(1, 0, 2).reshape(len(path), -1), axis=1)
    np.testing.assert_allclose(bands.energies[0], folded, atol=1e-8)
    assert "2 primitive cells" in k_path(large.structure).notes[0]


def test_a_slab_in_a_periodic_box_is_a_layer(hbn: CrystalElectrons) -> None:
    record = hbn_record()
    boxed = Structure(
        record.structure.atomic_numbers, record.structure.positions, record.structure.cell, np.ones(3, dtype=bool)
    )
    electrons = crystal_from_record(Record(boxed, record.labels, record.provenance))
    assert electrons.structure.pbc.tolist() == [True, True, False]
    assert "along a3" in electrons.notes[0]
    assert not k_path(electrons.structure).k_frac[:, 2].any()


def test_what_a_record_must_have() -> None:
    with pytest.raises(BasisError, match="does not say how many electrons"):
        crystal_from_record(hbn_record(valence=False))
    assert crystal_from_record(hbn_record(valence=False), n_electrons=8).crystal.n_electrons == 8
    told = replace(hbn_record(valence=False).structure, info={"n_electrons": 8.0})
    unknown = hbn_record(valence=False)
    assert crystal_from_record(Record(told, unknown.labels, unknown.provenance)).crystal.n_electrons == 8
    record = hbn_record()
    bare = Record(record.structure, {"hamiltonian": record.labels["hamiltonian"]}, record.provenance)
    with pytest.raises(LabelError, match="without overlap"):
        crystal_from_record(bare)
    nameless = Record(record.structure, record.labels, replace(record.provenance, orbital_basis=None))
    with pytest.raises(ElectronicError, match="not named"):
        crystal_from_record(nameless)


def test_a_reference_is_placed_on_the_path_and_compared_at_its_own_points(hbn: CrystalElectrons) -> None:
    few = BandSettings(mesh=(4, 4, 1))
    bands = compute_bands(hbn, k_path(hbn.structure, "GMKG", n_points=40), few)
    other = path_through(hbn.structure, own_bands().k_frac, {0: "Γ"})
    reference = compute_bands(hbn, other, few)
    shifted = replace(reference, energies=reference.energies + 0.2, fermi_level=reference.fermi_level + 0.2)  # type: ignore[operator]
    compared = with_reference_bands(bands, hbn, shifted, source="PBE").reference
    assert compared is not None
    assert compared.comparison is not None
    assert compared.comparison.shift == pytest.approx(0.2, abs=1e-9)
    assert compared.comparison.rms == pytest.approx(0.2, abs=1e-9)
    assert compared.comparison.rms_shifted == pytest.approx(0.0, abs=1e-9)
    # CP2K's path is the same one, its corners twice: the places are its distances, Γ at both ends included.
    np.testing.assert_allclose(compared.distances, other.distances, atol=1e-6)
    assert all(a <= b for a, b in pairwise(compared.distances))
    off = replace(reference, k_frac=reference.k_frac + np.array([0.013, 0.007, 0]))
    assert np.isnan(with_reference_bands(bands, hbn, off, source="x").reference.distances).all()  # type: ignore[union-attr]


def test_a_reference_of_another_cell_or_spin_is_refused(hbn: CrystalElectrons) -> None:
    bands = compute_bands(hbn, k_path(hbn.structure, "GM", n_points=4), BandSettings((4, 4, 1)))
    with pytest.raises(ElectronicError, match="reference bands of the cell"):
        with_reference_bands(bands, hbn, replace(bands, cell=1.02 * bands.cell), source="x")
    both = torch.from_numpy(bands.energies).expand(2, -1, -1).numpy()
    with pytest.raises(ElectronicError, match="spin channels"):
        with_reference_bands(bands, hbn, replace(bands, energies=both), source="x")


def test_progress_is_told_and_memory_is_asked_first(hbn: CrystalElectrons) -> None:
    told: dict[str, list[int]] = {}

    def watch(task: str, steps: int):
        told[task] = []
        return told[task].append

    compute_bands(hbn, k_path(hbn.structure, "GM", n_points=7), BandSettings(mesh=(4, 4, 1)), watch)
    assert [counts[-1] for counts in told.values()] == [7, 10]
    with pytest.raises(ElectronicError, match="18 orbitals, which need"):
        check_memory(hbn.crystal, available=1000.0)


@pytest.mark.parametrize(
    "settings", [{"method": "gauss"}, {"width": 0.0}, {"window": (1.0, -1.0)}], ids=["method", "width", "window"]
)
def test_settings_of_a_density_that_mean_nothing(settings) -> None:
    with pytest.raises(ConfigError):
        DosSettings(**settings)
