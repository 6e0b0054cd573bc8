"""Models that share all but a few weights: a posterior's draws over one trunk cost the memory of their last layers."""

import copy
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

ModuleType = TypeVar("ModuleType", bound=nn.Module)


def with_parameters(module: ModuleType, parameters: Mapping[str, Tensor]) -> ModuleType:
    """A module with some parameters in the place of its own, and everything else shared with it.

    Args:
        module: left as it is.
        parameters: by their names in ``module.state_dict()``; used without gradients.
    """
    view = copy.copy(module)
    # A copy of a module shares the dictionaries that hold its parts, which must not be written to.
    for held in ("_modules", "_parameters"):
        view.__dict__[held] = dict(module.__dict__[held])
    of_child: dict[str, dict[str, Tensor]] = {}
    for name, tensor in parameters.items():
        child, _, rest = name.partition(".")
        if rest:
            of_child.setdefault(child, {})[rest] = tensor
        else:
            assert view.get_parameter(name).shape == tensor.shape
            view.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
    for child, below in of_child.items():
        view.register_module(child, with_parameters(view.get_submodule(child), below))
    return view
