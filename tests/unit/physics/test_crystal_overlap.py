import numpy as np
import pytest
import torch
from pyscf import gto
from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation

from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import reorder_matrix
from adiabat.core.units import BOHR
from adiabat.data.structure import Structure
from adiabat.electronic.bloch import BlochSum
from adiabat.equivariant.wigner import wigner_d
from adiabat.physics.crystal_overlap import crystal_overlap, crystal_position
from adiabat.physics.gaussian_basis import GaussianBasis

# Two sets and shells up to f on one atom, a contraction of three on the other.
BASIS = GaussianBasis(
    "test",
    {
        5: "B test\n2\n2 0 2 2 2 1 1\n2.9 0.14 0.3 -0.12 -0.08\n0.4 0.7 -0.2 -0.38 -0.77\n3 3 3 1 1\n0.6 1.0",
        7: "N test\n1\n2 0 1 3 1 1\n7.3 0.11 -0.05\n0.9 -0.44 -0.31\n0.3 -0.58 -0.31",
    },
)
ROUNDING = 1e-13
SLAB = Structure(
    np.array([5, 7, 7]),
    np.array([[0.3, 0.1, 0.2], [1.5, -0.3, 0.4], [7.9, 0.2, 1.9]]),
    np.array([[2.6, 0.1, 0.0], [-1.2, 2.3, 0.2], [0.0, 0.0, 0.0]]),
    np.array([True, True, False]),
)


def pyscf_overlap(structure: Structure) -> np.ndarray:
    return pyscf_integrals(structure, "int1e_ovlp")


def pyscf_integrals(structure: Structure, name: str) -> np.ndarray:
    shells = {
        z: [
            [l, *np.column_stack([part.exponents, row]).tolist()]
            for part in BASIS.sets(z)
            for l, row in zip(part.angular_momenta, part.coefficients, strict=True)
        ]
        for z in (5, 7)
    }
    atoms = list(zip(structure.symbols, structure.positions / BOHR, strict=True))
    molecule = gto.M(atom=atoms, unit="Bohr", basis={"B": shells[5], "N": shells[7]}, spin=None, verbose=0)
    order = BASIS.orbital_basis.shell_sequence(structure.atomic_numbers)
    # PySCF sorts the shells of an atom by l, and so does this basis.
    return reorder_matrix(molecule.intor(name), "pyscf", order)


def test_molecule_agrees_with_pyscf():
    molecule = Structure(np.array([5, 7, 5]), np.array([[0.0, 0, 0], [0.9, -0.7, 1.1], [-1.3, 0.4, 0.8]]))
    overlap = crystal_overlap(molecule, BASIS)
    assert np.abs(overlap.to_dense() - pyscf_overlap(molecule)).max() < ROUNDING


def test_crystal_is_a_piece_of_a_large_molecule():
    overlap = crystal_overlap(SLAB, BASIS, threshold=1e-12)
    assert overlap.pairs[:, 2].tolist() == [0] * len(overlap)
    assert np.abs(overlap.pairs[:, :2]).max() > 2
    shift = np.array([2, -1, 0])
    image = Structure(
        np.tile(SLAB.atomic_numbers, 2), np.concatenate([SLAB.positions, SLAB.positions + shift @ SLAB.cell])
    )
    n = overlap.n_orbitals
    starts = np.concatenate([[0], np.cumsum(n)])
    found = 0
    far = pyscf_overlap(image)[: starts[-1], starts[-1] :]
    for pair, block in overlap.blocks():
        if pair[:3].tolist() == shift.tolist():
            i, j = pair[3:]
            assert np.abs(block - far[starts[i] : starts[i + 1], starts[j] : starts[j + 1]]).max() < ROUNDING
            found += 1
    assert found >= 4


def test_every_pair_has_its_reverse_and_the_sum_is_positive():
    overlap = crystal_overlap(SLAB, BASIS)
    assert overlap.hermiticity_error() < ROUNDING
    k_frac = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0.31, -0.17, 0]], dtype=torch.float64)
    matrices = BlochSum(overlap)(torch.from_numpy(overlap.values), k_frac)
    assert torch.linalg.eigvalsh(matrices).min() > 0.05


