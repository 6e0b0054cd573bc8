"""Small layers: unit variance at the start, linear maps that treat all m of an l alike."""

import pytest
import torch

from adiabat.models.layers import BesselBasis, IrrepsLinear, ScalarNetwork, l_of_component


def test_l_of_each_component() -> None:
    assert l_of_component(2).tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2]


def test_a_scalar_network_keeps_unit_variance() -> None:
    torch.manual_seed(0)
    output = ScalarNetwork(64, 64, 64, 64)(torch.randn(500, 64))
    assert output.square().mean().item() == pytest.approx(1, abs=0.25)


def test_a_correction_starts_at_zero() -> None:
    assert not ScalarNetwork(8, 16, 3, zero_start=True)(torch.randn(5, 8)).any()


def test_irreps_linear_mixes_channels_and_nothing_else() -> None:
    torch.manual_seed(0)
    linear = IrrepsLinear(2, 3, 4)
    features = torch.zeros(1, 9, 3)
    features[0, 5, 1] = 1
    output = linear(features)[0]
    torch.testing.assert_close(output[5], linear.weight[2, 1])
    assert not output[[0, 1, 2, 3, 4, 6, 7, 8]].any()


def test_bessel_functions_vanish_at_their_reach_and_are_of_unit_size() -> None:
    basis = BesselBasis(5.0, 8).double()
    at_reach = basis(torch.tensor([[5.0]], dtype=torch.float64))
    assert at_reach.abs().max() < 1e-5
    inside = basis(torch.linspace(0.8, 5.0, 50, dtype=torch.float64)[:, None])
    assert 0.2 < inside.square().mean().sqrt() < 2
