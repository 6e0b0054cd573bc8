"""Tiny models whose every weight counts, structures to try them on, and both of them turned and mirrored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import expm
from scipy.spatial.transform import Rotation
from torch import Tensor

from adiabat.core.operators import BlockOperator, Spin
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.graph import Graph
from adiabat.data.structure import Structure
from adiabat.equivariant.wigner import wigner_d_all
from adiabat.models.config import ModelConfig, OperatorConfig, OperatorReference
from adiabat.models.model import Model, build_model
from adiabat.models.spinor_parts import TRANSPOSE_SIGNS
from adiabat.models.statistics import fit_statistics

F_BASIS = OrbitalBasis("toy-f", {1: (0, 1), 6: (0, 0, 1, 1), 8: (0, 1, 0, 1, 2, 3)})
"""Shells up to f; oxygen's stand in no order of l, and carbon has two p shells."""

P_BASIS = OrbitalBasis("toy-p", {1: (0,), 6: (0, 1, 1), 8: (0, 0, 1)})

ELEMENTS = (1, 6, 8)


@dataclass(frozen=True)
class LabelledExample:
    """What ``fit_statistics`` reads."""

    graph: Graph
    values: Mapping[str, Tensor]
    counts: Mapping[str, int]


def small_config(
    *, l_max: int = 2, layers: int = 2, cutoff: float = 3.5, operator: bool = True, pair_radius: float | None = None
) -> ModelConfig:
    head = OperatorConfig(channels=4, order=3, hidden=8, n_bessel=4, pair_radius=pair_radius) if operator else None
    return ModelConfig(
        cutoff=cutoff, channels=6, l_max=l_max, layers=layers, order=3, n_bessel=4, hidden=12, operator=head
    )


