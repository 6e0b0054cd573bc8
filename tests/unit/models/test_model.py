"""What a model may be asked for, and how it refuses."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from adiabat.core.errors import ModelError, StructureError
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.graph import collate
from adiabat.data.structure import Structure
from adiabat.models.config import ModelConfig, OperatorConfig, OperatorReference
from adiabat.models.model import Model, build_model
from adiabat.physics.basis import orbital_basis
from adiabat.physics.h0 import superposed_density_hamiltonian
from small_models import ELEMENTS, P_BASIS, crystal, molecule, small_config, small_model

HYDROGEN = Structure(np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]))


@pytest.fixture(scope="module")
def plain() -> Model:
    return small_model(small_config(operator=False))


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    "wrong",
    [
        {"cutof": 5.0}, {"cutoff": 0.0}, {"channels": 0}, {"l_max": 5}, {"l_max": -1}, {"layers": 0}, {"order": 1},
        {"family": "other"}, {"operator": {"pair_radius": 0.0}}, {"operator": {"chanels": 3}}, {"n_bessel": 2.5},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_configuration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ModelConfig.model_validate(wrong)


def test_a_configuration_cannot_be_changed() -> None:
    config = ModelConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.cutoff = 3.0


def test_a_configuration_survives_json() -> None:
    config = small_config(pair_radius=4.0)
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


def test_an_operator_head_needs_its_level_of_theory() -> None:
    with pytest.raises(ModelError, match="without a reference"):
        Model(small_config(), ELEMENTS)


def test_reference_gives_its_basis_back() -> None:
    reference = OperatorReference(xc="pbe", basis="x", grid_level=3, orbital_basis=P_BASIS.to_json())
    assert reference.orbitals == P_BASIS


# ---------------------------------------------------------------- requests


def test_hamiltonian_without_a_head(plain: Model) -> None:
    graph = plain.graph(molecule(), ("energy",))
    for ask in (
        lambda: plain(graph, ("hamiltonian",)),
        lambda: plain.hamiltonian(molecule()),
        lambda: plain.delta_hamiltonian(molecule()),
        lambda: plain.overlap(molecule()),
    ):
        with pytest.raises(ModelError, match="a request for the Hamiltonian") as error:
            ask()
        assert "operator" in error.value.suggestion


def test_energy_without_a_head() -> None:
    config = small_config().model_copy(update={"energy": False})
    model = small_model(config)
    outputs = ("forces", "hamiltonian")
    with pytest.raises(ModelError, match="a request for energy, forces or stress"):
        model(model.graph(molecule(), outputs), outputs)
    assert model.delta_hamiltonian(molecule()).hermiticity_error() == 0


def test_an_unknown_output(plain: Model) -> None:
    with pytest.raises(ModelError, match="virial"):
        plain(plain.graph(molecule(), ("energy",)), ("energy", "virial"))


def test_an_unknown_element_is_named(plain: Model) -> None:
    structure = molecule(0, (8, 7, 79))
    with pytest.raises(StructureError, match="Au, N") as error:
        plain(plain.graph(structure, ("energy",)), ("energy",))
    assert error.value.expected.endswith("H, C, O")


@pytest.mark.parametrize("pbc", [(False, False, False), (True, True, False)])
def test_stress_without_a_whole_cell(plain: Model, pbc: tuple[bool, ...]) -> None:
    box = Structure(molecule().atomic_numbers, molecule().positions, 20 * np.eye(3), np.array(pbc))
    graph = plain.graph(box, ("stress",))
    with pytest.raises(ModelError, match="not periodic"):
        plain(graph, ("stress",))
    alone = plain(plain.graph(crystal(), ("stress",)), ("stress",)).stress
    beside = plain(collate([plain.graph(crystal(), ("stress",)), graph]), ("stress",)).stress
    assert torch.allclose(beside[0], alone[0], rtol=1e-12)  # summation order
    assert bool(beside[1].isnan().all())


def test_an_infinite_pair_radius_is_for_molecules() -> None:
    model = small_model(small_config())
    assert model.pair_radius == float("inf")
    with pytest.raises(StructureError, match="infinite pair radius"):
        model.delta_hamiltonian(crystal())


def test_only_what_was_asked_for(plain: Model) -> None:
    prediction = plain(plain.graph(molecule(), ("energy",)), ("energy",))
    assert prediction.forces is None
    assert prediction.stress is None
    assert prediction.hamiltonian is None
    assert prediction.atomic_energies.sum().item() == pytest.approx(prediction.energy.item(), rel=1e-14)


# ---------------------------------------------------------------- precision


def test_casting_keeps_the_energy_head_exact() -> None:
    """float32 holds −9391 eV to 1 meV."""
    model = build_model(small_config(operator=False), ELEMENTS, dtype=torch.float64)
    exact = torch.tensor([-13.600000001, -1030.123456789, -2040.987654321], dtype=torch.float64)
    model.energy_head.reference.copy_(exact)
    for cast in (lambda: model.to(torch.float32), model.float, model.half, model.double):
        cast()
        assert model.energy_head.scale.dtype == torch.float64
        assert torch.equal(model.energy_head.reference, exact)


def test_weights_follow_the_dtype_that_was_asked_for() -> None:
    model = build_model(small_config(operator=False), ELEMENTS, dtype=torch.float64)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    assert {buffer.dtype for buffer in model.buffers() if buffer.is_floating_point()} == {torch.float64}
    assert torch.get_default_dtype() == torch.float32


# ---------------------------------------------------------------- H = H0 + ΔH


@pytest.mark.parametrize("pair_radius", [None, 0.5], ids=["all pairs", "no pair in reach"])
def test_the_hamiltonian_is_h0_plus_its_correction(pair_radius: float | None) -> None:
    basis: OrbitalBasis = orbital_basis([1], "sto-3g")
    reference = OperatorReference(xc="pbe", basis="sto-3g", grid_level=1, orbital_basis=basis.to_json())
    head = OperatorConfig(channels=2, hidden=4, n_bessel=4, pair_radius=pair_radius)
    config = ModelConfig(cutoff=3.0, channels=4, l_max=1, layers=1, hidden=4, operator=head)
    model = build_model(config, [1], reference, dtype=torch.float64)
    h0 = superposed_density_hamiltonian(HYDROGEN, "pbe", "sto-3g", 1)
    delta = model.delta_hamiltonian(HYDROGEN)
    assert len(delta) == (4 if pair_radius is None else 2)
    found = model.hamiltonian(HYDROGEN)
    assert np.array_equal(found.pairs, h0.pairs)
    np.testing.assert_allclose(found.to_dense(), h0.to_dense() + delta.to_dense(), atol=1e-10, rtol=0)
    assert np.abs(delta.to_dense()).max() > 1e-6
    overlap = model.overlap(HYDROGEN).to_dense()
    assert np.diag(overlap) == pytest.approx([1, 1])
