"""How to choose what to label next: the method and its options."""

from typing import Literal

from pydantic import Field

from adiabat.models.config import FrozenConfig

Method = Literal["random", "uncertainty", "diversity", "entropy", "batch", "environment", "variance"]


class SelectConfig(FrozenConfig):
    """One way of choosing structures out of a list of candidates."""

    method: Method = Field(
        "variance",
        description="random; uncertainty: the most uncertain; diversity: the farthest from all that is there; entropy: "
        "the most new environments; batch: uncertain and unlike each other; environment: the most uncertain or newest "
        "atom; variance: what makes the forces of all candidates most certain",
    )
    features: Literal["structure", "trunk"] = Field(
        "structure",
        description="for diversity and batch: distances from the structure alone, or from the model's trunk",
    )
    cutoff: float = Field(5.0, gt=0, description="radius of the environments in Å, for entropy and environment")
    n_neighbors: int = Field(32, ge=2, description="neighbors that describe an environment, for entropy")
    bandwidth: float = Field(
        0.015, gt=0, description="width of the kernel between environments in 1/Å, for entropy and environment"
    )
    n_targets: int = Field(
        200, ge=1, description="for variance: candidates, drawn at random, whose forces are to become certain"
    )
    n_features: int = Field(
        200,
        ge=1,
        description="for variance: combinations kept of the features of the last layer, or of the linear family",
    )
    noise: float = Field(
        1e-3, gt=0, description="for variance: variance of a force label over the mean variance of forces beforehand"
    )
