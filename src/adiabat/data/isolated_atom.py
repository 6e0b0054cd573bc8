"""Frames that hold one free atom, whose energy is the element's reference energy."""

from typing import Final

from adiabat.data.structure import Structure

_NAMES: Final = frozenset({"isolatedatom", "freeatom", "singleatom"})


def is_isolated_atom(structure: Structure) -> bool:
    """Whether the source calls a one-atom frame an isolated atom, in any spelling (``config_type=IsolatedAtom``)."""
    name = str(structure.info.get("config_type", ""))
    return structure.n_atoms == 1 and name.lower().replace("_", "").replace("-", "").replace(" ", "") in _NAMES
