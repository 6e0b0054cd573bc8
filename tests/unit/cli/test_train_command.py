import json

import pytest
from typer.testing import CliRunner

from adiabat.cli.main import app
from labelled_waters import tiny_config, water_records, write_store


@pytest.fixture
def config_file(tmp_path):
    store = write_store(tmp_path / "waters.lmdb", water_records(6))
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(tiny_config(store).model_dump(mode="json")))  # JSON is YAML
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_a_run_from_yaml_with_an_override(config_file, tmp_path):
    result = run(config_file, "--set", "schedule.max_steps=3", "--set", "targets={energy: {weight: 2}}")
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "tiny/config.json").read_text())
    assert written["schedule"]["max_steps"] == 3
    assert written["targets"]["energy"]["weight"] == 2
    assert (tmp_path / "tiny/model.safetensors").exists()


def test_a_typo_ends_with_an_error_and_leaves_nothing(config_file, tmp_path):
    result = run(config_file, "-o", tmp_path / "run", "--set", "training.batchsize=3")
    assert result.exit_code == 1
    assert "'batch_size'" in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "word"), [("- a\n- b\n", "list"), ("a: [1, 2", "not YAML"), ("a: !!python/object:os.system {}", "YAML")]
)
def test_what_is_no_mapping_is_refused(tmp_path, text, word):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    result = run(path)
    assert result.exit_code == 1
    assert word in result.output


def test_a_missing_file_and_a_malformed_override_are_refused(config_file, tmp_path):
    assert run(tmp_path / "none.yaml").exit_code == 1
    result = run(config_file, "--set", "schedule.max_steps")
    assert result.exit_code == 1
    assert "section.key=value" in result.output


def test_the_schema_is_json_schema():
    result = CliRunner().invoke(app, ["schema"])
    assert result.exit_code == 0
    assert "ScheduleConfig" in json.loads(result.output)["$defs"]
