"""Models whose answers can be written down, with the interface of ``adiabat.models.model.Model``.

Lennard-Jones particles for energy, forces and stress; extended Hückel hydrogen for the Hamiltonian.
"""

import math
from collections.abc import Collection
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from adiabat.core.errors import ModelError, StructureError
from adiabat.core.operators import BlockOperator
from adiabat.data.graph import Graph, build_graph
from adiabat.data.structure import Structure
from adiabat.models.config import OperatorReference
from adiabat.models.model import Prediction
from adiabat.physics.basis import orbital_basis, overlap
from adiabat.physics.h0 import superposed_density_hamiltonian

EPSILON = 0.0104
"""eV; depth of argon's pair potential."""

SIGMA = 3.4
"""Å; where argon's pair potential crosses zero."""

HYDROGEN_SIGMA = 0.66
"""Å; puts the minimum at hydrogen's bond length."""

HYDROGEN_LEVEL = -13.6
"""eV; on-site energy of the Hückel model."""

WOLFSBERG_HELMHOLZ = 1.75
"""H_ij = K S_ij (H_ii + H_jj)/2 off the diagonal."""


class LennardJones(nn.Module):
    """E = ½ Σ 4ε[(σ/r)¹² − (σ/r)⁶] f(r), where f falls from 1 at ``switch`` to 0 at ``cutoff``, twice smooth."""

    config = SimpleNamespace(energy=True, fidelities=())
    fidelity = None
    has_operator = False
    pair_radius = None
    sigma = SIGMA
    dtype = torch.float64

    def __init__(self, cutoff: float = 8.0, switch: float = 6.0, elements: tuple[int, ...] = (1, 18)) -> None:
        super().__init__()
        self.cutoff, self.switch, self.elements = cutoff, switch, elements
        self.epsilon = nn.Parameter(torch.tensor(EPSILON, dtype=torch.float64))

    def graph(self, structure: Structure, outputs: Collection[str]) -> Graph:
        return build_graph(structure, self.cutoff, dtype=self.dtype)

    def forward(self, graph: Graph, outputs: Collection[str]) -> Prediction:
        unknown = set(graph.atomic_numbers.tolist()) - set(self.elements)
        if unknown:
            raise StructureError(f"elements {unknown}", expected="argon or hydrogen", suggestion="use argon")
        with torch.enable_grad():
            positions = graph.positions.detach().requires_grad_()
            strain = torch.zeros_like(graph.cell).requires_grad_()
            atomic = self._atomic_energies(graph, positions, strain)
            gradient, strain_gradient = torch.autograd.grad(atomic.sum(), [positions, strain], allow_unused=True)
        energy = atomic.new_zeros(graph.n_structures).index_add(0, graph.structure_index, atomic)
        volume = torch.linalg.det(graph.cell).abs()[:, None, None]
        return Prediction(
            energy=energy.detach(),
            atomic_energies=atomic.detach(),
            forces=-gradient if "forces" in outputs else None,
            stress=strain_gradient / volume if "stress" in outputs else None,
        )

    def _atomic_energies(self, graph: Graph, positions: Tensor, strain: Tensor) -> Tensor:
        centre, neighbor = graph.edge_index
        structure = graph.structure_index[centre]
        vectors = positions[neighbor] - positions[centre]
        vectors = vectors + torch.einsum("ek,ekx->ex", graph.edge_shift, graph.cell[structure])
        symmetric = (strain + strain.mT) / 2
        vectors = vectors + torch.einsum("ex,exy->ey", vectors, symmetric[structure])
        distance = vectors.norm(dim=-1)
        sixth = (self.sigma / distance) ** 6
        x = ((distance - self.switch) / (self.cutoff - self.switch)).clamp(0.0, 1.0)
        envelope = 1 - 10 * x**3 + 15 * x**4 - 6 * x**5
        pair = 0.5 * 4 * self.epsilon * (sixth**2 - sixth) * envelope
        return pair.new_zeros(graph.n_atoms).index_add(0, centre, pair)

    def require_operator(self) -> OperatorReference:
        raise ModelError("a request for H", expected="a model with an operator head", suggestion="use HuckelHydrogen")


class HuckelHydrogen(LennardJones):
    """Lennard-Jones forces around H₂'s bond length, and hydrogen's extended Hückel Hamiltonian in STO-3G."""

    has_operator = True
    pair_radius = math.inf
    sigma = HYDROGEN_SIGMA

    def require_operator(self) -> OperatorReference:
        basis = orbital_basis([1], "sto-3g")
        return OperatorReference(xc="hf", basis="sto-3g", grid_level=0, orbital_basis=basis.to_json())

    def overlap(self, structure: Structure) -> BlockOperator:
        return overlap(structure, "sto-3g")

    def hamiltonian(self, structure: Structure) -> BlockOperator:
        s = self.overlap(structure)
        same_atom = s.pairs[:, 3] == s.pairs[:, 4]
        factor = HYDROGEN_LEVEL * torch.where(torch.from_numpy(same_atom), 1.0, WOLFSBERG_HELMHOLZ).double().numpy()
        return s.with_values(s.values * factor)

    def h0(self, structure: Structure) -> BlockOperator:
        return superposed_density_hamiltonian(structure, "hf", "sto-3g", 0)

    def delta_hamiltonian(self, structure: Structure) -> BlockOperator:
        h = self.hamiltonian(structure)
        return h.with_values(h.values - self.h0(structure).values)
