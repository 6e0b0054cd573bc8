"""Examples, prepared once and held in memory, and the batches that are joined from them at each step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adiabat.core.errors import BasisError, LabelError, StructureError
from adiabat.data.graph import Graph, build_graph, collate
from adiabat.data.record import Record
from adiabat.models.model import Model
from adiabat.training.config import SPECTRAL, TargetsConfig
from adiabat.training.operator_targets import operator_targets, overlap_blocks
from adiabat.training.spectra import Spectrum, spectrum_of

TARGETS = ("energy", "forces", "stress", "hamiltonian")
"""Labels that can be learned."""

_BLOCKS = ("onsite", "pair", "onsite_overlap", "pair_overlap")


@dataclass(frozen=True, eq=False)
class Example:
    """One structure as the model and the losses read it.

    Attributes:
        graph: its graph.
        values: labels by target; the Hamiltonian's parts are ``onsite`` and ``pair``. Zeros where there is no label.
        masks: where ``values`` are labels, bool, of the same keys and shapes that broadcast to theirs.
        counts: number of labels by target; a target with no label is absent.
        name: what an error message calls it.
        spectrum: reference states, where the spectrum is learned from this structure.
    """

    graph: Graph
    values: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    counts: Mapping[str, int]
    name: str
    spectrum: Spectrum | None = None

    def to(self, device: torch.device) -> "Example":
        """Move everything to a device."""
        return replace(
            self,
            graph=self.graph.to(device),
            values={key: value.to(device) for key, value in self.values.items()},
            masks={key: value.to(device) for key, value in self.masks.items()},
            spectrum=self.spectrum.to(device) if self.spectrum is not None else None,
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """Several examples as one.

    Attributes:
        graph: the joined graph.
        values: joined labels, as in :class:`Example`.
        masks: joined masks; a mask that would be true everywhere is left out.
        counts: number of labels by target; targets without a label in this batch are absent.
        atoms_per_structure: (n_structures,) float64.
        spectra: reference states of each structure, where there are any.
        pairs_per_structure: number of the operator's pairs of each structure.
    """

    graph: Graph
    values: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    counts: Mapping[str, int]
    atoms_per_structure: Tensor
    spectra: tuple[Spectrum | None, ...] = ()
    pairs_per_structure: tuple[int, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the model has to compute for this batch."""
        return tuple(name for name in self.counts if name not in SPECTRAL)


def build_examples(
    records: Sequence[Record], model: Model, config: TargetsConfig, names: Sequence[str]
) -> list[Example]:
    """Build graphs and pack labels, in the precision and on the device of the model.

    Args:
        records: labelled structures; a record without any of the targets is left out.
        model: its cutoff, pair radius and operator layout set what is built.
        config: what is learned.
        names: what an error message calls each record.

    Raises:
        LabelError: a target of which no record has a label, or a label that does not fit.
        StructureError, BasisError: a record that cannot be meant, or that the operator's basis does not cover; named.
    """
    targets = config.labels
    for target in targets:
        if not any(target in record.labels for record in records):
            raise LabelError(
                f"{len(records)} frames ({names[0]}, …), none with the label {target!r}",
                expected=f"at least one of them labelled with {target!r}, which the configuration asks to learn",
                suggestion=f"remove targets.{target}, or label the frames with `adiabat label`",
            )
    parameter = next(model.parameters())
    examples = []
    for index, (record, name) in enumerate(zip(records, names, strict=True)):
        if any(target in record.labels for target in targets):
            try:
                example = _with_spectrum(
                    _example(record, model, config, name, parameter.dtype), record, model, config, index
                )
            except (StructureError, LabelError, BasisError) as error:
                raise error.at(name) from error
            examples.append(example.to(parameter.device))
    return examples


def _example(record: Record, model: Model, config: TargetsConfig, name: str, dtype: torch.dtype) -> Example:
    structure, targets = record.structure, config.labels
    pair_radius = model.pair_radius if "hamiltonian" in targets else None
    fidelity = model.fidelity_index(record.fidelity) if model.config.fidelities else 0
    graph = build_graph(structure, model.cutoff, pair_radius=pair_radius, fidelity=fidelity, dtype=dtype)
    n_atoms = structure.n_atoms
    shapes = {"energy": (1,), "forces": (n_atoms, 3), "stress": (1, 3, 3)}
    values: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for target in (name for name in TARGETS if name in targets):
        label = record.labels.get(target)
        if target == "hamiltonian":
            parts = operator_targets(record, model, graph, dtype)
            values |= {"onsite": parts.onsite, "pair": parts.pair}
            masks |= {"onsite": parts.onsite_mask, "pair": parts.pair_mask}
            counts[target] = parts.n_entries
            if config.hamiltonian is not None and config.hamiltonian.remove_shift:
                assert model.operator_layout is not None
                overlaps = overlap_blocks(record, model.operator_layout, graph, dtype)
                values |= {"onsite_overlap": overlaps[0], "pair_overlap": overlaps[1]}
            continue
        precision = torch.float64 if target == "energy" else dtype
        shape = shapes[target]
        values[target] = torch.zeros(shape, dtype=precision)
        if label is not None:
            values[target] = torch.as_tensor(label).reshape(shape).to(precision)
        masks[target] = torch.full((shape[0],) + (1,) * (len(shape) - 1), label is not None)
        counts[target] = values[target].numel() if label is not None else 0
    return Example(graph, values, masks, {key: count for key, count in counts.items() if count}, name)


def _with_spectrum(example: Example, record: Record, model: Model, config: TargetsConfig, seed: int) -> Example:
    wanted = [name for name in SPECTRAL if name in config.active]
    if not wanted or "hamiltonian" not in example.counts:
        return example
    assert model.operator_layout is not None
    spectrum = spectrum_of(record, example.graph, model.operator_layout, config, seed)
    return replace(
        example, spectrum=spectrum, counts={**example.counts, **{name: spectrum.count(name) for name in wanted}}
    )


def join(examples: Sequence[Example]) -> Batch:
    """Join examples into a batch."""
    counts: dict[str, int] = {}
    for example in examples:
        for target, count in example.counts.items():
            counts[target] = counts.get(target, 0) + count
    first = examples[0]
    wanted = [key for key in first.values if ("hamiltonian" if key in _BLOCKS else key) in counts]
    masked = [
        key
        for key in wanted
        # Blocks are padded to one size, so theirs are always needed.
        if key in first.masks and (key in _BLOCKS or any(key not in example.counts for example in examples))
    ]
    device = first.graph.positions.device
    return Batch(
        graph=collate([example.graph for example in examples]),
        values={key: torch.cat([example.values[key] for example in examples]) for key in wanted},
        masks={key: torch.cat([example.masks[key] for example in examples]) for key in masked},
        counts=counts,
        atoms_per_structure=torch.tensor(
            [example.graph.n_atoms for example in examples], dtype=torch.float64, device=device
        ),
        spectra=tuple(example.spectrum for example in examples),
        pairs_per_structure=tuple(len(example.graph.pair_reverse) for example in examples),
    )
