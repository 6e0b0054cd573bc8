"""The engines that a command line may name. Code is never named by a file or an option, only chosen from this list."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from adiabat.core.errors import ConfigError, nearest
from adiabat.engines.ase_calculator import AseEngine
from adiabat.engines.base import Engine
from adiabat.engines.cp2k import Cp2kEngine, Cp2kXtbEngine
from adiabat.engines.pyscf_crystal import PyscfCrystalEngine
from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.engines.tblite import TbliteEngine
from adiabat.engines.tight_binding import TightBindingEngine


def _effective_medium() -> AseEngine:
    return AseEngine(EMT(), method="EMT")


def _lennard_jones(sigma: float = 1.0, epsilon: float = 1.0) -> AseEngine:
    return AseEngine(
        LennardJones(sigma=sigma, epsilon=epsilon, rc=3 * sigma, smooth=True),
        method="Lennard-Jones",
        settings={"sigma": sigma, "epsilon": epsilon},
    )


ENGINES: Final[Mapping[str, Callable[..., Engine]]] = {
    "pyscf": PyscfEngine,
    "cp2k": Cp2kEngine,
    "cp2k-gfn1": Cp2kXtbEngine,
    "pyscf-crystal": PyscfCrystalEngine,
    "gfn1": partial(TbliteEngine, "GFN1-xTB"),
    "gfn2": partial(TbliteEngine, "GFN2-xTB"),
    "emt": _effective_medium,
    "lj": _lennard_jones,
    "tight-binding": TightBindingEngine,
}
"""Engine constructors by their word on the command line."""


def create_engine(name: str, **options: Any) -> Engine:
    """Make an engine.

    Args:
        name: a key of :data:`ENGINES`.
        options: its settings.

    Raises:
        ConfigError: an unknown engine, or an option that this engine does not have.
        AdiabatError: whatever the engine refuses.
    """
    if name not in ENGINES:
        raise ConfigError(
            f"engine {name!r}", expected=f"one of {', '.join(ENGINES)}", suggestion=nearest(name, ENGINES)
        )
    known = list(inspect.signature(ENGINES[name]).parameters)
    for key in options:
        if key not in known:
            raise ConfigError(
                f"option {key!r} for engine {name!r}",
                expected=f"one of {', '.join(known)}" if known else "no option",
                suggestion=nearest(key, known) if known else f"leave {key!r} out",
            )
    return ENGINES[name](**options)
