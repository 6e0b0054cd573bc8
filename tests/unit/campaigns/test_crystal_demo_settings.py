"""Parts of the crystal demo's cells: apart, of all sizes, and the same however the cells were obtained."""

import pytest
from pydantic import ValidationError

from adiabat.campaigns.crystal_demo_data import demo_structures
from adiabat.campaigns.crystal_demo_settings import CrystalDemoSettings

STRUCTURES = demo_structures()
SPLITS = [str(structure.info["split"]) for structure in STRUCTURES]


@pytest.mark.parametrize("n_cells", [2, 7, 16, 40])
def test_parts_do_not_meet_and_hold_all_that_was_asked_for(n_cells: int) -> None:
    parts = CrystalDemoSettings(source="shipped", n_cells=n_cells).parts(SPLITS)
    indices = [index for members in parts.values() for index in members]
    assert len(indices) == len(set(indices)) == n_cells + 3
    assert all(parts.values())
    assert all(SPLITS[index] == "heldout" for index in parts["test"])
    assert all(SPLITS[index] == "train" for index in [*parts["train"], *parts["validation"]])


@pytest.mark.parametrize("part", ["train", "validation"])
def test_both_sizes_are_learned_from_and_chosen_by(part: str) -> None:
    parts = CrystalDemoSettings(source="shipped").parts(SPLITS)
    assert {STRUCTURES[index].n_atoms for index in parts[part]} == {2, 4}


@pytest.mark.parametrize("n_cells", [5, 16, 40])
def test_labelling_only_the_cells_of_a_part_changes_no_part(n_cells: int) -> None:
    settings = CrystalDemoSettings(source="cp2k", n_cells=n_cells)
    parts = settings.parts(SPLITS)
    wanted = sorted(index for members in parts.values() for index in members)
    again = settings.parts([SPLITS[index] for index in wanted])
    assert {part: [wanted[index] for index in members] for part, members in again.items()} == parts


def test_more_cells_than_there_are_is_refused() -> None:
    with pytest.raises(ValidationError):
        CrystalDemoSettings(source="shipped", n_cells=41)
