"""The model: one trunk, many heads, and the derivatives that make forces and stress."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from adiabat.core.errors import ModelError, StructureError
from adiabat.core.operators import BlockOperator
from adiabat.data.graph import Graph, build_graph
from adiabat.data.structure import Structure
from adiabat.equivariant.harmonics import spherical_harmonics
from adiabat.models.config import ModelConfig, OperatorReference
from adiabat.models.energy_head import EnergyHead
from adiabat.models.operator_head import OperatorHead
from adiabat.models.operator_layout import OperatorBlocks, OperatorLayout, graph_pairs
from adiabat.models.overlap_table import OverlapTable
from adiabat.models.trunk import Trunk

OUTPUTS = frozenset({"energy", "forces", "stress", "hamiltonian"})
"""What :meth:`Model.forward` can be asked for."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was asked of a model; the rest is None.

    Attributes:
        energy: (n_structures,) in eV, float64.
        atomic_energies: (n_atoms,) in eV, float64.
        forces: (n_atoms, 3) in eV/Å.
        stress: (n_structures, 3, 3) in eV/Å³; NaN for a structure of a batch that is not periodic in three directions.
        hamiltonian: padded blocks in eV, of ΔH = H − H0 where the reference has an H0, else of H.
    """

    energy: Tensor | None = None
    atomic_energies: Tensor | None = None
    forces: Tensor | None = None
    stress: Tensor | None = None
    hamiltonian: OperatorBlocks | None = None


class Model(nn.Module):
    """A potential-energy surface and an electronic Hamiltonian over one trunk.

    Args:
        config: sizes and heads.
        atomic_numbers: the elements that it is to know.
        reference: level of theory of the Hamiltonian; needed with an operator head.

    Raises:
        ModelError: an operator head without its reference.
    """

    element_index: Tensor

    def __init__(
        self, config: ModelConfig, atomic_numbers: Sequence[int], reference: OperatorReference | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.atomic_numbers = tuple(sorted({int(z) for z in atomic_numbers}))
        self.reference = reference
        table = torch.full((len(chemical_symbols),), -1)
        table[list(self.atomic_numbers)] = torch.arange(len(self.atomic_numbers))
        self.register_buffer("element_index", table, persistent=False)
        n_species = len(self.atomic_numbers)
        self.trunk = Trunk(config, n_species)
        self.energy_head = EnergyHead(config, n_species) if config.energy else None
        self.operator_head: OperatorHead | None = None
        self.overlap_table: OverlapTable | None = None
        if config.operator is not None:
            if reference is None:
                raise ModelError(
                    "an operator head without a reference",
                    expected="the functional, basis and grid of the Hamiltonians that it learns",
                    suggestion="train on a store whose Hamiltonians carry provenance, such as `adiabat label` writes",
                )
            layout = OperatorLayout(reference.orbitals, reference.spin)
            two_center = reference.baseline == "two-center"
            self.operator_head = OperatorHead(config, n_species, layout, two_center=two_center)
            if reference.tabulated_overlap:
                self.overlap_table = OverlapTable(n_species, layout, config.operator.pair_radius or 2 * config.cutoff)

    @property
    def cutoff(self) -> float:
        """Radius of the trunk's neighborhoods in Å."""
        return self.config.cutoff

    @property
    def has_operator(self) -> bool:
        """Whether it can give a Hamiltonian."""
        return self.operator_head is not None

    @property
    def operator_layout(self) -> OperatorLayout | None:
        """Padded orbital axis of the operator head, if there is one."""
        return None if self.operator_head is None else self.operator_head.layout

    @property
    def pair_radius(self) -> float | None:
        """Radius of the operator's pairs in Å, infinite for all pairs; None without an operator head."""
        return None if self.config.operator is None else (self.config.operator.pair_radius or math.inf)

    @property
    def dtype(self) -> torch.dtype:
        """Of the trunk's weights."""
        return self.trunk.n_neighbors.dtype

    def forward(self, graph: Graph, outputs: Collection[str]) -> Prediction:
        """Predict for a batch.

        Args:
            graph: built with this model's ``cutoff`` and, for a Hamiltonian, its ``pair_radius``.
            outputs: any of ``energy``, ``forces``, ``stress``, ``hamiltonian``.

        Raises:
            ModelError: an output for which the model has no head, or stress where no structure has a volume.
            StructureError: an element that the model was not trained on.
        """
        self._check(outputs)
        species = self.species(graph.atomic_numbers)
        derivatives = bool({"forces", "stress"} & set(outputs))
        with torch.set_grad_enabled(torch.is_grad_enabled() or derivatives):
            positions, cell, strain = _geometry(graph, self.dtype, outputs)
            edge_vectors = _vectors(positions, cell, graph.edge_index, graph.edge_shift, graph.structure_index, strain)
            distances = edge_vectors.norm(dim=-1, keepdim=True)
            harmonics = spherical_harmonics(edge_vectors / distances, self.config.l_max, normalize=False)
            history = self.trunk(species, graph.edge_index, distances, harmonics)
            results: dict[str, Tensor | OperatorBlocks] = {}
            if self.energy_head is not None and {"energy", "forces", "stress"} & set(outputs):
                atomic = self.energy_head(history, species)
                energy = atomic.new_zeros(graph.n_structures).index_add(0, graph.structure_index, atomic)
                results = {"energy": energy, "atomic_energies": atomic}
                if derivatives:
                    results |= self._derivatives(energy, positions, strain, graph)
            if "hamiltonian" in outputs:
                assert self.operator_head is not None
                pair_vectors = _vectors(
                    positions, cell, graph.pair_index, graph.pair_shift, graph.structure_index, None
                )
                results["hamiltonian"] = self.operator_head(history, graph, species, pair_vectors)
        if derivatives and not torch.is_grad_enabled():
            results = {name: value.detach() for name, value in results.items()}
        return Prediction(**results)  # pyright: ignore[reportArgumentType]

    def _derivatives(self, energy: Tensor, positions: Tensor, strain: Tensor | None, graph: Graph) -> dict[str, Tensor]:
        wanted = [positions] if strain is None else [positions, strain]
        gradients = torch.autograd.grad(energy.sum(), wanted, create_graph=self.training)
        results = {"forces": -gradients[0]}
        if strain is not None:
            periodic = graph.pbc.all(dim=-1)
            # The padding 1 keeps a molecule's missing volume out of the gradient of the crystals beside it.
            volume = torch.where(periodic, torch.linalg.det(graph.cell).abs(), 1).to(strain.dtype)[:, None, None]
            results["stress"] = torch.where(periodic[:, None, None], gradients[1] / volume, torch.nan)
        return results

    def species(self, atomic_numbers: Tensor) -> Tensor:
        """Index of each atom's element.

        Raises:
            StructureError: an element that the model was not trained on.
        """
        species = self.element_index.index_select(0, atomic_numbers)
        if bool((species < 0).any()):
            unknown = sorted({chemical_symbols[int(z)] for z in atomic_numbers[species < 0]})
            raise StructureError(
                f"elements {', '.join(unknown)}",
                expected=f"only elements the model was trained on: {', '.join(self.symbols)}",
                suggestion="add labelled structures with these elements and train again",
            )
        return species

    @property
    def symbols(self) -> list[str]:
        """Chemical symbols of the elements it knows."""
        return [chemical_symbols[z] for z in self.atomic_numbers]

    def pair_vectors(self, graph: Graph) -> Tensor:
        """(n_pairs, 3) vectors from centre to neighbor of the operator's pairs, in Å."""
        return _vectors(graph.positions, graph.cell, graph.pair_index, graph.pair_shift, graph.structure_index, None)

    def _check(self, outputs: Collection[str]) -> None:
        unknown = set(outputs) - OUTPUTS
        if unknown:
            raise ModelError(
                f"outputs {sorted(unknown)}", expected=f"any of {sorted(OUTPUTS)}", suggestion="drop the others"
            )
        if "hamiltonian" in outputs:
            self.require_operator()
        if self.energy_head is None and {"energy", "forces", "stress"} & set(outputs):
            raise ModelError(
                "a request for energy, forces or stress",
                expected="a model with an energy head; this one has model.energy: false",
                suggestion="train with model.energy: true",
            )

    def require_operator(self) -> OperatorReference:
        """The Hamiltonian's level of theory.

        Raises:
            ModelError: the model has no operator head.
        """
        if self.reference is None or self.operator_head is None:
            raise ModelError(
                "a request for the Hamiltonian",
                expected="a model with an operator head; this one has none",
                suggestion="add `model: {operator: {}}` to the config and train on a store with Hamiltonians",
            )
        return self.reference

    def graph(self, structure: Structure, outputs: Collection[str]) -> Graph:
        """Graph of one structure with what the outputs need."""
        radius = self.pair_radius if "hamiltonian" in outputs else None
        return build_graph(structure, self.cutoff, pair_radius=radius, dtype=self.dtype)

    def delta_hamiltonian(self, structure: Structure) -> BlockOperator:
        """What the operator head gives for one structure [eV]: ΔH = H − H0, or H where the reference has no H0."""
        self.require_operator()
        assert self.operator_head is not None
        graph = self.graph(structure, {"hamiltonian"})
        with torch.no_grad():
            blocks = self.forward(graph.to(self.trunk.n_neighbors.device), {"hamiltonian"}).hamiltonian
        assert blocks is not None
        onsite, pair = (to_numpy(part) for part in (blocks.onsite, blocks.pair))
        pairs = graph_pairs(graph.pair_index, graph.pair_shift)
        return self.operator_head.layout.unpack(onsite, pair, structure.atomic_numbers, pairs)

    def hamiltonian(self, structure: Structure) -> BlockOperator:
        """H of one structure [eV]; where the reference has an H0, it is computed from superposed atomic densities."""
        reference = self.require_operator()
        if reference.baseline == "two-center":
            return self.delta_hamiltonian(structure)
        from adiabat.physics.h0 import superposed_density_hamiltonian  # PySCF is loaded only by those who ask for H0

        h0 = superposed_density_hamiltonian(structure, **reference.level)
        return self.delta_hamiltonian(structure) + h0

    def overlap(self, structure: Structure) -> BlockOperator:
        """Overlap of the basis: computed from its functions, or looked up where they are not known; never learned.

        Raises:
            ModelError: neither the basis functions nor tables are known, or two atoms are nearer than the tables go.
        """
        reference = self.require_operator()
        if reference.gaussian_basis is not None:
            from adiabat.physics.crystal_overlap import crystal_overlap
            from adiabat.physics.gaussian_basis import GaussianBasis

            return crystal_overlap(structure, GaussianBasis.from_json(reference.gaussian_basis))
        if reference.baseline == "minao":
            from adiabat.physics.basis import overlap  # PySCF is loaded only by those who ask for S

            return overlap(structure, reference.basis)
        if self.overlap_table is not None:
            graph = build_graph(structure, self.cutoff, pair_radius=self.pair_radius, dtype=torch.float64)
            species = self.species(graph.atomic_numbers.to(self.element_index.device)).cpu()
            onsite, pair = self.overlap_table.cpu().blocks(graph, species, self.pair_vectors(graph))
            pairs = graph_pairs(graph.pair_index, graph.pair_shift)
            return self.overlap_table.layout.unpack(onsite.numpy(), pair.numpy(), structure.atomic_numbers, pairs)
        raise ModelError(
            f"a request for the overlap in basis {reference.basis!r}, of which only the shells are known",
            expected="a model trained on labels with an overlap, or whose provenance has the basis functions",
            suggestion="train with overlap labels, or give the overlap of this structure from the code of the labels",
        )


