import numpy as np
import pytest
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation

from adiabat.campaigns.curation.duplicates import aligned_deviation, find_duplicates
from adiabat.campaigns.curation.subset import choose_subset
from adiabat.campaigns.selection import SelectConfig
from adiabat.core.errors import ConfigError
from adiabat.data.record import Provenance, Record
from adiabat.data.structure import Structure


def shaken(name: str, n: int, scale: float = 0.1, seed: int = 0) -> list[Structure]:
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        atoms = molecule(name)
        atoms.positions += generator.normal(scale=scale, size=atoms.positions.shape)
        found.append(Structure.from_ase(atoms))
    return found


def turned(structure: Structure, seed: int = 0, sign: float = 1.0, noise: float = 0.0) -> Structure:
    generator = np.random.default_rng(seed)
    order = generator.permutation(structure.n_atoms)
    rotation = sign * Rotation.random(random_state=seed).as_matrix()
    positions = structure.positions @ rotation.T + generator.normal(size=3)
    positions = positions + generator.normal(scale=noise, size=positions.shape)
    return Structure(structure.atomic_numbers[order], positions[order])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_turned_mirrored_renumbered_molecule_does_not_deviate(sign: float):
    for seed, structure in enumerate(shaken("CH3CH2OH", 4)):
        assert aligned_deviation(structure, turned(structure, seed, sign)) < 1e-7
    a, b = shaken("CH3CH2OH", 2)
    assert aligned_deviation(a, b) > 0.05, "negative control: two frames do"


def test_the_deviation_is_that_of_the_displacement():
    structure = shaken("CH3CH2OH", 1)[0]
    moved = turned(structure, 3, noise=0.01)

    # A displacement of 0.01 Å each way, less what six rigid motions of 27 coordinates take up.
    assert aligned_deviation(structure, moved) == pytest.approx(0.01 * np.sqrt(3 * 21 / 27), rel=0.3)


def test_exact_and_near_duplicates_are_grouped_and_strangers_are_not():
    frames = shaken("CH3CH2OH", 6)
    frames += [frames[0], turned(frames[1], 1), turned(frames[2], 2, noise=0.005), *shaken("CH4", 1)]

    found = find_duplicates(frames, 0.02)

    assert found.exact == ((0, 6),)
    assert found.near == ((0, 6), (1, 7), (2, 8))
    assert found.surplus == [6, 7, 8]
    assert find_duplicates(frames, 0.002).near == ((0, 6), (1, 7)), "negative control: the threshold decides"
    with pytest.raises(ConfigError, match="threshold"):
        find_duplicates(frames, 0.0)


def test_crystals_are_compared_by_environments_and_charge_tells_frames_apart():
    atoms = bulk("NaCl", "rocksalt", a=5.6).repeat((2, 1, 1))
    generator = np.random.default_rng(0)
    frames = []
    for _ in range(2):
        copy = atoms.copy()
        copy.positions += generator.normal(scale=0.2, size=copy.positions.shape)
        frames.append(Structure.from_ase(copy))
    moved = frames[0].positions + np.array([0.3, 0.2, 0.1])
    frames.append(Structure(frames[0].atomic_numbers, moved, frames[0].cell, frames[0].pbc))
    frames.append(Structure(frames[0].atomic_numbers, moved, frames[0].cell, frames[0].pbc, charge=1))

    assert find_duplicates(frames, 0.02).near == ((0, 2),)


def test_a_subset_covers_what_copies_add_nothing_to():
    distinct = shaken("H2O", 6, scale=0.15)
    copies = [turned(distinct[index % 6], index) for index in range(18)]
    generator = np.random.default_rng(0)
    records = [Record(s, {"forces": generator.normal(size=(3, 3))}, Provenance("toy")) for s in [*distinct, *copies]]

    kept = choose_subset(records, 6, SelectConfig(method="entropy"))

    assert kept.covered == 1.0
    assert kept.entropy == pytest.approx(kept.entropy_of_all, abs=1e-9)
    assert kept.largest_force is not None
    assert 0 < kept.largest_force <= 1
    split = kept.split("hash")
    assert sorted([*split.train, *split.test]) == list(range(24))
    few = choose_subset(records, 2, SelectConfig(method="entropy"))
    assert few.covered < 0.9, "negative control: two frames do not cover six"
