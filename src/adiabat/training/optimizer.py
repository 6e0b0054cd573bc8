"""Adam, its step size, and the clipping of its gradient, with as few Python calls a step as there can be."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from adiabat.training.config import OptimizerConfig


class ClippedAdam:
    """Adam over all parameters of a model, with the norm of their common gradient clipped.

    Args:
        model: its trainable parameters are optimized.
        config: settings.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self.config = config
        named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
        self._names = [name for name, _ in named]
        self._parameters = [value for _, value in named]
        kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
        self._adam = kind(
            self._parameters,
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
            amsgrad=config.amsgrad,
            fused=True,
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._adam.zero_grad(set_to_none=True)

    def clip(self) -> Tensor:
        """Clip the gradients in place; returns their norm before, shape (), without waiting for the device.

        A parameter that no target of this batch depends on has no gradient and is left out.
        """
        gradients = [value.grad for value in self._parameters if value.grad is not None]
        norms = torch._foreach_norm(gradients)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        norm = torch.linalg.vector_norm(torch.stack(norms))
        if self.config.clip_norm is not None:
            factor = torch.clamp(self.config.clip_norm / (norm + 1e-12), max=1.0)
            torch._foreach_mul_(gradients, factor)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        return norm

    def step(self, rate_factor: float) -> None:
        """Take a step of ``rate_factor`` times the peak learning rate."""
        for group in self._adam.param_groups:
            group["lr"] = self.config.learning_rate * rate_factor
        self._adam.step()

    def state(self) -> dict[str, Tensor]:
        """Moments by parameter name and step counts, for a checkpoint."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in zip(self._names, self._parameters, strict=True):
            for key, value in self._adam.state.get(parameter, {}).items():
                tensors[f"{key}.{name}"] = value
        return tensors

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of :meth:`state`."""
        by_name = dict(zip(self._names, self._parameters, strict=True))
        for key, value in state.items():
            moment, _, name = key.partition(".")
            self._adam.state[by_name[name]][moment] = value.to(by_name[name].device)
