"""From a configuration to a model with its statistics and examples ready to train on."""

import math
import platform
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from adiabat.core.errors import ConfigError, LabelError, ModelError
from adiabat.data.graph import Graph, build_graph
from adiabat.data.record import Record
from adiabat.data.store import DatasetStore
from adiabat.models.config import ModelConfig
from adiabat.models.device import compute_device
from adiabat.models.model import Model, build_model
from adiabat.models.statistics import fit_statistics
from adiabat.physics.reference_energies import ReferenceEnergies, given, isolated_atoms
from adiabat.training.batches import TARGETS, Example, build_examples
from adiabat.training.config import DataConfig, LoopConfig, TargetsConfig, TrainConfig
from adiabat.training.fidelities import check_fidelities, judging_frames
from adiabat.training.frames import Frame, Frames, load_frames
from adiabat.training.operator_levels import operator_reference
from adiabat.training.operator_targets import label_reach, overlap_blocks
from adiabat.training.start import architecture_of, freeze, start_from

_OVERLAP_RECORDS = 200
"""About how many structures the tables of S are read from."""
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, eq=False)
class TrainingSetup:
    """All that the loop works on.

    Attributes:
        model: with statistics set, on its device.
        targets: what is learned.
        train: examples learned from.
        validation: examples that choose the best model.
        test: examples scored at the end.
        data_hash: of the training and validation frames.
        provenance: what the model package will say about its making.
        notes: lines for the log.
    """

    model: Model
    targets: TargetsConfig
    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    data_hash: str
    provenance: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def prepare(config: TrainConfig, *, resumed: ModelConfig | None = None) -> TrainingSetup:
    """Read the frames, make the model, fit its statistics, and build all graphs.

    Args:
        config: the run.
        resumed: architecture of a run that goes on; its weights come from its checkpoint, and from no other model.

    Raises:
        LabelError: a target without labels, or levels of theory that are not told apart.
        ModelError: a model to start from that is of other sizes.
        ConfigError, StoreError, FileFormatError: see :func:`load_frames`, :func:`check_selection` and ``load_model``.
    """
    frames = load_frames(config.data)
    records = [frame.record for frame in frames.train]
    sizes = resumed or architecture_of(config)
    targets = config.targets or default_targets(records, sizes)
    check_selection(config.training, targets)
    check_fidelities(frames, targets.labels, sizes.fidelities)
    architecture = with_pair_radius(trained_heads(sizes, targets), records)
    model = create_model(architecture, config.training, [*records, *(frame.record for frame in frames.validation)])
    train = _examples(frames.train, model, targets)
    energies = reference_energies(config.data, model.atomic_numbers, model.config.fidelities)
    statistics = fit_statistics(model, train, energies)
    start = None if resumed is not None else start_from(config, model, train, given=energies is not None)
    freeze(model, config.training.freeze)
    if model.overlap_table is not None:
        statistics["overlap_error"] = fit_overlap(model, records)
    return TrainingSetup(
        model=model,
        targets=targets,
        train=train,
        validation=_examples(judging_frames(frames.validation, sizes.fidelities), model, targets),
        test=_examples(frames.test, model, targets),
        data_hash=frames.data_hash,
        provenance={
            **_provenance(config, targets, frames),
            "statistics": statistics,
            **({"init_model": start.provenance} if start else {}),
        },
        notes=start.notes if start else (),
    )


def default_targets(records: Sequence[Record], model: ModelConfig) -> TargetsConfig:
    """Everything that some record is labelled with and the model has a head for, at the default weights.

    Raises:
        LabelError: there is nothing of the kind.
    """
    heads = (*(TARGETS[:3] if model.energy else ()), *(("hamiltonian",) if model.operator else ()))
    found = [name for name in heads if any(name in record.labels for record in records)]
    if not found:
        labels = sorted({label for record in records for label in record.labels})
        raise LabelError(
            f"frames labelled with {', '.join(labels) or 'nothing'}",
            expected=f"some of {', '.join(heads)}, for which the model has a head",
            suggestion="label the frames with `adiabat label`, or give the model the head (model.operator)",
        )
    return TargetsConfig.model_validate({name: {} for name in found})


def check_selection(training: LoopConfig, targets: TargetsConfig) -> None:
    """Refuse to choose the best model by what is not learned; targets are known for sure only with the data.

    Raises:
        ConfigError: ``training.select_by`` names no target.
    """
    choices = ("loss", *targets.active)
    if training.select_by not in choices:
        raise ConfigError(
            f"training.select_by = {training.select_by!r}, which is not a target of this run",
            expected=f"one of {', '.join(choices)}",
            suggestion="choose by one of these, or learn that target as well",
        )


def trained_heads(config: ModelConfig, targets: TargetsConfig) -> ModelConfig:
    """The architecture without the heads that no target trains, whose output would mean nothing.

    Raises:
        ModelError: a target without its head.
    """
    wants_energy = any(name != "hamiltonian" for name in targets.labels)
    wants_operator = "hamiltonian" in targets.labels
    if (wants_energy and not config.energy) or (wants_operator and config.operator is None):
        head = "operator: {}" if wants_operator and config.operator is None else "energy: true"
        raise ModelError(
            f"targets {', '.join(targets.active)} for a model without the head for them",
            expected=f"`{head}` in the model section",
            suggestion="add it, or remove the target",
        )
    return config.model_copy(update={"energy": wants_energy, "operator": config.operator if wants_operator else None})


