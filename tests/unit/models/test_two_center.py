"""Two-centre functions: what they are fitted to, and what they do where there is no data."""

import numpy as np
import pytest
import torch

from adiabat.models.two_center import TwoCenterFunctions, fade, spline_weights

RADIUS = 6.0


def integrals(r: np.ndarray) -> np.ndarray:
    """Two functions that fall as hoppings do; the second changes sign."""
    return np.stack([-8 * np.exp(-1.3 * r), 5 * (r - 2.5) * np.exp(-1.7 * r)], axis=1)


def fitted(r: np.ndarray) -> TwoCenterFunctions:
    functions = TwoCenterFunctions(2, 2, RADIUS, 40).double()
    functions.fit(1, r, integrals(r), np.array([8.0, 5.0]), np.array([1.3, 1.5]))
    return functions


def at(functions: TwoCenterFunctions, r: np.ndarray, kind: int = 1) -> np.ndarray:
    return functions(torch.from_numpy(r)[:, None], torch.full((len(r),), kind)).numpy()


def test_known_functions_are_recovered_between_the_points() -> None:
    functions = fitted(np.linspace(1.0, RADIUS, 400))
    r = np.linspace(1.05, 5.5, 301)
    assert np.abs(at(functions, r) - integrals(r)).max() < 2e-5  # knots 0.15 Å apart, to the fourth power


def test_a_gap_in_the_data_is_bridged_smoothly() -> None:
    r = np.concatenate([np.linspace(1.0, 2.0, 200), np.linspace(3.0, RADIUS, 400)])
    between = np.linspace(2.2, 2.8, 30)
    error = np.abs(at(fitted(r), between) - integrals(between)).max()
    assert error < 0.05 * np.abs(integrals(between)).max()


def test_other_pairs_of_elements_stay_zero() -> None:
    assert not at(fitted(np.linspace(1.0, RADIUS, 100)), np.array([2.0, 3.0]), kind=0).any()


def test_a_function_without_amplitude_stays_zero() -> None:
    functions = TwoCenterFunctions(1, 2, RADIUS, 40).double()
    r = np.linspace(1.0, RADIUS, 100)
    functions.fit(0, r, integrals(r), np.array([8.0, 0.0]), np.array([1.3, 1.5]))
    assert at(functions, r, kind=0)[:, 0].any()
    assert not at(functions, r, kind=0)[:, 1].any()


def test_two_continuous_derivatives() -> None:
    """Across every knot and the start of the fade; a linear spline, the negative control, has jumps in the first."""
    controls = torch.randn(13, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def cubic(x: torch.Tensor) -> torch.Tensor:
        interval, weights = spline_weights(x, 10)
        return (weights * controls[interval[:, None] + torch.arange(4)]).sum(1) * fade(x)

    def linear(x: torch.Tensor) -> torch.Tensor:
        interval = (x * 10).floor().long().clamp(max=11)
        return torch.lerp(controls[interval], controls[interval + 1], x * 10 - interval)

    def jump(function, order: int) -> float:
        edges = torch.cat([torch.arange(1, 10, dtype=torch.float64) / 10, torch.tensor([0.94, 1.0]).double()])
        sides = []
        for side in (-1e-9, 1e-9):
            x = (edges + side).requires_grad_()
            value = function(x)
            for _ in range(order):
                (value,) = torch.autograd.grad(value.sum(), x, create_graph=True)
            sides.append(value.detach())
        return float((sides[1] - sides[0]).abs().max() / (1 + sides[0].abs().max()))

    assert [jump(cubic, order) < 1e-5 for order in (0, 1, 2)] == [True] * 3
    assert jump(linear, 1) > 1e-2


@pytest.mark.parametrize("x", [0.0, 0.37, 0.999, 1.0])
def test_splines_add_up_to_one(x: float) -> None:
    _, weights = spline_weights(torch.tensor([x], dtype=torch.float64), 7)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-14)
