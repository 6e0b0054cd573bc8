"""The energy head: atomic energies from the scalars of every layer."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from adiabat.models.config import ModelConfig
from adiabat.models.layers import ScalarNetwork, keep_float64


class EnergyHead(nn.Module):
    """E_i = E_ref(Z_i) + scale · (Σ_layers w · h_i + network(h_i)).

    Args:
        config: the model's.
        n_species: number of elements the model knows.
    """

    reference: Tensor
    scale: Tensor

    def __init__(self, config: ModelConfig, n_species: int) -> None:
        super().__init__()
        self.linear = nn.ParameterList(
            torch.randn(config.channels) / config.channels**0.5 for _ in range(config.layers - 1)
        )
        self.network = ScalarNetwork(config.channels, config.hidden, 1)
        self.register_buffer("reference", torch.zeros(n_species, dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "EnergyHead":
        """Keep reference energies and scale in float64 when the model is cast: float32 holds −9391 eV to 1 meV."""
        return keep_float64(self, lambda: super(EnergyHead, self)._apply(fn, recurse))

    def forward(self, history: list[Tensor], species: Tensor) -> Tensor:
        """(n_atoms,) atomic energies in eV, float64 so that large totals keep their digits."""
        energies = self.network(history[-1][:, 0]).squeeze(-1)
        for weight, features in zip(self.linear, history, strict=False):
            energies = energies + features[:, 0] @ weight
        return energies.double() * self.scale + self.reference.index_select(0, species)

    def last_features(self, history: list[Tensor]) -> Tensor:
        """(n_atoms, n_features): what the last layer is linear in. E_i = E_ref + scale · features · last_weights."""
        return torch.cat(
            [*(features[:, 0] for features in history[:-1]), self.network.hidden(history[-1][:, 0])], dim=-1
        )

    @property
    def last_weights(self) -> Tensor:
        """(n_features,) weights of the last layer, in the order of :meth:`last_features`."""
        return torch.cat([*self.linear, self.network.weights[-1].squeeze(-1)])
