"""The linear part of on-site blocks: found where the data is linear in the neighbors, harmless where it is not."""

import torch

from adiabat.equivariant.harmonics import spherical_harmonics
from adiabat.models.linear_baseline import LinearOnsite, ridge

CUTOFF = 4.0
N_IRREPS = (2, 1, 1)


def surroundings(n_atoms: int, seed: int, n_neighbors: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vectors, centres and elements of random neighbors."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(n_atoms * n_neighbors, 3, generator=generator, dtype=torch.float64)
    lengths = 1.2 + 3.0 * torch.rand(len(directions), 1, generator=generator, dtype=torch.float64)
    vectors = torch.nn.functional.normalize(directions, dim=1) * lengths
    species = torch.randint(0, 2, (len(vectors),), generator=generator)
    return vectors, torch.arange(n_atoms).repeat_interleave(n_neighbors), species


def field(vectors: torch.Tensor, centre: torch.Tensor, species: torch.Tensor, n_atoms: int) -> torch.Tensor:
    """Σ_j f_l(r) Y_lm with f of a Gaussian form, other for each element and irrep, in the order of the head."""
    r = vectors.norm(dim=1, keepdim=True)
    y = spherical_harmonics(vectors, 2)
    parts = []
    for l, n in enumerate(N_IRREPS):
        for m in range(2 * l + 1):
            for k in range(n):
                f = (
                    (1 + species[:, None] - 0.5 * k)
                    * torch.exp(-(1 + 0.3 * l) * r)
                    * (1 - (r / CUTOFF) ** 2).clamp(0) ** 3
                )
                parts.append(torch.zeros(n_atoms, 1).double().index_add(0, centre, f * y[:, l * l + m : l * l + m + 1]))
    return torch.cat(parts, dim=1)


def test_a_field_of_the_neighbors_is_recovered() -> None:
    linear = LinearOnsite(2, N_IRREPS, CUTOFF)
    own = torch.zeros(200, dtype=torch.int64)
    bonds = surroundings(200, 0)
    linear.fit(linear.features(*bonds, 200), field(*bonds, 200), own)
    others = surroundings(50, 1)
    expected = field(*others, 50)
    found = linear(linear.features(*others, 50), own[:50])
    assert (found - expected).abs().max() < 1e-2 * expected.abs().max()


def test_what_is_not_linear_is_left_to_the_network() -> None:
    """Noise that no neighbor explains: leave-one-out errors choose a penalty that predicts next to nothing."""
    linear = LinearOnsite(2, N_IRREPS, CUTOFF)
    own = torch.zeros(40, dtype=torch.int64)
    bonds = surroundings(40, 0)
    noise = torch.randn(40, field(*bonds, 40).shape[1], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    linear.fit(linear.features(*bonds, 40), noise, own)
    others = surroundings(50, 1)
    assert linear(linear.features(*others, 50), own.new_zeros(50)).square().mean() < 0.3
    without_penalty = torch.linalg.pinv(linear.features(*bonds, 40)[..., 0]) @ noise[:, :2]
    assert (linear.features(*others, 50)[..., 0] @ without_penalty).square().mean() > 1


def test_neighbors_beyond_the_cutoff_add_nothing() -> None:
    linear = LinearOnsite(1, N_IRREPS, CUTOFF)
    vectors = torch.tensor([[0.0, 0.0, CUTOFF], [0.0, CUTOFF + 1, 0.0]], dtype=torch.float64)
    assert not linear.features(vectors, torch.tensor([0, 0]), torch.tensor([0, 0]), 1).any()


def test_weights_stay_in_float64_when_the_model_is_cast() -> None:
    assert LinearOnsite(1, N_IRREPS, CUTOFF).float().weight_0.dtype == torch.float64


def test_ridge_is_least_squares_for_plenty_of_data() -> None:
    generator = torch.Generator().manual_seed(0)
    design = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    weights = torch.tensor([[1.0], [-2.0], [0.5], [3.0]], dtype=torch.float64)
    found = ridge(design, design @ weights, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(found, weights, atol=1e-9, rtol=0)
