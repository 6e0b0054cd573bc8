"""A training set, some structures at a time."""

from collections.abc import Iterator, Sequence

from adiabat.models.level_statistics import LabelledGraph


def batches(examples: Sequence[LabelledGraph], n_edges: int) -> Iterator[list[LabelledGraph]]:
    """Examples, as many at a time as have that number of edges, at least one."""
    batch: list[LabelledGraph] = []
    for example in examples:
        if batch and sum(other.graph.n_edges for other in [*batch, example]) > n_edges:
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch
