"""What every Hamiltonian must be, whatever was learned: Hermitian, of the right parity, symmetric as its bond is."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.structure import Structure
from adiabat.equivariant.bond_blocks import bond_block_basis
from adiabat.models.model import Model
from adiabat.models.operator_head import orbital_frame
from small_models import F_BASIS, crystal, molecule, orthogonal_matrix, small_config, small_model

# of blocks of order one
ROUNDING = 1e-12
BROKEN = 1e-4
CARBON = 6


@cache
def shared_model(pair_radius: float | None = None) -> Model:
    return small_model(small_config(pair_radius=pair_radius))


def shell_slices(basis: OrbitalBasis, z: int, l: int) -> list[slice]:
    starts = np.cumsum([0, *(2 * k + 1 for k in basis.of(z))])
    return [slice(starts[n], starts[n + 1]) for n, k in enumerate(basis.of(z)) if k == l]


# ---------------------------------------------------------------- Hermitian


def test_a_molecule_has_a_symmetric_matrix_exactly() -> None:
    dense = shared_model().delta_hamiltonian(molecule()).to_dense()
    assert np.abs(dense).min() > 0
    assert np.array_equal(dense, dense.T)


def test_each_block_of_a_crystal_is_the_transpose_of_its_partner_exactly() -> None:
    operator = shared_model(6.0).delta_hamiltonian(crystal())
    assert (operator.pairs[:, 3] == operator.pairs[:, 4]).sum() > 3, "no atom meets its own image"
    assert operator.hermiticity_error() == 0


def test_without_the_average_over_partners_it_is_not_hermitian(monkeypatch: pytest.MonkeyPatch) -> None:
    model = shared_model(6.0)
    graph = model.graph(crystal(), {"hamiltonian"})
    alone = replace(graph, pair_reverse=torch.arange(len(graph.pair_reverse)))
    monkeypatch.setattr(model, "graph", lambda structure, outputs: alone)
    assert model.delta_hamiltonian(crystal()).hermiticity_error() > BROKEN


# ---------------------------------------------------------------- parity


def antisymmetry_between_p_shells(operator: BlockOperator, structure: Structure) -> float:
    """Largest |H_ab − H_abᵀ| between carbon's two p shells a and b: the L = 1 part of even parity, a pseudovector."""
    a, b = shell_slices(F_BASIS, CARBON, 1)
    worst = 0.0
    for pair, block in operator.blocks():
        if pair[3] == pair[4] and not pair[:3].any() and structure.atomic_numbers[pair[3]] == CARBON:
            worst = max(worst, float(np.abs(block[a, b] - block[a, b].T).max()))
    return worst


def test_pseudovectors_on_an_atom_come_through_the_unnatural_path_alone() -> None:
    both = antisymmetry_between_p_shells(shared_model().delta_hamiltonian(molecule()), molecule())
    assert both > BROKEN
    natural = small_model(small_config())
    with torch.no_grad():
        for weight in natural.operator_head.onsite.unnatural:
            weight.zero_()
    assert antisymmetry_between_p_shells(natural.delta_hamiltonian(molecule()), molecule()) < ROUNDING * both


def test_a_mirror_plane_forbids_blocks_between_even_and_odd_orbitals() -> None:
    """In a molecule in the xy plane, p_z and d_xz, d_yz have no element with s, p_x, p_y, d_xy, ….

    Negative control: bent out of the plane, it has.
    """
    parity = np.concatenate([_z_parities(F_BASIS.of(z)) for z in molecule().atomic_numbers])
    forbidden = parity[:, None] * parity[None, :] < 0
    flat = Structure(molecule().atomic_numbers, molecule().positions)
    flat.positions[:, 2] = 0
    flat.positions[:, :2] *= 2
    dense = shared_model().delta_hamiltonian(flat).to_dense()
    assert np.abs(dense[forbidden]).max() < ROUNDING * np.abs(dense).max()
    bent = Structure(flat.atomic_numbers, flat.positions + np.outer(np.arange(5) % 2, [0.0, 0.0, 0.3]))
    dense = shared_model().delta_hamiltonian(bent).to_dense()
    assert np.abs(dense[forbidden]).max() > BROKEN * np.abs(dense).max()


def _z_parities(shells: tuple[int, ...]) -> np.ndarray:
    """±1 of each orbital under z → −z: (−1)^(l + m)."""
    return np.concatenate([[(-1) ** (l + m) for m in range(-l, l + 1)] for l in shells])


