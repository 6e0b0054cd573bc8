import numpy as np
import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.supercell import supercell_operator, supercell_positions
from sparse_crystals import CELL, N_ORBITALS, POSITIONS, sheet


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
@pytest.mark.parametrize("repeats", [(2, 3, 1), (1, 2, 1)])
def test_folded_bands(spin: str, repeats: tuple[int, int, int]) -> None:
    # 1e-10 eV: both are dense eigenproblems in float64.
    crystal = sheet(spin)  # type: ignore[arg-type]
    folded = [[i / repeats[0], j / repeats[1], 0.0] for i in range(repeats[0]) for j in range(repeats[1])]
    unit = solve_bands(crystal, torch.tensor(folded, dtype=torch.float64)).energies
    large = Crystal(
        supercell_operator(crystal.hamiltonian, repeats),
        supercell_operator(crystal.overlap, repeats),
        crystal.cell * np.array(repeats)[:, None],
        crystal.periodic,
        crystal.n_electrons * np.prod(repeats),
    )
    energies = solve_bands(large, torch.zeros(1, 3, dtype=torch.float64)).energies[:, 0]
    assert torch.allclose(energies, unit.flatten(1).sort(dim=1).values, atol=1e-10)
    shuffled = large.hamiltonian.with_values(np.roll(large.hamiltonian.values, 7, axis=-1))
    assert not np.allclose(shuffled.values, large.hamiltonian.values)


def test_positions_follow_the_order_of_the_atoms() -> None:
    """An operator made of distances keeps its distances."""
    images = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], [0], indexing="ij"), -1).reshape(-1, 3)
    pairs = np.array([(*image, i, j) for image in images for i in range(3) for j in range(3)])
    distances = np.linalg.norm(POSITIONS[pairs[:, 4]] + pairs[:, :3] @ CELL - POSITIONS[pairs[:, 3]], axis=1)
    ones = np.ones(3, dtype=np.int64)
    operator = BlockOperator.from_blocks(pairs, [np.array([[d]]) for d in distances], ones)
    repeats = (2, 1, 1)
    large = supercell_operator(operator, repeats)
    positions = supercell_positions(POSITIONS, CELL, repeats)
    cell = CELL * np.array(repeats)[:, None]
    image, i, j = large.pairs[:, :3], large.pairs[:, 3], large.pairs[:, 4]
    again = np.linalg.norm(positions[j] + image @ cell - positions[i], axis=1)
    assert np.allclose(large.values, again, atol=1e-12)
    wrong = np.linalg.norm(positions[::-1][j] + image @ cell - positions[::-1][i], axis=1)
    assert not np.allclose(large.values, wrong)


def test_blocks_of_several_sizes_are_copied_whole() -> None:
    crystal = sheet()
    large = supercell_operator(crystal.overlap, (3, 2, 1))
    assert large.n_orbitals.tolist() == [*N_ORBITALS.tolist()] * 6
    assert large.hermiticity_error() < 1e-15
    assert np.isclose((large.values**2).sum(), 6 * (crystal.overlap.values**2).sum())


@pytest.mark.parametrize("repeats", [(0, 1, 1), (2, 2), (1.5, 1, 1)])
def test_repeats_that_are_no_supercell(repeats: tuple[float, ...]) -> None:
    with pytest.raises(ElectronicError, match="whole numbers"):
        supercell_operator(sheet().overlap, repeats)  # type: ignore[arg-type]
