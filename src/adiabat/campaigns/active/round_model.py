"""A round's model: put together from its members, saved, loaded and tested."""

from typing import Any

from adiabat.campaigns.active.config import UncertaintyConfig
from adiabat.campaigns.active.files import CampaignFiles
from adiabat.campaigns.error_statistics import UNITS, ErrorStatistics
from adiabat.campaigns.evaluation import evaluate
from adiabat.core.atomic_file import write_atomically
from adiabat.data.store import DatasetStore
from adiabat.models.model import Model
from adiabat.models.package import load_model
from adiabat.training.config import DataConfig
from adiabat.uncertainty.interface import UncertainModel


def assemble(files: CampaignFiles, number: int, settings: UncertaintyConfig, data: DataConfig) -> None:
    """Write the round's model, with its uncertainty if it is to have one.

    Args:
        files: of the campaign.
        number: of the round, whose members are trained.
        settings: method and members.
        data: what the members were trained on.
    """
    path = files.round_model(number)
    members = [files.member_model(number, member) for member in range(settings.n_trainings)]
    write_atomically(path, members[0].read_bytes())


def load(path: Any) -> Model | UncertainModel:
    """A round's model."""
    return load_model(path)


def test(files: CampaignFiles, number: int) -> dict[str, Any]:
    """Errors, and the quality of the uncertainty, on the campaign's test set; the arrays go beside the model.

    Returns: ``errors`` by quantity with ``mae``, ``rmse``, ``largest`` [eV, eV/Å, …] and ``count``; ``errors_before``,
        those of the model of the round before on the same test set, which may have grown since; ``n_structures``; and
        ``spread`` of an uncertain model.
    """
    with DatasetStore.open(files.test_store) as store:
        records = list(store)
    result = evaluate(load(files.round_model(number)), records)
    result.save(files.round(number) / "evaluation")
    before = evaluate(load(files.round_model(number - 1)), records).errors if number else {}
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