def test_overlap_cut_short_is_not_positive():
    """Negative control: S cut after the nearest neighbors is no Gram matrix."""
    full = crystal_overlap(SLAB, BASIS)
    distance = np.linalg.norm(
        SLAB.positions[full.pairs[:, 4]] - SLAB.positions[full.pairs[:, 3]] + full.pairs[:, :3] @ SLAB.cell, axis=1
    )
    short = full.on_pairs(full.pairs[distance < 2.4])
    k_frac = torch.rand(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.linalg.eigvalsh(BlochSum(short)(torch.from_numpy(short.values), k_frac)).min() < 0


def test_given_pairs_are_evaluated_and_no_others():
    full = crystal_overlap(SLAB, BASIS)
    chosen = full.pairs[::3]
    part = crystal_overlap(SLAB, BASIS, chosen[::-1])
    assert np.array_equal(part.pairs, chosen)
    assert np.abs(part.values - full.on_pairs(chosen).values).max() < ROUNDING
    far = crystal_overlap(SLAB, BASIS, np.array([[40, 0, 0, 0, 1]]))
    assert np.abs(far.values).max() < 1e-25


def turned(operator: BlockOperator, rotation: np.ndarray) -> np.ndarray:
    matrix = torch.tensor(rotation, dtype=torch.float64)
    d = {
        z: block_diag(*(wigner_d(l, matrix).numpy() for l in BASIS.orbital_basis.of(z)))
        for z in BASIS.orbital_basis.shells
    }
    z = SLAB.atomic_numbers
    return np.concatenate([(d[z[p[3]]] @ block @ d[z[p[4]]].T).ravel() for p, block in operator.blocks()])


@pytest.mark.parametrize("sign", [1, -1], ids=["proper", "improper"])
def test_it_turns_with_the_crystal(sign):
    rotation = sign * Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()
    other = Structure(SLAB.atomic_numbers, SLAB.positions @ rotation.T, SLAB.cell @ rotation.T, SLAB.pbc)
    still = crystal_overlap(SLAB, BASIS)
    moved = crystal_overlap(other, BASIS, still.pairs)
    assert np.abs(moved.values - turned(still, rotation)).max() < ROUNDING
    # Negative control: the other handedness.
    assert np.abs(moved.values - turned(still, -rotation)).max() > 0.1


def test_it_is_the_overlap_that_cp2k_wrote(shared_data):
    data = np.load(shared_data / "hbn_ham" / "hbn_pbe_szvp.npz", allow_pickle=False)
    text = (shared_data / "hbn_ham" / "BASIS_SZVP").read_text()
    basis = GaussianBasis.from_text(text, "SZVP-MOLOPT-SR-GTH", [5, 7])
    for frame in (0, 30, 62):
        atoms, edges = (slice(*data[name][frame : frame + 2]) for name in ("atom_ptr", "edge_ptr"))
        structure = Structure(
            data["Z"][atoms].astype(np.int64), data["pos"][atoms], data["cell"][frame], np.array([True, True, False])
        )
        pairs = np.concatenate([data["edge_R"][edges], data["edge_index"][edges]], axis=1)
        stored = BlockOperator.from_blocks(
            pairs, data["S"][edges], basis.orbital_basis.n_orbitals(structure.atomic_numbers)
        )
        # CP2K leaves out elements below 1e-8.
        assert np.abs(crystal_overlap(structure, basis, pairs).values - stored.values).max() < 1.01e-8


def test_positions_agree_with_pyscf():
    molecule = Structure(np.array([5, 7, 5]), np.array([[0.2, 0.1, 0], [0.9, -0.7, 1.1], [-1.3, 0.4, 0.8]]))
    position = crystal_position(molecule, BASIS, crystal_overlap(molecule, BASIS))
    expected = pyscf_integrals(molecule, "int1e_r") * BOHR
    for part, reference in zip(position, expected, strict=True):
        assert np.abs(part.to_dense() - reference).max() < 10 * ROUNDING


def test_positions_of_a_crystal_count_from_one_origin():
    overlap = crystal_overlap(SLAB, BASIS)
    position = crystal_position(SLAB, BASIS, overlap)
    # ⟨0μ|r|Rν⟩ − ½ R S is Hermitian; r itself is not.
    shifts = np.repeat(overlap.pairs[:, :3] @ SLAB.cell / 2, np.diff(overlap.offsets), axis=0)
    for axis, part in enumerate(position):
        centred = part.with_values(part.values - shifts[:, axis] * overlap.values)
        assert centred.hermiticity_error() < 100 * ROUNDING
    assert position[0].hermiticity_error() > 0.1
