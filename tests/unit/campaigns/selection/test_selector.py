import numpy as np
import pytest
from ase.build import molecule
from scipy.spatial.transform import Rotation

from adiabat.campaigns.force_spreads import force_spreads
from adiabat.campaigns.selection import SelectConfig, select
from adiabat.campaigns.selection.entropy import choose_by_entropy, information_entropy, novelty
from adiabat.campaigns.selection.environments import Environments, environments
from adiabat.campaigns.selection.farthest_point import farthest_points
from adiabat.core.errors import ConfigError
from adiabat.data.structure import Structure
from adiabat.uncertainty.ensemble import DeepEnsemble
from small_models import small_config, small_model

METHODS = ["random", "uncertainty", "diversity", "entropy", "batch", "environment", "variance"]


def shaken_waters(n: int, scale: float = 0.1, seed: int = 0) -> list[Structure]:
    generator = np.random.default_rng(seed)
    waters = []
    for _ in range(n):
        atoms = molecule("H2O")
        atoms.positions += generator.normal(scale=scale, size=(3, 3))
        waters.append(Structure.from_ase(atoms))
    return waters


def turned(structure: Structure, seed: int = 0) -> Structure:
    """The same structure rotated, reflected, moved and renumbered."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(structure.n_atoms)
    rotation = -Rotation.random(random_state=seed).as_matrix()
    positions = structure.positions @ rotation.T + generator.normal(size=3)
    return Structure(structure.atomic_numbers[order], positions[order])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_chooses_distinct_candidates_and_not_what_is_labelled_already(method: str):
    waters = shaken_waters(12)
    copies = [turned(water, seed) for seed, water in enumerate(waters[:4])]
    config = SelectConfig(method=method, n_features=16)

    chosen = select(waters, copies, config, 5, uncertainties=np.linspace(1, 2, 12))

    assert len(set(chosen)) == 5
    assert set(chosen) <= set(range(12))
    assert chosen == select(waters, copies, config, 5, uncertainties=np.linspace(1, 2, 12)), "same seed, same choice"
    if method not in ("random", "uncertainty", "variance"):
        assert not set(chosen) & set(range(4)), "the first four are labelled already, turned and renumbered"


@pytest.mark.parametrize("method", ["diversity", "entropy", "batch", "environment", "variance"])
def test_the_choice_does_not_depend_on_axes_and_numbering(method: str):
    waters, config = shaken_waters(10), SelectConfig(method=method, features="trunk", n_features=16)
    model = small_model(small_config(operator=False, cutoff=5.0))
    options = {"uncertainties": np.linspace(1, 2, 10), "model": model}

    chosen = select(waters[2:], waters[:2], config, 4, **options | {"uncertainties": np.linspace(1, 2, 8)})
    others = [turned(water, seed) for seed, water in enumerate(waters)]

    assert select(others[2:], others[:2], config, 4, **options | {"uncertainties": np.linspace(1, 2, 8)}) == chosen
    changed = [*others[:2], *shaken_waters(8, seed=9)]
    again = select(changed[2:], changed[:2], config, 4, **options | {"uncertainties": np.linspace(1, 2, 8)})
    assert again != chosen, "negative control: other structures, another choice"


def test_farthest_points_on_a_grid_are_its_ends_then_its_middle():
    grid = np.arange(9.0)[:, None]

    assert farthest_points(grid, np.array([[0.0]]), 3) == [8, 4, 2]
    assert farthest_points(grid, np.zeros((0, 1)), 2) == [0, 8]
    weights = np.where(np.arange(9) == 3, 10.0, 1.0)
    assert farthest_points(grid, np.array([[0.0]]), 1, weights=weights) == [3], "a weight counts like distance"


def points(*values: float, element: int = 1, structure: list[int] | None = None) -> Environments:
    owner = np.arange(len(values)) if structure is None else np.array(structure)
    return Environments(np.array(values)[:, None], np.full(len(values), element), owner, int(owner.max()) + 1)


def test_entropy_of_equal_environments_is_zero_and_of_strangers_their_logarithm():
    assert information_entropy(points(1, 1, 1, 1), 0.1) == pytest.approx(0, abs=1e-12)
    assert information_entropy(points(1, 2, 3, 4), 0.1) == pytest.approx(np.log(4), abs=1e-12)
    assert information_entropy(points(1, 1, 3, 3), 0.1) == pytest.approx(np.log(2), abs=1e-12)


def test_a_duplicated_set_gains_no_entropy_and_no_novelty():
    waters = environments(shaken_waters(6))
    twice = environments([*shaken_waters(6), *shaken_waters(6)])

    assert information_entropy(twice) == pytest.approx(information_entropy(waters), abs=1e-9)
    assert (novelty(waters, waters) <= 1e-9).all(), "what is there is not new"
    assert (novelty(environments(shaken_waters(2, scale=0.3, seed=5)), waters) > 1).any()
    assert np.isinf(novelty(points(1.0, element=8), points(1.0))).all(), "another element is never seen"


def test_greedy_entropy_equals_the_entropy_of_each_union():
    labelled, candidates = points(0.0, 0.1), points(0.05, 1.0, 1.02, 2.0, structure=[0, 1, 1, 2])

    first = choose_by_entropy(candidates, labelled, 1, 0.1)[0]

    unions = [points(0.0, 0.1, *values) for values in ([0.05], [1.0, 1.02], [2.0])]
    assert first == int(np.argmax([information_entropy(union, 0.1) for union in unions]))


def test_batch_choice_does_not_take_copies_of_the_most_uncertain():
    waters = shaken_waters(8)
    candidates = [*(turned(waters[0], seed) for seed in range(5)), *waters[1:]]
    uncertainties = [10.0] * 5 + [1.0] * 7

    plain = select(candidates, [], SelectConfig(method="uncertainty"), 5, uncertainties=uncertainties)
    aware = select(candidates, [], SelectConfig(method="batch"), 5, uncertainties=uncertainties)

    assert plain == [0, 1, 2, 3, 4], "negative control: uncertainty alone takes five copies"
    assert len([index for index in aware if index < 5]) == 1


def test_one_strange_atom_in_a_large_structure_is_found_by_atoms_and_lost_in_the_mean():
    chain = np.zeros((40, 3))
    chain[:, 0] = np.arange(40) * 2.0
    common = [Structure(np.ones(40, dtype=np.int64), chain * scale) for scale in (1.0, 1.002, 1.004)]
    bent = chain.copy()
    bent[20, 1] = 0.8
    strange = Structure(np.ones(40, dtype=np.int64), bent)

    assert select([*common[1:], strange], common[:1], SelectConfig(method="environment"), 1) == [2]


def test_bad_requests_are_refused():
    waters = shaken_waters(3)

    with pytest.raises(ConfigError, match="4 of 3"):
        select(waters, [], SelectConfig(method="random"), 4)
    with pytest.raises(ConfigError, match="uncertainties"):
        select(waters, [], SelectConfig(method="uncertainty"), 1)
    with pytest.raises(ConfigError, match="shape"):
        select(waters, [], SelectConfig(method="batch"), 1, uncertainties=[1.0])
    with pytest.raises(ConfigError, match="features: trunk"):
        select(waters, [], SelectConfig(method="diversity", features="trunk"), 1)
    assert select(waters, [], SelectConfig(), 0) == []


def test_an_uncertain_model_needs_no_list_of_uncertainties():
    config = small_config(operator=False, cutoff=5.0)
    ensemble = DeepEnsemble([small_model(config, seed=seed) for seed in range(3)])
    waters = shaken_waters(8)
    spreads = force_spreads(ensemble, waters)

    by_mean = select(waters, [], SelectConfig(method="uncertainty"), 3, model=ensemble)
    by_atom = select(waters, [], SelectConfig(method="environment"), 1, model=ensemble)

    assert by_mean == np.argsort([-float(s.square().mean()) for s in spreads])[:3].tolist()
    assert by_atom == [int(np.argmax([float(s.norm(dim=-1).max()) for s in spreads]))]
    batch = select(waters, [], SelectConfig(method="batch"), 3, model=ensemble)
    assert batch[0] == by_mean[0]
    with pytest.raises(ConfigError, match="without uncertainties"):
        select(waters, [], SelectConfig(method="batch"), 3, model=ensemble.model)
