"""Each check passes on real data, and fails on the same data broken on purpose."""

from dataclasses import replace

import numpy as np
import pytest

from adiabat.core.errors import LabelError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.core.units import BOHR, HARTREE, KCAL_PER_MOL
from adiabat.data.audit import audit_records
from adiabat.data.audit_agreement import mended_vasp_order
from adiabat.data.audit_result import AuditError, Severity
from adiabat.data.audit_units import free_atom_energy
from adiabat.data.label_units import LabelUnits
from adiabat.data.readers import ReadOptions, read_records
from adiabat.data.record import Provenance, Record
from adiabat.data.structure import Structure


@pytest.fixture(scope="module")
def messy(repository):
    return repository / "tests" / "data" / "messy"


@pytest.fixture(scope="module")
def ethanol(messy):
    return read_records(messy / "ethanol_many.xyz")


@pytest.fixture(scope="module")
def silicon(messy):
    return read_records(messy / "silicon_strained.xyz")


def changed(records, **changes):
    """Records with labels multiplied, by name."""
    return [replace(r, labels={k: np.asarray(v * changes.get(k, 1.0)) for k, v in r.labels.items()}) for r in records]


def moved(record, factor):
    return replace(record, structure=replace(record.structure, positions=record.structure.positions * factor))


def errors(records):
    return {finding.check: finding for finding in audit_records(records).of(Severity.ERROR)}


def vibrations(n=12, step=0.02):
    """Frames of a harmonic H₂ with exact labels, near enough for finite differences."""
    records = []
    for k in range(n):
        stretch = step * k - 0.1
        positions = np.array([[0.0, 0, 0], [0, 0, 0.74 + stretch]])
        force = -35.0 * stretch
        labels = {
            "energy": np.array(-31.7 + 17.5 * stretch**2),
            "forces": np.array([[0.0, 0, -force], [0, 0, force]]),
        }
        records.append(Record(Structure(np.array([1, 1]), positions), labels, Provenance("toy")))
    return records


def test_published_molecules_pass(ethanol, messy):
    assert audit_records(ethanol).passed
    mixed = read_records(messy / "acetylacetone.xyz") + read_records(messy / "isolated_atoms.xyz")
    audit = audit_records(mixed)
    assert audit.passed
    assert any("binding energy against isolated atoms: median -4.8" in f.message for f in audit.findings)


def test_published_crystals_pass_with_the_right_stress(silicon):
    audit = audit_records(silicon)
    assert audit.passed
    # 1 %: the trapezoidal rule over strains of 2 %.
    assert any("ΔE = 0.99" in f.message or "ΔE = 1.00" in f.message for f in audit.findings)


def test_stress_of_the_wrong_sign(silicon):
    found = errors(changed(silicon, stress=-1.0))
    assert "wrong sign" in found["energy–stress differences"].message


def test_stress_in_another_unit(silicon):
    found = errors(changed(silicon, stress=0.1))
    assert "stress in GPa was taken for kbar" in found["energy–stress differences"].message


def test_copper_whose_shears_stand_in_another_order(messy):
    found = errors(read_records(messy / "copper_strained.xyz"))
    assert "--stress-order 'xx yy zz xy zx yz'" in found["energy–stress differences"].suggestion
    mended = ReadOptions(units=LabelUnits(stress_order="xx yy zz xy zx yz"))
    again = audit_records(read_records(messy / "copper_strained.xyz", options=mended))
    assert again.passed
    # What is left is one pressure: the Pulay stress of the published calculation.
    assert any("kbar added to its diagonal" in f.message for f in again.findings)


def test_order_in_words():
    assert mended_vasp_order("yz zx xy") == "xx yy zz xy yz zx"
    assert mended_vasp_order("zx yz xy") == "xx yy zz xy zx yz"


def test_stress_that_slipped_to_other_frames(messy):
    records = [r for name in ("train", "test") for r in read_records(messy / f"silicon_{name}_head.xyz")]
    found = errors(records)
    assert found["repeated labels"].records == tuple(range(8))
    assert "stress" in found["repeated labels"].message


def test_forces_of_the_wrong_sign():
    assert audit_records(vibrations()).passed
    assert "wrong sign" in errors(changed(vibrations(), forces=-1.0))["energy–forces differences"].message


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (BOHR / HARTREE, "hartree/bohr"),
        (1 / HARTREE, "hartree/Å"),
        (1 / KCAL_PER_MOL, "kcal/mol"),
        (BOHR, "bohr"),
    ],
)
def test_forces_in_another_unit(factor, words):
    assert words in errors(changed(vibrations(), forces=factor))["energy–forces differences"].message


def test_wrong_signs_and_units_show_without_a_trajectory(ethanol):
    assert "wrong sign" in errors(changed(ethanol, forces=-1.0))["pair probe"].message
    assert "units" in errors(changed(ethanol, forces=BOHR / HARTREE))["pair probe"].message


@pytest.mark.parametrize(
    ("factor", "unit"), [(1 / HARTREE, "hartree"), (1 / KCAL_PER_MOL, "kcal/mol"), (HARTREE, "eV")]
)
def test_energies_in_another_unit(ethanol, factor, unit):
    assert errors(changed(ethanol, energy=factor))["energy unit"].suggestion.endswith(f"--energy-unit {unit}")


