"""Which structures to label next."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adiabat.campaigns.force_spreads import force_spreads
from adiabat.campaigns.selection.ace_rows import AceRows
from adiabat.campaigns.selection.config import SelectConfig
from adiabat.campaigns.selection.entropy import choose_by_entropy
from adiabat.campaigns.selection.environments import environments
from adiabat.campaigns.selection.farthest_point import farthest_points, standardised
from adiabat.campaigns.selection.force_rows import trunk_features, trunk_force_rows
from adiabat.campaigns.selection.peaks import choose_by_atom
from adiabat.campaigns.selection.variance import VarianceDesign, choose_by_variance
from adiabat.core.errors import ConfigError
from adiabat.data.fingerprint import fingerprint
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.uncertainty.interface import UncertainModel, central_model

FloatArray = npt.NDArray[np.float64]


def select(
    candidates: Sequence[Structure],
    labelled: Sequence[Structure],
    config: SelectConfig,
    n: int,
    *,
    uncertainties: Sequence[float] | None = None,
    model: Model | UncertainModel | None = None,
    seed: int = 0,
) -> list[int]:
    """Choose n candidates.

    Args:
        candidates: structures without labels.
        labelled: structures that have theirs already.
        config: method and options.
        n: number to choose.
        uncertainties: (n_candidates,) one a candidate, in any unit; by default the root mean square spread of its
            forces, from an uncertain model.
        model: trained on what is labelled. Without one, ``variance`` takes the invariants of the linear family and
            ``environment`` the novelty of each atom.
        seed: of what is drawn at random.

    Returns: indices of candidates, no two equal, the most wanted first.

    Raises:
        ConfigError: more than there are are asked for, or the method needs a model or uncertainties.
    """
    if not 0 <= n <= len(candidates):
        raise ConfigError(
            f"{n} of {len(candidates)} candidates", expected=f"0 to {len(candidates)}", suggestion="explore more"
        )
    if n == 0:
        return []
    generator = np.random.default_rng(seed)
    central = None if model is None else central_model(model)
    if config.method == "random":
        return generator.permutation(len(candidates))[:n].tolist()
    if config.method == "uncertainty":
        return np.argsort(-_uncertainties(candidates, uncertainties, model, config), kind="stable")[:n].tolist()
    if config.method == "entropy":
        free, known = (
            environments(part, cutoff=config.cutoff, n_neighbors=config.n_neighbors) for part in (candidates, labelled)
        )
        return choose_by_entropy(free, known, n, config.bandwidth)
    if config.method == "environment":
        return choose_by_atom(candidates, labelled, config, n, model if isinstance(model, UncertainModel) else None)
    if config.method == "variance":
        return _by_variance(candidates, labelled, config, n, central, generator)
    points = standardised(*_features(candidates, labelled, config, central))
    weights = None if config.method == "diversity" else _uncertainties(candidates, uncertainties, model, config)
    return farthest_points(*points, n, weights=weights)


def _by_variance(
    candidates: Sequence[Structure],
    labelled: Sequence[Structure],
    config: SelectConfig,
    n: int,
    model: Model | None,
    generator: np.random.Generator,
) -> list[int]:
    everything = [*candidates, *labelled]
    if model is None:
        ace = AceRows(np.concatenate([structure.atomic_numbers for structure in everything]).tolist(), config.cutoff)
        mixing = ace.mixing(everything, config.n_features)
        rows = [found.forces for found in ace.rows(everything, mixing)]
    else:
        rows = trunk_force_rows(model, everything, config.n_features)
    free, known = rows[: len(candidates)], rows[len(candidates) :]
    targets = np.concatenate([free[i] for i in generator.permutation(len(free))[: config.n_targets]])
    # Weights of equal variance, in the unit in which a target's force has variance 1 before any label.
    prior = np.full(targets.shape[1], len(targets) / max(np.vdot(targets, targets), np.finfo(float).tiny))
    design = VarianceDesign(targets, prior, config.noise)
    for part in known:
        design.add(part)
    return choose_by_variance(design, free, n)


def _features(
    candidates: Sequence[Structure], labelled: Sequence[Structure], config: SelectConfig, model: Model | None
) -> tuple[FloatArray, FloatArray]:
    everything = [*candidates, *labelled]
    if config.features == "trunk":
        if model is None:
            raise _missing("features: trunk", "a model", "train one on what is labelled, or take features: structure")
        found = trunk_features(model, everything)
    else:
        elements = np.unique(np.concatenate([structure.atomic_numbers for structure in everything]))
        found = np.stack([fingerprint(structure, elements) for structure in everything])
    return found[: len(candidates)], found[len(candidates) :]


def _uncertainties(
    candidates: Sequence[Structure],
    given: Sequence[float] | None,
    model: Model | UncertainModel | None,
    config: SelectConfig,
) -> FloatArray:
    if given is not None:
        values = np.asarray(given, dtype=np.float64)
        if values.shape != (len(candidates),) or not np.isfinite(values).all():
            raise ConfigError(
                f"uncertainties of shape {values.shape}, {np.isfinite(values).sum()} of them finite",
                expected=f"one finite number for each of {len(candidates)} candidates",
                suggestion="take them from one prediction of all candidates",
            )
        return values
    if not isinstance(model, UncertainModel):
        raise _missing(
            f"method: {config.method}", "uncertainties, or a model that knows its own",
            "train an ensemble or fit a last-layer posterior, or choose by variance, entropy or diversity",
        )  # fmt: skip
    return np.array([float(spread.square().mean().sqrt()) for spread in force_spreads(model, candidates)])


def _missing(what: str, needed: str, suggestion: str) -> ConfigError:
    return ConfigError(f"{what} without {needed}", expected=needed, suggestion=suggestion)
