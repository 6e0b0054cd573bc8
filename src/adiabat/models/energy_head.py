"""The energy head: atomic energies from the scalars of every layer.

One head gives one energy. Two things may be added to it, and both start from it: a correction for each level of theory,
so that few labels of a costly one suffice; and more heads over the same trunk, a shallow ensemble, whose spread says
how far the energy may be off.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from adiabat.models.config import ModelConfig
from adiabat.models.layers import SILU_GAIN, ScalarNetwork, keep_float64


class EnergyHead(nn.Module):
    """E_i = E_ref(Z_i, f) + scale · mean_k (Σ_layers w_k · h_i + network_k(h_i) + c_f · φ_i) at fidelity f.

    φ_i are the :meth:`last_features`, which also the heads k are linear in. c_f starts at zero. A model of one level
    of theory has no f, and with ``ensemble`` 1 there is one k.

    Args:
        config: the model's.
        n_species: number of elements the model knows.

    Source: [kellner2024] for the heads k.
    """

    reference: Tensor
    scale: Tensor

    def __init__(self, config: ModelConfig, n_species: int) -> None:
        super().__init__()
        self.n_heads = config.ensemble
        self.linear = nn.ParameterList(
            torch.randn(config.channels) / config.channels**0.5 for _ in range(config.layers - 1)
        )
        self.network = ScalarNetwork(config.channels, config.hidden, 1)
        sizes = (config.channels, config.hidden, 1)
        n_more = config.ensemble - 1
        if n_more:
            self.more_linear = nn.ParameterList(
                torch.randn(n_more, config.channels) / config.channels**0.5 for _ in range(config.layers - 1)
            )
            self.more_weights = nn.ParameterList(torch.randn(n_more, a, b) / math.sqrt(a) for a, b in pairwise(sizes))
        n_fidelities = len(config.fidelities)
        n_features = (config.layers - 1) * config.channels + config.ensemble * config.hidden
        self.correction = nn.Parameter(torch.zeros(n_fidelities, n_features)) if n_fidelities else None
        shape = (n_fidelities, n_species) if n_fidelities else (n_species,)
        self.register_buffer("reference", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "EnergyHead":
        """Keep reference energies and scale in float64 when the model is cast: float32 holds −9391 eV to 1 meV."""
        return keep_float64(self, lambda: super(EnergyHead, self)._apply(fn, recurse))

    def forward(
        self, history: list[Tensor], species: Tensor, fidelity: Tensor | None = None, heads: Tensor | None = None
    ) -> Tensor:
        """(n_atoms,) atomic energies in eV, float64 so that large totals keep their digits.

        Args:
            history: node features after each layer.
            species: (n_atoms,) index of each atom's element.
            fidelity: (n_atoms,) level of theory of each atom's structure; the first by default.
            heads: (n_atoms,) the head that gives each atom's energy; the mean of all by default.
        """
        if self.n_heads == 1:
            energies = self._first(history)
        else:
            of_heads = self._of_heads(history)
            energies = of_heads.mean(0) if heads is None else of_heads.gather(0, heads.unsqueeze(0)).squeeze(0)
        return self._finished(energies, history, species, fidelity)

    def all_heads(self, history: list[Tensor], species: Tensor, fidelity: Tensor | None = None) -> Tensor:
        """(n_heads, n_atoms) atomic energies of each head in eV, float64; their mean is :meth:`forward`."""
        return self._finished(self._of_heads(history), history, species, fidelity)

    def _finished(self, energies: Tensor, history: list[Tensor], species: Tensor, fidelity: Tensor | None) -> Tensor:
        """Correct for the fidelity, and go from unit outputs to eV."""
        if self.correction is None:
            return energies.double() * self.scale + self.reference.index_select(0, species)
        level = torch.zeros_like(species) if fidelity is None else fidelity
        along = (self.last_features(history) * self.correction.index_select(0, level)).sum(-1)
        return (energies + along).double() * self.scale + self.reference[level, species]

    def _first(self, history: list[Tensor]) -> Tensor:
        energies = self.network(history[-1][:, 0]).squeeze(-1)
        for weight, features in zip(self.linear, history, strict=False):
            energies = energies + features[:, 0] @ weight
        return energies

    def _of_heads(self, history: list[Tensor]) -> Tensor:
        """(n_heads, n_atoms) outputs in the unit of ``scale``."""
        first = self._first(history).unsqueeze(0)
        if self.n_heads == 1:
            return first
        more = (self._more_hidden(history) @ self.more_weights[-1]).squeeze(-1)
        for weight, features in zip(self.more_linear, history, strict=False):
            more = more + weight @ features[:, 0].mT
        return torch.cat([first, more])

    def _more_hidden(self, history: list[Tensor]) -> Tensor:
        """(n_heads − 1, n_atoms, hidden) what the networks of the heads beyond the first are linear in."""
        hidden = history[-1][:, 0].unsqueeze(0)
        for weight in list(self.more_weights)[:-1]:
            hidden = functional.silu(hidden @ weight) * SILU_GAIN
        return hidden

    def last_features(self, history: list[Tensor]) -> Tensor:
        """(n_atoms, n_features) φ: what the last layer is linear in.

        E_i = E_ref + scale · φ_i · (last_weights + c_f), where c_f, ``correction[f]``, is there with fidelities only.
        """
        parts = [*(features[:, 0] for features in history[:-1]), self.network.hidden(history[-1][:, 0])]
        if self.n_heads > 1:
            parts += list(self._more_hidden(history))
        return torch.cat(parts, dim=-1)

    @property
    def last_weights(self) -> Tensor:
        """(n_features,) weights of the last layer, in the order of :meth:`last_features`: of the mean of all heads."""
        if self.n_heads == 1:
            return torch.cat([*self.linear, self.network.weights[-1].squeeze(-1)])
        linear = [
            torch.cat([first.unsqueeze(0), more]).mean(0)
            for first, more in zip(self.linear, self.more_linear, strict=True)
        ]
        last = [self.network.weights[-1].squeeze(-1), *self.more_weights[-1].squeeze(-1)]
        return torch.cat([*linear, *(weight / self.n_heads for weight in last)])

    def moved(self, change: Tensor) -> dict[str, Tensor]:
        """Parameters, by name, with which :attr:`last_weights` are moved by ``change``, (n_features,); of all heads."""
        n_heads = self.n_heads
        hidden = len(self.network.weights[-1])
        parts = change.to(self.network.weights[-1].dtype).split([len(w) for w in self.linear] + [hidden] * n_heads)
        of_layers, of_heads = parts[: len(self.linear)], parts[len(self.linear) :]
        last = len(self.network.weights) - 1
        found = {f"linear.{k}": self.linear[k] + part for k, part in enumerate(of_layers)}
        found[f"network.weights.{last}"] = self.network.weights[-1] + n_heads * of_heads[0].unsqueeze(-1)
        if n_heads > 1:
            found |= {f"more_linear.{k}": self.more_linear[k] + part for k, part in enumerate(of_layers)}
            moved = self.more_weights[-1] + n_heads * torch.stack(list(of_heads[1:])).unsqueeze(-1)
            found[f"more_weights.{len(self.more_weights) - 1}"] = moved
        return {name: tensor.detach() for name, tensor in found.items()}