def small_model(
    config: ModelConfig,
    basis: OrbitalBasis = F_BASIS,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    spin: Spin = "none",
    baseline: Literal["minao", "two-center"] = "minao",
) -> Model:
    """A model with random weights, also where training starts from zero, and with scales of random labels."""
    torch.manual_seed(seed)
    reference = OperatorReference(
        xc="pbe", basis=basis.name, grid_level=3, orbital_basis=basis.to_json(), spin=spin, baseline=baseline
    )
    model = build_model(config, ELEMENTS, reference if config.operator else None, dtype=dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.copy_(0.2 * torch.randn_like(parameter) / len(parameter) ** 0.5)
    fit_statistics(model, [random_labels(model, molecule(seed, (6, 8, 1, 1, 6, 8)), seed) for seed in range(3)])
    return model.eval()


def random_labels(model: Model, structure: Structure, seed: int = 0, decay: float = 0.7) -> LabelledExample:
    """Normal deviates for energy, forces and blocks; pair blocks fall off as exp(−decay · r)."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    outputs = {"energy", "forces"} | ({"hamiltonian"} if model.has_operator else set())
    graph = model.graph(structure, outputs)
    values = {"energy": normal(1) - 100, "forces": normal(structure.n_atoms, 3)}
    if model.operator_layout is not None:
        components = model.operator_layout.component_shape
        mask = torch.from_numpy(model.operator_layout.orbital_mask(structure.atomic_numbers)).double()
        mask = mask.view(-1, *(1 for _ in components), mask.shape[1])
        onsite = normal(structure.n_atoms, *components, *(2 * [mask.shape[-1]])) * mask[..., None] * mask[..., None, :]
        i, j = graph.pair_index
        falling = torch.exp(-decay * model.pair_vectors(graph).double().norm(dim=-1)).view(-1, *(1 for _ in components))
        pair = normal(len(i), *components, *(2 * [mask.shape[-1]])) * mask[i][..., None] * mask[j][..., None, :]
        pair = pair * falling[..., None, None]
        signs = torch.tensor(TRANSPOSE_SIGNS).view(-1, 1, 1) if model.operator_layout.spin == "spinor" else 1.0
        values |= {
            "onsite": (onsite + signs * onsite.mT) / 2,
            "pair": (pair + signs * pair[graph.pair_reverse].mT) / 2,
        }
    counts = {name: 1 for name in ("energy", "forces")} | ({"hamiltonian": 1} if model.has_operator else {})
    return LabelledExample(graph, values, counts)


def molecule(seed: int = 0, numbers: Sequence[int] = (6, 8, 1, 1, 6)) -> Structure:
    """A chiral heap of atoms, about 1.2 Å apart."""
    random = np.random.default_rng(seed)
    steps = random.standard_normal((len(numbers), 3))
    steps *= 1.2 / np.linalg.norm(steps, axis=1, keepdims=True)
    positions = np.cumsum(steps, axis=0)
    while min_distance(positions) < 0.8:
        positions = positions + 0.3 * random.standard_normal(positions.shape)
    return Structure(np.array(numbers, dtype=np.int64), positions)


def crystal(seed: int = 0) -> Structure:
    """Three atoms in a skewed, left-handed cell that is smaller than the cutoff."""
    random = np.random.default_rng(seed)
    cell = np.array([[0.3, 2.9, 0.2], [2.7, 0.4, 0.9], [-0.6, 0.8, 3.1]])
    fractional = np.array([[0.0, 0.0, 0.0], [0.45, 0.55, 0.4], [0.7, 0.1, 0.75]])
    positions = (fractional + 0.03 * random.standard_normal((3, 3))) @ cell
    return Structure(np.array([8, 1, 6], dtype=np.int64), positions, cell, np.ones(3, dtype=bool))


def min_distance(positions: npt.NDArray[np.float64]) -> float:
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return float(distances[~np.eye(len(positions), dtype=bool)].min(initial=np.inf))


def orthogonal_matrix(determinant: int, seed: int = 7) -> npt.NDArray[np.float64]:
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    return q * np.linalg.det(q) * determinant


def turned(structure: Structure, q: npt.NDArray[np.float64]) -> Structure:
    return Structure(structure.atomic_numbers, structure.positions @ q.T, structure.cell @ q.T, structure.pbc)


def turned_operator(
    operator: BlockOperator, structure: Structure, basis: OrbitalBasis, q: npt.NDArray[np.float64]
) -> BlockOperator:
    """D O Dᵀ, block by block."""
    d = [matrix.numpy() for matrix in wigner_d_all(basis.l_max, torch.from_numpy(np.ascontiguousarray(q)))]
    of_atom = [_block_diagonal([d[l] for l in basis.of(z)]) for z in structure.atomic_numbers]
    values = [
        (of_atom[pair[3]] @ block @ of_atom[pair[4]].T).reshape(*operator.values.shape[:-1], -1)
        for pair, block in operator.blocks()
    ]
    joined = np.concatenate(values, axis=-1)
    if operator.spin == "spinor":
        joined = turned_spin(joined, q)
    return operator.with_values(joined)


def turned_spin(components: npt.NDArray[np.complex128], q: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
    """U M U† of the 2 × 2 matrices ↑↑, ↑↓, ↓↑, ↓↓, where U is the spin's own turn; an inversion leaves spin alone."""
    rotation_vector = Rotation.from_matrix(q * np.linalg.det(q)).as_rotvec()
    pauli = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    u = expm(-0.5j * np.einsum("a,aij->ij", rotation_vector, pauli))
    matrices = np.moveaxis(components.reshape(2, 2, -1), -1, 0)
    return np.moveaxis(u @ matrices @ u.conj().T, 0, -1).reshape(4, -1)


def _block_diagonal(blocks: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    return torch.block_diag(*[torch.from_numpy(block) for block in blocks]).numpy()


def relative_difference(ours: Tensor | npt.ArrayLike, expected: Tensor | npt.ArrayLike) -> float:
    """max |ours − expected| / max |expected|."""
    ours, expected = (x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x) for x in (ours, expected))
    return float(np.abs(ours - expected).max() / np.abs(expected).max())
