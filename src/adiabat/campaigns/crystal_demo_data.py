"""The crystal demo's cells: what is labelled where CP2K is installed, and the same labels as the package ships them."""

from pathlib import Path
from typing import Final

from adiabat.campaigns.boron_nitride_geometries import boron_nitride, sample_boron_nitride
from adiabat.campaigns.packed_crystals import unpack_crystals
from adiabat.data.record import Record
from adiabat.data.structure import Structure
from adiabat.engines.cp2k import Cp2kEngine

DEMO_FILE: Final = Path(__file__).parent / "data" / "boron_nitride.npz"

_TRAINING: Final = (("train", (1, 1), 24), ("train", (2, 1), 16))
_HELD_OUT: Final = (("heldout", (2, 2), 1), ("heldout", (3, 2), 1))


def demo_structures() -> list[Structure]:
    """40 distorted cells of two and four atoms, and held out one perfect cell and distorted ones of 8 and 12 atoms.

    ``info["split"]`` is ``train`` or ``heldout``.
    """
    perfect = boron_nitride()
    held_out = Structure(
        perfect.atomic_numbers, perfect.positions, perfect.cell, perfect.pbc, info={"split": "heldout"}
    )
    return [
        *sample_boron_nitride(_TRAINING, strain=0.03, displacement=0.05, seed=3),
        held_out,
        *sample_boron_nitride(_HELD_OUT, strain=0.03, displacement=0.05, seed=4),
    ]


def demo_engine() -> Cp2kEngine:
    """PBE in SZVP-MOLOPT-SR with 9 × 9 k-points for the two-atom cell.

    Raises:
        EngineError: CP2K is not installed.
    """
    return Cp2kEngine(k_spacing=0.34)


def shipped_demo_records() -> list[Record]:
    """Labels of :func:`demo_structures` by :func:`demo_engine`, as the package ships them.

    Raises:
        FileFormatError: the file is damaged.
    """
    return unpack_crystals(DEMO_FILE)
