import pytest

from adiabat.core.errors import ConfigError
from adiabat.training.config import TrainConfig
from adiabat.training.config_parsing import parse_config, set_nested

MINIMAL = {"data": {"train": "a.lmdb"}, "schedule": {"max_steps": 10}}


def test_a_path_stands_for_one_store():
    config = parse_config(MINIMAL)
    assert [part.path for part in config.data.train] == ["a.lmdb"]


def test_several_stores_and_slices():
    config = parse_config({**MINIMAL, "data": {"train": ["a.lmdb", {"path": "b.lmdb", "first": 50}]}})
    assert [(part.path, part.first) for part in config.data.train] == [("a.lmdb", None), ("b.lmdb", 50)]


@pytest.mark.parametrize(
    ("section", "key", "nearest"),
    [
        ("optimizer", "learnign_rate", "learning_rate"),
        ("training", "batchsize", "batch_size"),
        ("schedule", "max_step", "max_steps"),
        ("model", "chanels", "channels"),
        ("data", "trian", "train"),
    ],
)
def test_a_typo_is_refused_with_the_nearest_key(section, key, nearest):
    settings = {**MINIMAL, section: {**MINIMAL.get(section, {}), key: 1}}
    with pytest.raises(ConfigError) as caught:
        parse_config(settings)
    assert repr(key) in caught.value.got
    assert section in caught.value.got
    assert repr(nearest) in caught.value.suggestion


def test_a_typo_two_levels_down_is_refused_with_the_nearest_key():
    with pytest.raises(ConfigError) as caught:
        parse_config({**MINIMAL, "targets": {"forces": {"wieght": 3}}})
    assert "'weight'" in caught.value.suggestion
    with pytest.raises(ConfigError) as caught:
        parse_config({**MINIMAL, "data": {"train": [{"path": "a.lmdb", "frame": "0:4"}]}})
    assert "'frames'" in caught.value.suggestion
    with pytest.raises(ConfigError) as caught:
        parse_config({**MINIMAL, "model": {"operator": {"chanels": 8}}})
    assert "'channels'" in caught.value.suggestion


def test_a_typo_in_a_section_name():
    with pytest.raises(ConfigError) as caught:
        parse_config({**MINIMAL, "optimiser": {}})
    assert "'optimizer'" in caught.value.suggestion


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({**MINIMAL, "optimizer": {"learning_rate": -1.0}}, "optimizer.learning_rate"),
        ({**MINIMAL, "training": {"ema_decay": 1.5}}, "training.ema_decay"),
        ({"data": {"train": "a.lmdb"}}, "schedule"),
        ({"data": {"train": "a.lmdb"}, "schedule": {}}, "schedule"),
        ({**MINIMAL, "targets": {}}, "targets"),
        ({**MINIMAL, "data": {"train": []}}, "data.train"),
        ({**MINIMAL, "data": {"train": "a.lmdb", "validation": "b.lmdb", "n_validation": 3}}, "data"),
    ],
)
def test_values_that_cannot_be_are_refused_where_they_stand(settings, where):
    with pytest.raises(ConfigError) as caught:
        parse_config(settings)
    assert where in caught.value.got


def test_early_stopping_without_validation_is_refused():
    with pytest.raises(ConfigError, match="n_validation"):
        parse_config({**MINIMAL, "training": {"patience": 3}})


def test_selecting_by_something_that_is_no_target_is_refused():
    with pytest.raises(ConfigError, match="forces"):
        parse_config({**MINIMAL, "targets": {"energy": {}}, "training": {"select_by": "forces"}})


def test_an_override_reaches_a_nested_key():
    settings = {"schedule": {"max_steps": 10}}
    set_nested(settings, "schedule.max_steps", 20)
    set_nested(settings, "targets.energy.weight", 2.0)
    assert settings == {"schedule": {"max_steps": 20}, "targets": {"energy": {"weight": 2.0}}}


def test_an_override_through_a_value_is_refused():
    with pytest.raises(ConfigError):
        set_nested({"schedule": 3}, "schedule.max_steps", 20)


def test_a_configuration_survives_json():
    config = parse_config({**MINIMAL, "targets": {"hamiltonian": {}}, "model": {"operator": {}}})
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config


def test_every_key_is_described_in_the_schema():
    definitions = TrainConfig.model_json_schema()["$defs"]
    missing = [
        f"{section}.{key}"
        for section, content in definitions.items()
        for key, value in content["properties"].items()
        if "description" not in value
    ]
    assert missing == []