def build_model(
    config: ModelConfig,
    atomic_numbers: Sequence[int],
    reference: OperatorReference | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> Model:
    """Make a model in a given precision, constants of its grids included.

    ``Model(…).double()`` would only widen constants that were rounded to float32 before.
    """
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return Model(config, atomic_numbers, reference)
    finally:
        torch.set_default_dtype(default)


def to_numpy(tensor: Tensor) -> npt.NDArray[np.float64]:
    """A prediction as a float64 array."""
    return tensor.detach().double().cpu().numpy()


def _geometry(graph: Graph, dtype: torch.dtype, outputs: Collection[str]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Positions, cell, and strain, in the model's precision, with what is to be differentiated by marked as such."""
    positions = graph.positions.to(dtype)
    cell = graph.cell.to(dtype)
    if {"forces", "stress"} & set(outputs):
        positions = positions.detach().requires_grad_()
    strain: Tensor | None = None
    if "stress" in outputs:
        if not bool(graph.pbc.all(dim=-1).any()):
            raise ModelError(
                "a request for the stress of a structure that is not periodic in three directions",
                expected="a crystal: a cell with pbc along all three vectors",
                suggestion="ask for energy and forces only",
            )
        strain = torch.zeros_like(cell).requires_grad_()
    return positions, cell, strain


def _vectors(
    positions: Tensor, cell: Tensor, index: Tensor, shift: Tensor, structure_index: Tensor, strain: Tensor | None
) -> Tensor:
    """r_j + S·cell − r_i, strained symmetrically: r → r (1 + (ε + εᵀ)/2)."""
    centre, neighbor = index
    vectors = positions.index_select(0, neighbor) - positions.index_select(0, centre)
    structure = structure_index.index_select(0, centre)
    if bool(shift.any()):
        vectors = vectors + torch.einsum("ek,ekx->ex", shift.to(cell.dtype), cell.index_select(0, structure))
    if strain is not None:
        symmetric = (strain + strain.mT) / 2
        vectors = vectors + torch.einsum("ex,exy->ey", vectors, symmetric.index_select(0, structure))
    return vectors
