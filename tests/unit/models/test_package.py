"""Model packages: exact round trips, released versions that must load, and every kind of damage refused clearly."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from adiabat.core.errors import AdiabatError, FileFormatError, SchemaVersionError
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.models.package import inspect_model, load_model, save_model
from adiabat.training.checkpoint import write_checkpoint
from small_models import F_BASIS, crystal, molecule, relative_difference, small_config, small_model

OUTPUTS = ("energy", "forces", "stress", "hamiltonian")
FIXTURE_CRYSTAL = Structure(
    np.array([1, 8]),
    np.array([[0.1, 0.0, 0.2], [1.4, 1.5, 1.3]]),
    np.array([[2.8, 0.3, 0.0], [0.2, 2.9, 0.4], [0.0, -0.5, 3.0]]),
    np.ones(3, dtype=bool),
)
PROVENANCE = {"data_hash": "abc", "n_train": 3, "note": "Å and ±"}


def predictions(model: Model) -> list[torch.Tensor]:
    found = model(model.graph(crystal(), OUTPUTS), OUTPUTS)
    return [found.energy, found.forces, found.stress, found.hamiltonian.onsite, found.hamiltonian.pair]


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model(small_config(pair_radius=4.0))


@pytest.fixture(scope="module")
def plain_package(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Bytes of a package without operator head."""
    path = tmp_path_factory.mktemp("package") / "model.safetensors"
    save_model(small_model(small_config(operator=False)), path, PROVENANCE)
    return path.read_bytes()


