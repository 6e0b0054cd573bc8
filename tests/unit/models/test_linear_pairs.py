"""The linear part of blocks between atoms: three-centre terms are recovered, and nothing else is."""

import torch

from adiabat.equivariant.bond_blocks import bond_block_basis
from adiabat.models.linear_pairs import LinearPairs, weighted_ridge
from small_models import P_BASIS, crystal, orthogonal_matrix, small_config, small_model, turned

RADIUS, CUTOFF = 5.0, 3.5
BASIS = bond_block_basis((0, 1))


def cluster(seed: int, n_atoms: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions of one element, at least 0.9 Å apart, and all ordered pairs within the radius."""
    generator = torch.Generator().manual_seed(seed)
    positions = torch.zeros(0, 3, dtype=torch.float64)
    while len(positions) < n_atoms:
        new = 4.5 * torch.rand(1, 3, generator=generator, dtype=torch.float64)
        if not len(positions) or float((positions - new).norm(dim=1).min()) > 0.9:
            positions = torch.cat([positions, new])
    i, j = torch.nonzero(~torch.eye(n_atoms, dtype=torch.bool)).T
    near = (positions[j] - positions[i]).norm(dim=1) < RADIUS
    return positions, torch.stack([i[near], j[near]])


def inputs(linear: LinearPairs, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    positions, pairs = cluster(seed)
    vectors = positions[pairs[1]] - positions[pairs[0]]
    kinds = torch.zeros(pairs.shape[1], dtype=torch.int64)
    density = linear.density(vectors, pairs[0], kinds, len(positions))
    return density, pairs, kinds, vectors


def module() -> LinearPairs:
    return LinearPairs(1, BASIS.n_even, BASIS.n_odd, BASIS.n_pairs, CUTOFF, RADIUS)


def random_teacher() -> LinearPairs:
    teacher = module()
    generator = torch.Generator().manual_seed(3)
    for name, buffer in teacher.named_buffers():
        if name.startswith("weight"):
            buffer.normal_(generator=generator)
    teacher.amplitude.fill_(2.0)
    teacher.decay.fill_(1.0)
    return teacher


def test_a_linear_teacher_is_recovered() -> None:
    teacher, student = random_teacher(), module()
    data = [inputs(teacher, seed) for seed in range(60)]
    seen = torch.cat([teacher.seen(density, pairs, vectors) for density, pairs, _, vectors in data])
    vectors = torch.cat([part[3] for part in data])
    labels = torch.cat([teacher(*part) for part in data])
    kinds = torch.cat([part[2] for part in data])
    r = vectors.norm(dim=1, keepdim=True)
    student.fit(seen, r, kinds, labels, teacher.amplitude, teacher.decay)
    fresh = inputs(teacher, 100)
    expected, found = teacher(*fresh), student(*fresh)
    inside = fresh[3].norm(dim=1) < 0.9 * RADIUS
    assert float((found - expected)[inside].square().mean()) < 1e-2 * float(expected[inside].square().mean())
    assert not bool(student(*fresh)[:, BASIS.n_even : BASIS.n_even + BASIS.n_odd].any()), "odd ones have no linear part"


def test_noise_is_not_taken_for_a_linear_part() -> None:
    """Leave-one-out errors shrink it; least squares without a penalty, the negative control, takes it for real."""
    generator = torch.Generator().manual_seed(0)
    design = torch.randn(60, 50, generator=generator, dtype=torch.float64)
    noise = torch.randn(60, 3, generator=generator, dtype=torch.float64)
    fresh = torch.randn(200, 50, generator=generator, dtype=torch.float64)
    r = torch.linspace(1, 4, 60, dtype=torch.float64)
    assert float((fresh @ weighted_ridge(design, noise, r)).square().mean()) < 0.5
    assert float((fresh @ torch.linalg.lstsq(design, noise).solution).square().mean()) > 1.0


def test_an_isolated_pair_has_only_sigma_and_pi() -> None:
    """Without a third atom there is nothing beyond M = 0."""
    teacher = random_teacher()
    vectors = torch.tensor([[0.3, 1.0, -0.8], [-0.3, -1.0, 0.8]], dtype=torch.float64)
    pairs = torch.tensor([[0, 1], [1, 0]])
    kinds = torch.zeros(2, dtype=torch.int64)
    values = teacher(teacher.density(vectors, pairs[0], kinds, 2), pairs, kinds, vectors)
    assert float(values[:, : BASIS.n_even].abs().min()) > 1e-6
    assert float(values[:, BASIS.n_even :].abs().max()) < 1e-12


def test_the_whole_head_turns_with_both_linear_parts_switched_on() -> None:
    model = small_model(small_config(pair_radius=5.0), P_BASIS, baseline="two-center")
    generator = torch.Generator().manual_seed(5)
    for part in (model.operator_head.pair.linear, model.operator_head.onsite.linear):
        for name, buffer in part.named_buffers():
            if name.startswith("weight"):
                buffer.normal_(generator=generator)
    model.operator_head.pair.linear.amplitude.fill_(1.0)
    q = orthogonal_matrix(-1)
    before, after = model.hamiltonian(crystal()), model.hamiltonian(turned(crystal(), q))
    ours = torch.linalg.eigvalsh(torch.from_numpy(_gamma(before)))
    theirs = torch.linalg.eigvalsh(torch.from_numpy(_gamma(after)))
    assert float((ours - theirs).abs().max() / ours.abs().max()) < 1e-11
    assert before.hermiticity_error() == 0


def _gamma(operator):
    from adiabat.electronic.bloch import sparse_bloch_matrix

    return sparse_bloch_matrix(operator).toarray()
