import math

import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111, graphene, molecule

from adiabat.core.errors import StructureError
from adiabat.data.graph import build_graph, collate
from adiabat.data.structure import Structure


def edges(graph):
    return torch.cat([graph.edge_index.T, graph.edge_shift.to(torch.int64)], dim=1).tolist()


@pytest.mark.parametrize(
    "atoms",
    [molecule("CH3CH2OH"), bulk("Si"), fcc111("Cu", (1, 1, 3), vacuum=8), graphene(vacuum=0.0), molecule("H")],
    ids=["molecule", "crystal smaller than the cutoff", "slab", "sheet with a zero vector", "atom"],
)
def test_every_edge_has_its_reverse_and_edges_are_sorted(atoms):
    graph = build_graph(Structure.from_ase(atoms), 5.0)
    listed = edges(graph)
    reversed_edges = {(j, i, -x, -y, -z) for i, j, x, y, z in listed}
    assert reversed_edges == {tuple(edge) for edge in listed}
    assert listed == sorted(listed, key=lambda e: (e[0], e[1], e[2], e[3], e[4]))
    i, j = graph.edge_index
    vectors = graph.positions[j] + graph.edge_shift @ graph.cell[0] - graph.positions[i]
    assert (vectors.norm(dim=1) < 5.0).all()


def test_coordination_of_silicon():
    assert build_graph(Structure.from_ase(bulk("Si")), 2.5).n_edges == 2 * 4


def test_a_single_atom_has_no_edges():
    graph = build_graph(Structure.from_ase(molecule("H")), 5.0, pair_radius=math.inf)
    assert graph.n_edges == 0
    assert graph.pair_index.shape == (2, 0)
    assert graph.pair_reverse.dtype == torch.int64


def test_overlapping_atoms_are_refused():
    with pytest.raises(StructureError, match=r"atoms 0 and 1 at a distance of 0\.0500"):
        build_graph(Structure(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 0.05]])), 5.0)


def test_atoms_that_overlap_with_an_image_are_refused():
    structure = Structure(
        np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 2.95]]), np.eye(3) * 3, np.ones(3, dtype=bool)
    )
    with pytest.raises(StructureError, match=r"at a distance of 0\.05"):
        build_graph(structure, 5.0)


def test_all_pairs_of_a_molecule():
    graph = build_graph(Structure.from_ase(molecule("CH4")), 1.2, pair_radius=math.inf)
    assert graph.pair_index.shape[1] == 5 * 4
    assert torch.equal(graph.pair_index.flip(0), graph.pair_index[:, graph.pair_reverse])


def test_pairs_of_a_crystal_and_their_reverses():
    graph = build_graph(Structure.from_ase(bulk("NaCl", "rocksalt", a=5.64)), 4.0, pair_radius=7.0)
    assert torch.equal(graph.pair_index.flip(0), graph.pair_index[:, graph.pair_reverse])
    assert torch.equal(graph.pair_shift, -graph.pair_shift[graph.pair_reverse])


def test_infinitely_many_pairs_are_refused():
    with pytest.raises(StructureError, match="infinite pair radius"):
        build_graph(Structure.from_ase(bulk("Si")), 4.0, pair_radius=math.inf)


def test_no_pairs_unless_asked():
    assert build_graph(Structure.from_ase(molecule("H2O")), 4.0).pair_index.shape == (2, 0)


def test_a_batch_is_its_members_side_by_side():
    structures = [Structure.from_ase(molecule(name)) for name in ("H2O", "H", "CH4")]
    graphs = [build_graph(structure, 3.0, pair_radius=math.inf) for structure in structures]
    batch = collate(graphs)
    assert batch.n_structures == 3
    assert batch.structure_index.tolist() == [0] * 3 + [1] + [2] * 5
    first_atom, first_pair = 0, 0
    for index, graph in enumerate(graphs):
        own = batch.structure_index[batch.edge_index[0]] == index
        assert torch.equal(batch.edge_index[:, own] - first_atom, graph.edge_index)
        own_pairs = batch.structure_index[batch.pair_index[0]] == index
        assert torch.equal(batch.pair_index[:, own_pairs] - first_atom, graph.pair_index)
        assert torch.equal(batch.pair_reverse[own_pairs] - first_pair, graph.pair_reverse)
        first_atom, first_pair = first_atom + graph.n_atoms, first_pair + len(graph.pair_reverse)
    assert torch.equal(batch.pair_index.flip(0), batch.pair_index[:, batch.pair_reverse])
    nested = collate([collate(graphs[:2]), graphs[2]])
    assert torch.equal(nested.structure_index, batch.structure_index)
    assert torch.equal(nested.edge_index, batch.edge_index)


def test_dtype_touches_numbers_only():
    graph = build_graph(Structure.from_ase(bulk("Si")), 4.0).to(dtype=torch.float32)
    assert graph.positions.dtype == graph.edge_shift.dtype == graph.cell.dtype == torch.float32
    assert graph.edge_index.dtype == graph.atomic_numbers.dtype == torch.int64
    assert graph.pbc.dtype == torch.bool