def test_free_atoms():
    # Hartree–Fock energies of neon and argon, −128.547 and −526.818 Hartree; the formula is good to 1 %.
    np.testing.assert_allclose(free_atom_energy(np.array([10, 18])) / HARTREE, [-128.547, -526.818], rtol=1e-2)


def test_positions_in_bohr(ethanol):
    assert errors([moved(r, 1 / BOHR) for r in ethanol])["length unit"].suggestion.endswith("--positions-unit bohr")
    assert "shorter than bonds" in errors([moved(r, BOHR) for r in ethanol])["length unit"].message


def test_overlapping_atoms(ethanol):
    positions = ethanol[3].structure.positions.copy()
    positions[1] = positions[0]
    broken = [*ethanol[:3], replace(ethanol[3], structure=replace(ethanol[3].structure, positions=positions))]
    assert errors(broken)["distances"].records == (3,)


def test_one_structure_with_two_energies(ethanol):
    twin = changed(ethanol[:1], energy=0.999)[0]
    assert errors([*ethanol, twin])["duplicates"].records == (0, len(ethanol))
    assert audit_records([*ethanol, ethanol[0]]).passed
    assert any("1 structures stand twice" in f.message for f in audit_records([*ethanol, ethanol[0]]).findings)


def test_isolated_atoms_of_another_method(messy):
    atoms = changed(read_records(messy / "isolated_atoms.xyz"), energy=0.1)
    found = errors(read_records(messy / "acetylacetone.xyz") + atoms)
    assert "isolated atoms" in found["energy reference"].suggestion


def test_missing_labels_and_outliers(ethanol):
    records = [replace(ethanol[0], labels={"energy": ethanol[0].labels["energy"]}), *ethanol[1:]]
    warnings = {f.check: f for f in audit_records(records).of(Severity.WARNING)}
    assert warnings["labels"].records == (0,)
    spiked = [*ethanol[:-1], replace(ethanol[-1], labels={**ethanol[-1].labels, "energy": np.array(-4190.0)})]
    warnings = {f.check: f for f in audit_records(spiked).of(Severity.WARNING)}
    assert warnings["energy outliers"].records == (len(ethanol) - 1,)


def test_net_force(ethanol):
    pushed = [replace(r, labels={**r.labels, "forces": r.labels["forces"] + 0.5}) for r in ethanol]
    assert any(f.check == "net force" for f in audit_records(pushed).of(Severity.WARNING))


def test_nothing_labelled_and_nothing_at_all(ethanol):
    assert "labels" in errors([replace(r, labels={}) for r in ethanol])
    with pytest.raises(LabelError, match="an empty dataset"):
        audit_records([])


def test_the_error_names_checks_and_records(ethanol):
    twin = changed(ethanol[:1], energy=0.999)[0]
    with pytest.raises(AuditError, match=r"duplicates: .*\(records 0, 40\)"):
        audit_records([*ethanol, twin]).raise_if_failed()


def hydrogen(hamiltonian=None, overlap=None, density=None, energies=None):
    basis = OrbitalBasis("toy", {1: (0,)})
    n_orbitals = np.array([1, 1])
    dense = {
        "hamiltonian": [[-8.0, -6.0], [-6.0, -8.0]] if hamiltonian is None else hamiltonian,
        "overlap": [[1.0, 0.5], [0.5, 1.0]] if overlap is None else overlap,
        "density_matrix": [[2 / 3, 2 / 3], [2 / 3, 2 / 3]] if density is None else density,
    }
    labels = {name: BlockOperator.from_dense(np.array(matrix), n_orbitals) for name, matrix in dense.items()}
    labels["orbital_energies"] = np.array([-14 / 1.5, -4.0] if energies is None else energies)
    structure = Structure(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 0.9]]))
    return Record(structure, labels, Provenance("toy", orbital_basis=basis))


def test_operators_that_are_right():
    audit = audit_records([hydrogen()])
    assert audit.passed
    assert any("smallest eigenvalue of S 0.5" in f.message for f in audit.findings)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"hamiltonian": [[-8.0, -6.0], [-6.1, -8.0]]}, "hamiltonian is not Hermitian"),
        ({"overlap": [[1.0, 1.5], [1.5, 1.0]]}, "not positive definite"),
        ({"overlap": [[2.0, 0.5], [0.5, 2.0]]}, "not normalised"),
        ({"density_matrix": [[1.0, 0.9], [0.9, 1.0]]}, "number of electrons"),
        ({"energies": [-14 / 1.5 / HARTREE, -4.0 / HARTREE]}, "not the eigenvalues"),
    ],
)
def test_operators_that_are_wrong(broken, words):
    broken = {{"density_matrix": "density"}.get(k, k): v for k, v in broken.items()}
    assert words in audit_records([hydrogen(**broken)]).of(Severity.ERROR)[0].message


def test_operators_of_another_basis():
    record = hydrogen()
    other = replace(record.provenance, orbital_basis=OrbitalBasis("other", {1: (0, 0)}))
    assert "differ from the basis 'other'" in errors([replace(record, provenance=other)])["operators"].message


def test_operators_with_different_pairs():
    record = hydrogen()
    overlap = record.labels["overlap"]
    diagonal = BlockOperator(overlap.pairs[[0, 3]], np.array([0, 1, 2]), np.ones(2), overlap.n_orbitals)
    broken = replace(record, labels={**record.labels, "overlap": diagonal})
    assert "different atom pairs" in errors([broken])["operators"].message