# ---------------------------------------------------------------- linear molecules


def linear(bend: float = 0.0) -> Structure:
    """H–C–O–C along an oblique axis; ``bend`` moves its last atom off it, in Å."""
    axis = orthogonal_matrix(1) @ np.array([0.0, 0.0, 1.0])
    aside = orthogonal_matrix(1) @ np.array([1.0, 0.0, 0.0])
    positions = np.array([0.0, 1.1, 2.3, 3.5])[:, None] * axis
    positions[-1] += bend * aside
    return Structure(np.array([1, 6, 8, 6]), positions)


def beyond_slater_koster(model: Model, structure: Structure) -> float:
    """Largest coefficient with M > 0, or odd under mirrors that hold the bond, of all pair blocks in bond frames."""
    layout = model.operator_layout
    graph = model.graph(structure, {"hamiltonian"})
    with torch.no_grad():
        pair = model(graph, {"hamiltonian"}).hamiltonian.pair
    turn = orbital_frame(model.pair_vectors(graph), layout)
    basis = bond_block_basis(layout.shells)
    coefficients: Tensor = (turn @ pair @ turn.mT).flatten(1) @ basis.matrix.mT
    return float(coefficients[:, basis.n_even :].abs().max() / coefficients.abs().max())


def test_blocks_of_a_linear_molecule_are_slater_koster_integrals() -> None:
    assert beyond_slater_koster(shared_model(), linear()) < ROUNDING


def test_a_bent_molecule_has_more_than_slater_koster_integrals() -> None:
    assert beyond_slater_koster(shared_model(), linear(bend=0.4)) > BROKEN


def test_a_linear_molecule_has_no_pseudovector() -> None:
    operator, bent = (shared_model().delta_hamiltonian(linear(bend)) for bend in (0.0, 0.4))
    assert antisymmetry_between_p_shells(operator, linear()) < ROUNDING
    assert antisymmetry_between_p_shells(bent, linear()) > BROKEN


# ---------------------------------------------------------------- continuity and precision


def test_blocks_do_not_jump_where_a_bond_crosses_the_equator() -> None:
    """The bond's frame jumps there by a turn about the bond."""

    def at(z: float) -> np.ndarray:
        structure = Structure(np.array([8, 6, 1]), np.array([[0.0, 0.0, 0.0], [0.8, 0.9, z], [-0.7, 0.3, 0.8]]))
        return shared_model().delta_hamiltonian(structure).to_dense()

    below, above, further = at(-1e-9), at(1e-9), at(3e-9)
    # as much as two points on one side, which differ by the slope
    assert np.abs(above - below).max() < 10 * np.abs(further - above).max() + ROUNDING


@pytest.mark.parametrize("structure", [molecule(), crystal()], ids=["molecule", "crystal"])
def test_single_precision_agrees_with_double(structure: Structure) -> None:
    exact, rounded = (
        small_model(small_config(pair_radius=5.0), dtype=dtype) for dtype in (torch.float64, torch.float32)
    )
    state = {name: value.clone() for name, value in exact.state_dict().items()}
    rounded.load_state_dict(state)
    outputs = ("energy", "forces", "hamiltonian")
    ours = exact(exact.graph(structure, outputs), outputs)
    theirs = rounded(rounded.graph(structure, outputs), outputs)
    assert theirs.forces.dtype == torch.float32
    assert theirs.energy.dtype == torch.float64
    pairs = [
        (theirs.forces, ours.forces),
        (theirs.hamiltonian.onsite, ours.hamiltonian.onsite),
        (theirs.hamiltonian.pair, ours.hamiltonian.pair),
        (theirs.energy - exact.energy_head.reference.sum(), ours.energy - exact.energy_head.reference.sum()),
    ]
    for single, double in pairs:
        # epsilon is 1e-7; random weights multiply it in products of products
        assert (single.double() - double).abs().max() < 1e-4 * double.abs().max()


def test_shells_that_only_have_s_work() -> None:
    model = small_model(small_config(l_max=2), OrbitalBasis("s", {1: (0,), 6: (0, 0), 8: (0, 0)}))
    dense = model.delta_hamiltonian(molecule()).to_dense()
    again = model.delta_hamiltonian(
        Structure(molecule().atomic_numbers, molecule().positions @ orthogonal_matrix(-1).T)
    ).to_dense()
    assert np.abs(dense - again).max() < ROUNDING * np.abs(dense).max()
