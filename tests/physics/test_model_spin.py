"""Hamiltonians with spin: how they turn, that they are Hermitian, and that spinors keep Kramers pairs."""

from functools import cache

import numpy as np
import pytest
import torch

from adiabat.core.operators import BlockOperator, Spin
from adiabat.electronic.bloch import BlochSum, join_spinor
from adiabat.models.model import Model
from small_models import (
    F_BASIS,
    crystal,
    molecule,
    orthogonal_matrix,
    relative_difference,
    small_config,
    small_model,
    turned,
    turned_operator,
)

# of blocks of order one
ROUNDING = 1e-11
BROKEN = 1e-4
SPINS: tuple[Spin, ...] = ("none", "collinear", "spinor")
DEGENERACY = 1e-12
"""Of the solver, against the largest energy."""
GAP = 1e-9
"""Between pairs, against the largest energy, far above the solver's rounding."""


@cache
def shared_model(spin: Spin, baseline: str = "two-center") -> Model:
    return small_model(small_config(pair_radius=5.0), spin=spin, baseline=baseline)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("determinant", [1, -1], ids=["turned", "mirrored"])
@pytest.mark.parametrize("spin", SPINS)
def test_blocks_turn_with_the_crystal(spin: Spin, determinant: int) -> None:
    model, q = shared_model(spin), orthogonal_matrix(determinant)
    expected = turned_operator(model.hamiltonian(crystal()), crystal(), F_BASIS, q)
    assert relative_difference(model.hamiltonian(turned(crystal(), q)).values, expected.values) < ROUNDING


@pytest.mark.parametrize("determinant", [1, -1], ids=["turned", "mirrored"])
def test_spins_that_stay_while_the_crystal_turns_are_noticed(determinant: int) -> None:
    model, q = shared_model("spinor"), orthogonal_matrix(determinant)
    operator = model.hamiltonian(crystal())
    parts = [turned_operator(operator.component(k), crystal(), F_BASIS, q).values for k in range(4)]
    assert relative_difference(model.hamiltonian(turned(crystal(), q)).values, np.stack(parts)) > BROKEN


@pytest.mark.parametrize("spin", SPINS)
def test_hermitian_exactly(spin: Spin) -> None:
    operator = shared_model(spin).hamiltonian(crystal())
    assert operator.spin == spin
    assert operator.hermiticity_error() == 0


def kramers_splitting(operator: BlockOperator) -> float:
    """Largest distance within pairs of states at Γ and at the face of the zone, where k and −k are one."""
    k = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.5]], dtype=torch.float64)
    matrices = join_spinor(BlochSum(operator)(torch.from_numpy(operator.values), k))
    energies = torch.linalg.eigvalsh(matrices)
    energies = energies / energies.abs().max()
    assert (energies[:, 2::2] - energies[:, 0:-2:2]).abs().min() > GAP, "more than Kramers pairs are degenerate"
    return float((energies[:, 1::2] - energies[:, 0::2]).abs().max())


def test_spinors_keep_kramers_pairs_whatever_was_learned() -> None:
    operator = shared_model("spinor").hamiltonian(crystal())
    assert np.abs(operator.values[1]).max() > BROKEN, "no spin–orbit coupling to speak of"
    assert kramers_splitting(operator) < DEGENERACY


def test_a_magnetic_field_splits_kramers_pairs() -> None:
    operator = shared_model("spinor").hamiltonian(crystal())
    zeeman = operator.values.copy()
    field = 1e-3 * np.abs(zeeman).max()
    onsite = np.flatnonzero(~operator.pairs[:, :3].any(axis=1) & (operator.pairs[:, 3] == operator.pairs[:, 4]))
    for index in onsite:
        n = int(operator.n_orbitals[operator.pairs[index, 3]])
        diagonal = operator.offsets[index] + np.arange(n) * (n + 1)
        zeeman[0, diagonal] += field
        zeeman[3, diagonal] -= field
    assert kramers_splitting(operator.with_values(zeeman)) > BROKEN


def test_up_and_down_are_learned_apart() -> None:
    operator = shared_model("collinear").hamiltonian(crystal())
    assert relative_difference(operator.values[0], operator.values[1]) > BROKEN


def test_a_molecule_works_too() -> None:
    operator = shared_model("spinor").hamiltonian(molecule())
    assert operator.hermiticity_error() == 0
    assert not operator.is_periodic


def test_blocks_vanish_smoothly_at_the_pair_radius() -> None:
    """The two-centre baseline fades with two continuous derivatives; a block just inside the radius is nearly zero."""
    baseline = shared_model("none").operator_head.pair.baseline
    with torch.no_grad():
        baseline.spline.normal_(generator=torch.Generator().manual_seed(0))
        baseline.amplitude.fill_(1.0)
    r = torch.tensor([[5.0 - 1e-4], [5.0], [5.0 + 1e-3], [4.0]], dtype=torch.float64)
    values = baseline(r, torch.zeros(4, dtype=torch.int64)).abs().amax(dim=1)
    assert float(values[0]) < 1e-6
    assert values[1:3].tolist() == [0, 0]
    assert float(values[3]) > 1e-2
    shared_model.cache_clear()