def rewritten(path: Path, **changes: str | None) -> Path:
    """The package with other metadata."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        metadata = {**file.metadata(), **changes}
    path.write_bytes(save(tensors, {key: value for key, value in metadata.items() if value is not None}))
    return path


# ---------------------------------------------------------------- round trip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_model_predicts_the_same_to_the_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    model = small_model(small_config(pair_radius=4.0), dtype=dtype)
    save_model(model, tmp_path / "model.safetensors", PROVENANCE)
    again = load_model(tmp_path / "model.safetensors")
    assert again.dtype == dtype
    assert not again.training
    for ours, theirs in zip(predictions(model), predictions(again), strict=True):
        assert torch.equal(ours, theirs)


def test_a_loaded_model_saved_again_has_the_same_hash(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "one", PROVENANCE)
    save_model(load_model(tmp_path / "one"), tmp_path / "two", PROVENANCE)
    assert inspect_model(tmp_path / "one")["content_hash"] == inspect_model(tmp_path / "two")["content_hash"]


def test_another_precision_on_request(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "model", PROVENANCE)
    single = load_model(tmp_path / "model", dtype=torch.float32)
    assert single.dtype == torch.float32
    assert single.energy_head.reference.dtype == torch.float64
    assert torch.equal(single.energy_head.reference, model.energy_head.reference)
    for ours, theirs in zip(predictions(model), predictions(single), strict=True):
        assert relative_difference(theirs, ours) < 1e-4


def test_the_callers_default_dtype_is_left_alone(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "model", PROVENANCE)
    load_model(tmp_path / "model", dtype=torch.float64)
    assert torch.get_default_dtype() == torch.float32


def test_a_failed_save_leaves_the_old_file(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "model"
    save_model(model, path, PROVENANCE)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_model(model, path, {"not": object()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------- released formats


@pytest.mark.parametrize("version", [1])
def test_a_released_format_loads_and_predicts_what_it_did(repository: Path, version: int) -> None:
    """Made by scripts/make_model_fixture.py; never replaced once its version is released."""
    path = repository / "tests" / "data" / "models" / f"v{version}.safetensors"
    assert path.stat().st_size < 100_000
    model = load_model(path)
    expected = json.loads(path.with_suffix(".json").read_text())
    assert set(expected) == {"water", "crystal"}
    for case in expected.values():
        geometry = {key: np.array(case[key]) for key in ("atomic_numbers", "positions", "cell", "pbc")}
        structure = Structure(**geometry)
        outputs = ("energy", "forces", "stress") if case["stress"] else ("energy", "forces")
        found = model(model.graph(structure, outputs), outputs)
        for name in outputs:
            # float64 sums in whatever order the processor likes
            assert relative_difference(getattr(found, name), case[name]) < 1e-12
        assert relative_difference(model.delta_hamiltonian(structure).values, case["hamiltonian"]) < 1e-12


@pytest.mark.parametrize("version", [1])
def test_a_released_crystal_model_predicts_what_it_did(repository: Path, version: int) -> None:
    """Spinors over both baselines, and an overlap from tables."""
    path = repository / "tests" / "data" / "models" / f"v{version}-crystal.safetensors"
    assert path.stat().st_size < 200_000
    model = load_model(path)
    expected = json.loads(path.with_suffix(".json").read_text())
    hamiltonian = model.hamiltonian(FIXTURE_CRYSTAL)
    real, imaginary = (np.array(part) for part in expected["hamiltonian"])
    assert hamiltonian.pairs.tolist() == expected["pairs"]
    assert relative_difference(hamiltonian.values, real + 1j * imaginary) < 1e-12
    assert relative_difference(model.overlap(FIXTURE_CRYSTAL).values, expected["overlap"]) < 1e-12


# ---------------------------------------------------------------- inspect


def test_inspect_tells_what_the_model_is(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "model"
    save_model(model, path, PROVENANCE)
    found = inspect_model(path)
    assert found["schema_version"] == 1
    assert found["config"] == model.config.model_dump(mode="json")
    assert found["atomic_numbers"] == [1, 6, 8]
    assert found["reference"]["basis"] == F_BASIS.name
    assert found["reference"]["orbital_basis"]["shells"]["8"] == [0, 1, 0, 1, 2, 3]
    assert found["dtype"] == "float64"
    assert found["provenance"] == PROVENANCE
    assert found["bytes"] == path.stat().st_size
    assert found["n_values"] == sum(value.numel() for value in model.state_dict().values())
    assert len(found["content_hash"]) == 64


def test_the_hash_tells_models_apart(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "one", PROVENANCE)
    save_model(model, tmp_path / "two", {**PROVENANCE, "n_train": 4})
    assert inspect_model(tmp_path / "one")["content_hash"] != inspect_model(tmp_path / "two")["content_hash"]


# ---------------------------------------------------------------- damage


def test_any_changed_byte_is_refused(plain_package: bytes, tmp_path: Path) -> None:
    """In the length, the header (its shapes and names too) and the weights; never another exception, never a model."""
    header = 8 + int.from_bytes(plain_package[:8], "little")
    random = np.random.default_rng(0)
    places = [0, 3, 7, 8, *random.integers(8, header, 80), *random.integers(header, len(plain_package), 20)]
    path = tmp_path / "model"
    for place in places:
        damaged = bytearray(plain_package)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        for read in (load_model, inspect_model):
            with pytest.raises((FileFormatError, SchemaVersionError)):
                read(path)


def test_weights_of_another_shape_are_refused(plain_package: bytes, tmp_path: Path) -> None:
    """The hash is over values; a shape is checked against the configuration."""
    path = tmp_path / "model"
    path.write_bytes(plain_package)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        metadata = file.metadata()
    name = "trunk.radial.networks.0.weights.0"
    tensors[name] = tensors[name].flatten().reshape(tensors[name].shape[::-1])
    path.write_bytes(save(tensors, metadata))
    with pytest.raises(FileFormatError, match="do not fit"):
        load_model(path)


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, -1])
def test_a_truncated_file_is_refused(plain_package: bytes, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "model"
    n = int(kept * len(plain_package)) if isinstance(kept, float) else kept
    path.write_bytes(plain_package[:n])
    with pytest.raises(FileFormatError, match="cannot be read as an adiabat model"):
        load_model(path)


@pytest.mark.parametrize("version", ["0", "2", None])
def test_another_schema_version_is_refused(plain_package: bytes, tmp_path: Path, version: str | None) -> None:
    path = tmp_path / "model"
    path.write_bytes(plain_package)
    with pytest.raises(SchemaVersionError, match=f"version {version}"):
        load_model(rewritten(path, schema_version=version))


@pytest.mark.parametrize("key", ["model", "content_hash"])
def test_a_header_with_a_part_missing_is_refused(plain_package: bytes, tmp_path: Path, key: str) -> None:
    path = tmp_path / "model"
    path.write_bytes(plain_package)
    with pytest.raises(FileFormatError, match="does not match its hash"):
        load_model(rewritten(path, **{key: None}))


def test_a_checkpoint_is_told_from_a_model(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, {"model": {"weight": torch.zeros(2)}}, {"step": 1})
    for read in (load_model, inspect_model):
        with pytest.raises(FileFormatError, match="no adiabat model") as error:
            read(path)
        assert "not a checkpoint" in error.value.suggestion


@pytest.mark.parametrize("content", [b"not a model at all", b"", b"\x80\x04\x95pickle", b"{}" * 100])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(FileFormatError):
        load_model(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(AdiabatError, match="cannot be read as an adiabat model"):
            load_model(path)


def test_molecules_of_the_saved_model(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "model", {})
    again = load_model(tmp_path / "model")
    assert np.array_equal(model.delta_hamiltonian(molecule()).values, again.delta_hamiltonian(molecule()).values)
