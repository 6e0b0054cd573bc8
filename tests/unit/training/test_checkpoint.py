from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from adiabat.core.errors import FileFormatError, SchemaVersionError
from adiabat.training import checkpoint
from adiabat.training.checkpoint import read_checkpoint, write_checkpoint


def test_what_is_written_is_read(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    groups = {"a": {"x": shared, "view": shared[1], "transposed": shared.T}, "b": {"n": torch.tensor(3)}}
    write_checkpoint(tmp_path / "c.safetensors", groups, {"step": 3, "best": None})
    read, state = read_checkpoint(tmp_path / "c.safetensors")
    assert state == {"step": 3, "best": None}
    for group, members in groups.items():
        for name, value in members.items():
            assert torch.equal(read[group][name], value)


def test_no_draft_is_left(tmp_path):
    write_checkpoint(tmp_path / "c.safetensors", {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    with pytest.raises(FileFormatError):
        read_checkpoint(path)


def test_a_missing_or_truncated_file_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    with pytest.raises(FileFormatError):
        read_checkpoint(path)
    write_checkpoint(path, {"a": {"x": torch.ones(1000)}}, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FileFormatError):
        read_checkpoint(path)


def test_another_safetensors_file_is_refused(tmp_path):
    save_file({"x": torch.ones(2)}, tmp_path / "m.safetensors")
    with pytest.raises(FileFormatError, match="no adiabat checkpoint"):
        read_checkpoint(tmp_path / "m.safetensors")


def test_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_FILE", replace(checkpoint._FILE, schema_version=99))
    write_checkpoint(tmp_path / "c.safetensors", {}, {})
    monkeypatch.undo()
    with pytest.raises(SchemaVersionError, match="99"):
        read_checkpoint(tmp_path / "c.safetensors")
