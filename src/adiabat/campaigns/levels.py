"""Each label compared with the prediction at its own level of theory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from adiabat.core.errors import LabelError
from adiabat.data.record import Record
from adiabat.models.model import Model


def at_levels(model: Model, records: Sequence[Record], fidelity: str | None) -> list[Record]:
    """The records, with the level of theory that each is to be compared at.

    Args:
        model: of one level, or of several.
        records: labelled structures.
        fidelity: for all of them; by default what each says of itself.

    Raises:
        ModelError: ``fidelity`` is none of the model's.
        LabelError: labels of a level that a model of several does not know.
    """
    if fidelity is not None:
        model.fidelity_index(fidelity)
        return [replace(one, provenance=replace(one.provenance, fidelity=fidelity)) for one in records]
    levels = model.config.fidelities
    unknown = Counter(record.fidelity for record in records if record.fidelity not in levels)
    if levels and unknown:
        found = ", ".join(f"{name or 'not named'} ({count} records)" for name, count in sorted(unknown.items()))
        raise LabelError(
            f"labels of the level of theory {found}",
            expected=f"levels that the model was trained on: {', '.join(levels)}",
            suggestion=f"say which of them these labels are: --fidelity {levels[0]}",
        )
    return list(records)


def at_level(model: Model, record: Record) -> Model:
    """A model that predicts at the level of a record's labels, where it knows several."""
    return model.at_fidelity(record.fidelity) if model.config.fidelities else model
