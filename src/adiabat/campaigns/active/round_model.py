"""A round's model: put together from its members, saved, loaded and tested."""

from typing import Any, Final

from adiabat.campaigns.active.config import UncertaintyConfig
from adiabat.campaigns.active.files import CampaignFiles
from adiabat.campaigns.calibrating import calibrate
from adiabat.campaigns.error_statistics import UNITS, ErrorStatistics
from adiabat.campaigns.evaluation import evaluate
from adiabat.campaigns.uncertain_models import make_uncertain, training_examples
from adiabat.core.atomic_file import write_atomically
from adiabat.data.store import DatasetStore
from adiabat.models.package import inspect_model, load_model
from adiabat.training.batches import Example
from adiabat.training.config import DataConfig
from adiabat.training.frames import load_frames
from adiabat.uncertainty.package import load_any_model, save_uncertain_model

_LEAST_TO_CALIBRATE: Final = 5
"""Structures; a factor from fewer says little."""


def assemble(files: CampaignFiles, number: int, settings: UncertaintyConfig, data: DataConfig) -> None:
    """Write the round's model, with its uncertainty if it is to have one.

    Args:
        files: of the campaign.
        number: of the round, whose members are trained.
        settings: method and members.
        data: what the members were trained on, and what chose the best weights of each.
    """
    path = files.round_model(number)
    members = [files.member_model(number, member) for member in range(settings.n_trainings)]
    if settings.method == "none":
        write_atomically(path, members[0].read_bytes())
        return
    frames = load_frames(data)
    models = [load_model(member) for member in members]
    examples: list[Example] = []
    if settings.method == "last-layer":
        examples = training_examples(models[0], [frame.record for frame in frames.train], "the campaign's labels")
    uncertain = make_uncertain(settings.method, models, examples)
    held_out = [frame.record for frame in frames.validation]
    if settings.calibrate and len(held_out) >= _LEAST_TO_CALIBRATE:
        described = {"file": files.train_store.name, "frames": "that chose the weights"}
        uncertain = calibrate(uncertain, held_out, data=described)
    origins = [
        {"file": str(member.relative_to(files.directory)), "content_hash": inspect_model(member)["content_hash"]}
        for member in members
    ]
    save_uncertain_model(uncertain, path, {"method": settings.method, "models": origins})


def test(files: CampaignFiles, number: int) -> dict[str, Any]:
    """Errors, and the quality of the uncertainty, on the campaign's test set; the arrays go beside the model.

    Returns: ``errors`` by quantity with ``mae``, ``rmse``, ``largest`` [eV, eV/Å, …] and ``count``; ``errors_before``,
        those of the model of the round before on the same test set, which may have grown since; ``n_structures``; and
        ``spread`` of an uncertain model.
    """
    with DatasetStore.open(files.test_store) as store:
        records = list(store)
    result = evaluate(load_any_model(files.round_model(number)), records)
    result.save(files.round(number) / "evaluation")
    before = evaluate(load_any_model(files.round_model(number - 1)), records).errors if number else {}
    return {
        "n_structures": result.n_structures,
        "errors": {name: _in_our_units(name, errors) for name, errors in result.errors.items()},
        "errors_before": {name: _in_our_units(name, errors) for name, errors in before.items()},
        "spread": result.to_json().get("uncertainty"),
    }


def _in_our_units(quantity: str, errors: ErrorStatistics) -> dict[str, float]:
    _unit, factor = UNITS[quantity]
    found = {name: getattr(errors, name) * factor for name in ("mae", "rmse", "largest")}
    return {**found, "count": errors.count}
