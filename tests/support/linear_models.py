"""Small models of the linear family, with random weights."""

import torch

from adiabat.models.config import LinearAceConfig, ModelConfig
from adiabat.models.linear_ace import LinearEnergyHead
from adiabat.models.model import Model, build_model
from small_models import ELEMENTS


def linear_config(*, cutoff: float = 3.5, degrees: tuple[int, ...] = (4, 4, 4, 3), l_max: int = 3) -> ModelConfig:
    sizes = LinearAceConfig(degrees=degrees, l_max=l_max)
    return ModelConfig(family="linear-ace", cutoff=cutoff, linear_ace=sizes)


def linear_model(config: ModelConfig | None = None, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Model:
    model = build_model(config or linear_config(), ELEMENTS, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    head = model.energy_head
    assert isinstance(head, LinearEnergyHead)
    with torch.no_grad():
        head.weights.copy_(torch.randn(head.weights.shape, generator=generator))
    head.scale.fill_(0.7)
    head.reference.copy_(torch.tensor([-13.0, -1030.0, -2040.0]))
    model.trunk.n_neighbors.fill_(4.0)
    return model.eval()