def with_pair_radius(config: ModelConfig, records: Sequence[Record]) -> ModelConfig:
    """The architecture with the radius that the Hamiltonians reach, where none is given and some are of crystals."""
    operator = config.operator
    if operator is None or operator.pair_radius is not None:
        return config
    if not any("hamiltonian" in record.labels and record.structure.pbc.any() for record in records):
        return config
    radius = math.ceil(label_reach(records) * 100) / 100 + 0.01
    return config.model_copy(update={"operator": operator.model_copy(update={"pair_radius": radius})})


def create_model(config: ModelConfig, training: LoopConfig, records: Sequence[Record]) -> Model:
    """Make a model with random weights for the elements, and the level of theory, of some records."""
    device = compute_device(training.device)
    elements = sorted({int(z) for record in records for z in record.structure.atomic_numbers})
    reference = operator_reference(records, config.fidelities) if config.operator is not None else None
    torch.manual_seed(training.seed)
    return build_model(config, elements, reference, dtype=_DTYPES[training.dtype]).to(device)


def reference_energies(
    config: DataConfig, elements: Collection[int], fidelities: Sequence[str] = ()
) -> ReferenceEnergies | Mapping[str, ReferenceEnergies] | None:
    """Reference energies that the configuration names; None where least squares are to find them.

    Args:
        config: where the frames come from.
        elements: atomic numbers that the model knows.
        fidelities: that it tells apart; then the result is by fidelity, without those that least squares are to find.

    Raises:
        ConfigError: a given value for what is no element or no fidelity, or one mapping for several levels of theory.
        LabelError: an element without a labelled free atom in the store.
    """
    values = config.reference_energies
    if values is not None:
        return _given_energies(values, fidelities)
    if config.isolated_atoms is None:
        return None
    with DatasetStore.open(config.isolated_atoms) as store:
        atoms = [record for record in store if record.structure.n_atoms == 1 and "energy" in record.labels]
    if not fidelities:
        return _free_atoms(atoms, elements, config.isolated_atoms)
    by_level = {name: [record for record in atoms if record.fidelity == name] for name in fidelities}
    return {name: _free_atoms(own, elements, config.isolated_atoms) for name, own in by_level.items() if own}


def _given_energies(
    values: Mapping[str, float] | Mapping[str, dict[str, float]], fidelities: Sequence[str]
) -> ReferenceEnergies | Mapping[str, ReferenceEnergies]:
    by_level = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    plain = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    unknown = [name for name in by_level if name not in fidelities]
    if unknown or (fidelities and plain):
        raise ConfigError(
            f"data.reference_energies of {', '.join(values)}",
            expected=f"a mapping of symbols to eV for any of the fidelities {', '.join(fidelities)}"
            if fidelities
            else "an energy in eV for each chemical symbol: model.fidelities names no levels",
            suggestion="data.reference_energies: {" + ", ".join(f"{name}: {{H: …}}" for name in fidelities) + "}"
            if fidelities
            else "drop the level, or name it in model.fidelities",
        )
    return {name: given(value) for name, value in by_level.items()} if fidelities else given(plain)


def _free_atoms(atoms: Sequence[Record], elements: Collection[int], path: str) -> ReferenceEnergies:
    found = {int(record.structure.atomic_numbers[0]): float(np.asarray(record.labels["energy"])) for record in atoms}
    missing = [chemical_symbols[z] for z in elements if z not in found]
    if missing:
        raise LabelError(
            f"{path} without a free atom of {', '.join(missing)}",
            expected="an energy of each element's free atom",
            suggestion="`adiabat label STRUCTURES --isolated-atoms -o atoms.lmdb` with the engine of the labels",
        )
    return isolated_atoms(elements, lambda atom: found[int(atom.atomic_numbers[0])])


def fit_overlap(model: Model, records: Sequence[Record]) -> float:
    """Read the tables of S from the labels.

    Returns: the largest error of an element of S on the records that they were read from.
    """
    assert model.overlap_table is not None
    labelled = [record for record in records if "hamiltonian" in record.labels]
    chosen = labelled[:: max(1, -(-len(labelled) // _OVERLAP_RECORDS))]
    tabulated: list[tuple[Graph, Tensor, Tensor, Tensor, Tensor]] = []
    for record in chosen:
        graph = build_graph(record.structure, model.cutoff, pair_radius=model.pair_radius, dtype=torch.float64)
        species = model.species(graph.atomic_numbers.to(model.element_index.device)).cpu()
        onsite, pair = overlap_blocks(record, model.overlap_table.layout, graph, torch.float64)
        tabulated.append((graph, species, model.pair_vectors(graph), onsite, pair))
    table = model.overlap_table.cpu()
    error = table.fit(tabulated)
    table.to(model.element_index.device)
    return error


def _examples(frames: Sequence[Frame], model: Model, targets: TargetsConfig) -> list[Example]:
    if not frames:
        return []
    return build_examples([frame.record for frame in frames], model, targets, [frame.name for frame in frames])


def _provenance(config: TrainConfig, targets: TargetsConfig, frames: Frames) -> dict[str, Any]:
    """Configuration, data and versions; the loop adds steps, time and errors."""
    methods = sorted({frame.record.provenance.method for frame in frames.train})
    levels = Counter(frame.record.fidelity for frame in frames.train)
    return {
        "config": config.model_dump(mode="json"),
        "targets": targets.model_dump(mode="json", exclude_none=True),
        "data_hash": frames.data_hash,
        "n_train": len(frames.train),
        "n_validation": len(frames.validation),
        "n_test": len(frames.test),
        "methods": methods,
        "fidelities": dict(sorted(levels.items())),
        "versions": {
            "adiabat": version("adiabat"),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
