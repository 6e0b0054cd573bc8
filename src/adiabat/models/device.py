"""Where a model computes, checked before anything is sent there."""

import torch

from adiabat.core.errors import ConfigError


def compute_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        ConfigError: no such kind of device, or this machine or this build of PyTorch has not got it.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    known = device is not None and device.type in ("cpu", "cuda")
    if device is None or not known or (device.type == "cuda" and (device.index or 0) >= n_cuda):
        raise ConfigError(
            f"device {name!r}",
            expected=", ".join(["cpu", *(f"cuda:{index}" for index in range(n_cuda))]),
            suggestion="use cpu" if not n_cuda else "use cuda",
        )
    return device
