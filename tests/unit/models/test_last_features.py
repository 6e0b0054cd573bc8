import torch

from adiabat.models.energy_head import EnergyHead
from small_models import small_config, small_model


def test_the_atomic_energies_are_linear_in_the_last_features():
    model = small_model(small_config(operator=False, layers=3))
    head = model.energy_head
    assert isinstance(head, EnergyHead)
    generator = torch.Generator().manual_seed(0)
    history = [torch.randn(5, 9, 6, generator=generator, dtype=torch.float64) for _ in range(3)]
    species = torch.tensor([0, 1, 2, 1, 0])

    linear = head.last_features(history) @ head.last_weights * head.scale + head.reference[species]

    torch.testing.assert_close(linear, head(history, species), rtol=1e-12, atol=1e-12)
    shuffled = head.last_features(history[::-1]) @ head.last_weights * head.scale + head.reference[species]
    assert not torch.allclose(shuffled, linear), "negative control: other features, other energies"
