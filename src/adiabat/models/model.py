"""The model: one trunk, many heads, and the derivatives that make forces and stress."""

import copy
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from adiabat.core.errors import ModelError, StructureError, nearest
from adiabat.core.operators import BlockOperator
from adiabat.data.graph import Graph, build_graph
from adiabat.data.structure import Structure
from adiabat.equivariant.harmonics import spherical_harmonics
from adiabat.models.config import ModelConfig, OperatorReference
from adiabat.models.energy_head import EnergyHead
from adiabat.models.linear_ace import LinearAce, LinearEnergyHead, with_degrees
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

    Attributes:
        fidelity: the level of theory that :meth:`graph` asks for, the target by default; None where there is but one.
            :meth:`at_fidelity` gives the same model with another.
        references: level of theory of the Hamiltonian, with those of the other fidelities in it.

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
        self.references = reference
        table = torch.full((len(chemical_symbols),), -1)
        table[list(self.atomic_numbers)] = torch.arange(len(self.atomic_numbers))
        self.register_buffer("element_index", table, persistent=False)
        self.fidelity: str | None = config.fidelities[0] if config.fidelities else None
        self._member: int | None = None
        n_species = len(self.atomic_numbers)
        self.trunk: Trunk | LinearAce
        self.energy_head: EnergyHead | LinearEnergyHead | None
        if config.family == "linear-ace":
            self.config = with_degrees(config, n_species)
            self.trunk = LinearAce(self.config, self.atomic_numbers)
            self.energy_head = LinearEnergyHead(n_species, self.trunk.n_features)
        else:
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
    def reference(self) -> OperatorReference | None:
        """Level of theory of the Hamiltonian at the model's ``fidelity``; None where it has none there."""
        if self.references is None or self.fidelity in (None, *self.config.fidelities[:1]):
            return self.references
        return self.references.others.get(self.fidelity)

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

    def forward(self, graph: Graph, outputs: Collection[str], heads: Tensor | None = None) -> Prediction:
        """Predict for a batch, each structure at its own level of theory (``graph.fidelity_index``).

        Args:
            graph: built with this model's ``cutoff`` and, for a Hamiltonian, its ``pair_radius``.
            outputs: any of ``energy``, ``forces``, ``stress``, ``hamiltonian``.
            heads: (n_structures,) the energy head that each structure is predicted by; the mean of all by default.

        Raises:
            ModelError: an output for which the model has no head, or stress where no structure has a volume.
            StructureError: an element that the model was not trained on.
        """
        self.check(outputs)
        species = self.species(graph.atomic_numbers)
        derivatives = bool({"forces", "stress"} & set(outputs))
        with torch.set_grad_enabled(torch.is_grad_enabled() or derivatives):
            positions, cell, strain = differentiable_geometry(graph, self.dtype, outputs)
            history = self.node_features(graph, species, positions, cell, strain)
            results: dict[str, Tensor | OperatorBlocks] = {}
            if self.energy_head is not None and {"energy", "forces", "stress"} & set(outputs):
                atomic = self._atomic_energies(history, species, graph, heads)
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

    def node_features(
        self, graph: Graph, species: Tensor, positions: Tensor, cell: Tensor, strain: Tensor | None
    ) -> list[Tensor]:
        """What the trunk gives after each layer, differentiable by positions and strain.

        Args:
            graph: for its edges.
            species: (n_atoms,) index of each atom's element.
            positions: (n_atoms, 3) in Å, in the place of the graph's.
            cell: (n_structures, 3, 3) in Å.
            strain: (n_structures, 3, 3), or None for none.
        """
        edge_vectors = _vectors(positions, cell, graph.edge_index, graph.edge_shift, graph.structure_index, strain)
        distances = edge_vectors.norm(dim=-1, keepdim=True)
        harmonics = spherical_harmonics(edge_vectors / distances, self.trunk.l_max, normalize=False)
        if isinstance(self.trunk, LinearAce):
            return self.trunk(species, graph.edge_index, distances, harmonics)
        return self.trunk(species, graph.edge_index, distances, harmonics, self.fidelity_of_atoms(graph))

    def fidelity_of_atoms(self, graph: Graph) -> Tensor | None:
        """(n_atoms,) place of the level of theory of each atom's structure; None where the model has but one."""
        if not self.config.fidelities:
            return None
        return graph.fidelity_index.index_select(0, graph.structure_index)

    def _atomic_energies(self, history: list[Tensor], species: Tensor, graph: Graph, heads: Tensor | None) -> Tensor:
        if isinstance(self.energy_head, LinearEnergyHead):
            return self.energy_head(history, species)
        assert self.energy_head is not None
        if heads is not None:
            heads = heads.index_select(0, graph.structure_index)
        elif self._member is not None:
            heads = torch.full_like(graph.structure_index, self._member)
        return self.energy_head(history, species, self.fidelity_of_atoms(graph), heads)

    def at_fidelity(self, fidelity: str) -> "Model":
        """The same model, weights shared, which predicts at another of its levels of theory.

        Raises:
            ModelError: a level that it was not trained on.
        """
        view = copy.copy(self)
        view.fidelity = self.config.fidelities[self.fidelity_index(fidelity)]
        return view

    def fidelity_index(self, fidelity: str) -> int:
        """Place of a level of theory among those of the model.

        Raises:
            ModelError: a level that it was not trained on.
        """
        levels = self.config.fidelities
        if fidelity not in levels:
            raise ModelError(
                f"fidelity {fidelity!r}",
                expected=f"one of those that the model was trained on: {', '.join(levels)}"
                if levels
                else "no fidelity: this model learned one level of theory",
                suggestion=nearest(fidelity, levels) if levels else "leave the fidelity out",
            )
        return levels.index(fidelity)

    def member(self, head: int) -> "Model":
        """The same model, weights shared, whose energy comes from one head of its shallow ensemble.

        Raises:
            ModelError: there is no such head.
        """
        if self.energy_head is None or not 0 <= head < self.config.ensemble:
            n_heads = 0 if self.energy_head is None else self.config.ensemble
            raise ModelError(
                f"energy head {head} of a model with {n_heads}",
                expected=f"0 to {n_heads - 1}" if n_heads else "a model with an energy head",
                suggestion="train with model.ensemble: 8 for a shallow ensemble of eight heads",
            )
        view = copy.copy(self)
        view._member = head
        return view

    def _derivatives(self, energy: Tensor, positions: Tensor, strain: Tensor | None, graph: Graph) -> dict[str, Tensor]:
        wanted = [positions] if strain is None else [positions, strain]
        gradients = torch.autograd.grad(energy.sum(), wanted, create_graph=self.training)
        results = {"forces": -gradients[0]}
        if strain is not None:
            results["stress"] = stress_of(gradients[1], graph)
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

    def edge_vectors(self, graph: Graph) -> Tensor:
        """(n_edges, 3) vectors from centre to neighbor of the trunk's edges, in Å."""
        return _vectors(graph.positions, graph.cell, graph.edge_index, graph.edge_shift, graph.structure_index, None)

    def pair_vectors(self, graph: Graph) -> Tensor:
        """(n_pairs, 3) vectors from centre to neighbor of the operator's pairs, in Å."""
        return _vectors(graph.positions, graph.cell, graph.pair_index, graph.pair_shift, graph.structure_index, None)

    def check(self, outputs: Collection[str]) -> None:
        """Refuse outputs that there is no head for.

        Raises:
            ModelError: see :meth:`forward`.
        """
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
        if self.operator_head is not None and self.reference is None:
            raise ModelError(
                f"a request for the Hamiltonian at fidelity {self.fidelity!r}",
                expected="a level of theory that the model was trained on Hamiltonians of",
                suggestion=f"ask for {self.config.fidelities[0]!r}, or train with Hamiltonians of {self.fidelity!r}",
            )
        if self.reference is None or self.operator_head is None:
            raise ModelError(
                "a request for the Hamiltonian",
                expected="a model with an operator head; this one has none",
                suggestion="add `model: {operator: {}}` to the config and train on a store with Hamiltonians",
            )
        return self.reference

    def graph(self, structure: Structure, outputs: Collection[str]) -> Graph:
        """Graph of one structure with what the outputs need, at the model's ``fidelity``."""
        radius = self.pair_radius if "hamiltonian" in outputs else None
        place = 0 if self.fidelity is None else self.fidelity_index(self.fidelity)
        return build_graph(structure, self.cutoff, pair_radius=radius, fidelity=place, dtype=self.dtype)

    def delta_hamiltonian(self, structure: Structure) -> BlockOperator:
        """What the operator head gives for one structure [eV]: ΔH = H − H0, or H where the reference has no H0."""
        self.require_operator()
        assert self.operator_head is not None
        graph = self.graph(structure, {"hamiltonian"})
        with torch.no_grad():
            blocks = self.forward(graph.to(self.trunk.n_neighbors.device), {"hamiltonian"}).hamiltonian
        assert blocks is not None
        return self.unpacked(blocks, graph)

    def unpacked(self, blocks: OperatorBlocks, graph: Graph) -> BlockOperator:
        """Padded blocks of one structure, as the operator head gives them, as an operator."""
        assert self.operator_head is not None
        onsite, pair = (to_numpy(part) for part in (blocks.onsite, blocks.pair))
        pairs = graph_pairs(graph.pair_index, graph.pair_shift)
        return self.operator_head.layout.unpack(onsite, pair, graph.atomic_numbers.cpu().numpy(), pairs)

    def hamiltonian(self, structure: Structure) -> BlockOperator:
        """H of one structure [eV]; where the reference has an H0, it is computed from superposed atomic densities."""
        h0 = self.h0(structure)
        delta = self.delta_hamiltonian(structure)
        return delta if h0 is None else delta + h0

    def h0(self, structure: Structure) -> BlockOperator | None:
        """H0 of one structure [eV], which is not learned; None where the operator head gives all of H."""
        reference = self.require_operator()
        if reference.baseline == "two-center":
            return None
        from adiabat.physics.h0 import superposed_density_hamiltonian  # PySCF is loaded only by those who ask for H0

        return superposed_density_hamiltonian(structure, **reference.level)

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


def stress_of(strain_gradient: Tensor, graph: Graph) -> Tensor:
    """σ = (1/V) ∂E/∂ε [eV/Å³] of (…, n_structures, 3, 3) gradients; NaN where a structure has no volume."""
    periodic = graph.pbc.all(dim=-1)
    # The padding 1 keeps a molecule's missing volume out of the gradient of the crystals beside it.
    volume = torch.where(periodic, torch.linalg.det(graph.cell).abs(), 1).to(strain_gradient.dtype)[:, None, None]
    return torch.where(periodic[:, None, None], strain_gradient / volume, torch.nan)


def differentiable_geometry(
    graph: Graph, dtype: torch.dtype, outputs: Collection[str]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Positions, cell, and strain, in the model's precision, with what is to be differentiated by marked as such.

    Raises:
        ModelError: stress is wanted where no structure has a volume.
    """
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
