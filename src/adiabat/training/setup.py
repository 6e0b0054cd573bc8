"""From a configuration to a model with its statistics and examples ready to train on."""

import math
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from adiabat.core.errors import ConfigError, LabelError, ModelError
from adiabat.core.operators import BlockOperator, Spin
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.graph import Graph, build_graph
from adiabat.data.record import Provenance, Record
from adiabat.data.store import DatasetStore
from adiabat.models.config import LEVEL_KEYS, ModelConfig, OperatorReference, level_of
from adiabat.models.device import compute_device
from adiabat.models.model import Model, build_model
from adiabat.models.statistics import fit_statistics
from adiabat.physics.reference_energies import ReferenceEnergies, given, isolated_atoms
from adiabat.training.batches import TARGETS, Example, build_examples
from adiabat.training.config import DataConfig, LoopConfig, TargetsConfig, TrainConfig
from adiabat.training.frames import Frame, Frames, load_frames
from adiabat.training.operator_targets import label_reach, overlap_blocks

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
    """

    model: Model
    targets: TargetsConfig
    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    data_hash: str
    provenance: Mapping[str, Any]


def prepare(config: TrainConfig) -> TrainingSetup:
    """Read the frames, make the model, fit its statistics, and build all graphs.

    Raises:
        LabelError: a target without labels, or Hamiltonians of more than one level of theory.
        ConfigError, StoreError: see :func:`load_frames` and :func:`check_selection`.
    """
    frames = load_frames(config.data)
    records = [frame.record for frame in frames.train]
    targets = config.targets or default_targets(records, config.model)
    check_selection(config.training, targets)
    architecture = with_pair_radius(trained_heads(config.model, targets), records)
    model = create_model(architecture, config.training, [*records, *(frame.record for frame in frames.validation)])
    train = _examples(frames.train, model, targets)
    statistics = fit_statistics(model, train, reference_energies(config.data, model.atomic_numbers))
    if model.overlap_table is not None:
        statistics["overlap_error"] = fit_overlap(model, records)
    return TrainingSetup(
        model=model,
        targets=targets,
        train=train,
        validation=_examples(frames.validation, model, targets),
        test=_examples(frames.test, model, targets),
        data_hash=frames.data_hash,
        provenance={**_provenance(config, targets, frames), "statistics": statistics},
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
    reference = operator_reference(records) if config.operator is not None else None
    torch.manual_seed(training.seed)
    return build_model(config, elements, reference, dtype=_DTYPES[training.dtype]).to(device)


def reference_energies(config: DataConfig, elements: Collection[int]) -> ReferenceEnergies | None:
    """Reference energies that the configuration names; None where least squares are to find them.

    Raises:
        ConfigError: a given value for what is no element.
        LabelError: an element without a labelled free atom in the store.
    """
    if config.reference_energies is not None:
        return given(config.reference_energies)
    if config.isolated_atoms is None:
        return None
    with DatasetStore.open(config.isolated_atoms) as store:
        found = {
            int(record.structure.atomic_numbers[0]): float(np.asarray(record.labels["energy"]))
            for record in store
            if record.structure.n_atoms == 1 and "energy" in record.labels
        }
    missing = [chemical_symbols[z] for z in elements if z not in found]
    if missing:
        raise LabelError(
            f"{config.isolated_atoms} without a free atom of {', '.join(missing)}",
            expected="an energy of each element's free atom",
            suggestion="`adiabat label STRUCTURES --isolated-atoms -o atoms.lmdb` with the engine of the labels",
        )
    return isolated_atoms(elements, lambda atom: found[int(atom.atomic_numbers[0])])


def operator_reference(records: Sequence[Record]) -> OperatorReference:
    """The one level of theory of all records with a Hamiltonian.

    Raises:
        LabelError: there is none, it is not fully described, or there are several.
    """
    labelled = [record for record in records if "hamiltonian" in record.labels]
    with_h0 = [record for record in labelled if "h0" in record.labels]
    if with_h0 and len(with_h0) < len(labelled):
        raise LabelError(
            f"{len(with_h0)} of {len(labelled)} Hamiltonians with an h0 label",
            expected="an H0 with each of them, or with none",
            suggestion="train on Hamiltonians from one `adiabat label` campaign",
        )
    basis = _common_basis([record.provenance for record in labelled])
    return _with_h0(with_h0, basis) if with_h0 else _without_h0(labelled, basis)


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


def _with_h0(labelled: Sequence[Record], basis: OrbitalBasis | None) -> OperatorReference:
    levels = [dict(level) for level in {tuple(level_of(record.provenance.settings).items()) for record in labelled}]
    if len(levels) != 1 or set(levels[0]) != set(LEVEL_KEYS):
        found_levels = sorted(", ".join(f"{key} {value}" for key, value in level.items()) for level in levels)
        raise LabelError(
            f"Hamiltonians at {len(levels)} levels of theory: {'; '.join(found_levels) or 'none is labelled'}",
            expected="one level, in the provenance of every Hamiltonian: H0 and the overlap are computed from it",
            suggestion="train on Hamiltonians from one `adiabat label` campaign",
        )
    assert basis is not None
    return OperatorReference(**levels[0], orbital_basis=basis.to_json())


def _without_h0(labelled: Sequence[Record], basis: OrbitalBasis | None) -> OperatorReference:
    methods = sorted({record.provenance.method for record in labelled})
    spins: list[Spin] = sorted(
        {operator.spin for record in labelled if isinstance(operator := record.labels["hamiltonian"], BlockOperator)}
    )
    if len(methods) != 1 or len(spins) != 1 or basis is None:
        raise LabelError(
            f"Hamiltonians of the methods {methods or 'none is labelled'} and spin layouts {spins}",
            expected="one method and one spin layout for all of them",
            suggestion="train on one of them; `adiabat data inspect` shows what a store holds",
        )
    gaussian: dict[str, Any] | None = None
    for record in labelled:
        found = record.provenance.settings.get("gaussian_basis")
        if isinstance(found, Mapping):
            gaussian = _merged(gaussian, found)
    return OperatorReference(
        basis=basis.name, orbital_basis=basis.to_json(), baseline="two-center", spin=spins[0], method=methods[0],
        xc=str(labelled[0].provenance.settings.get("xc", "")), gaussian_basis=gaussian,
        tabulated_overlap=gaussian is None and all("overlap" in record.labels for record in labelled),
    )  # fmt: skip


def _merged(ours: dict[str, Any] | None, theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Basis functions of the elements of both."""
    if ours is None:
        return dict(theirs)
    return {
        **ours,
        **{key: {**ours[key], **value} if isinstance(value, Mapping) else value for key, value in theirs.items()},
    }


def _common_basis(labelled: Sequence[Provenance]) -> OrbitalBasis | None:
    basis: OrbitalBasis | None = None
    for provenance in labelled:
        found = provenance.orbital_basis
        if found is None:
            raise LabelError(
                "a Hamiltonian without its orbital basis",
                expected="the shells of each element in the provenance",
                suggestion="label the structures again with `adiabat label`",
            )
        basis = found if basis is None or basis == found else basis.merged_with(found)
    return basis


def _examples(frames: Sequence[Frame], model: Model, targets: TargetsConfig) -> list[Example]:
    if not frames:
        return []
    return build_examples([frame.record for frame in frames], model, targets, [frame.name for frame in frames])


def _provenance(config: TrainConfig, targets: TargetsConfig, frames: Frames) -> dict[str, Any]:
    """Configuration, data and versions; the loop adds steps, time and errors."""
    methods = sorted({frame.record.provenance.method for frame in frames.train})
    return {
        "config": config.model_dump(mode="json"),
        "targets": targets.model_dump(mode="json", exclude_none=True),
        "data_hash": frames.data_hash,
        "n_train": len(frames.train),
        "n_validation": len(frames.validation),
        "n_test": len(frames.test),
        "methods": methods,
        "versions": {
            "adiabat": version("adiabat"),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
