import torch
from torch import nn

from adiabat.training.ema import ExponentialMovingAverage


def walked(decay, n_steps=30):
    torch.manual_seed(0)
    model = nn.Linear(2, 1, dtype=torch.float64)
    averages = ExponentialMovingAverage(model, decay)
    expected = model.weight.detach().clone()
    for step in range(1, n_steps + 1):
        with torch.no_grad():
            model.weight.add_(torch.randn_like(model.weight))
        averages.update(step)
        d = min(decay, (1 + step) / (10 + step))
        expected = d * expected + (1 - d) * model.weight.detach()
    return model, averages, expected


def test_the_average_is_that_of_the_recursion():
    _, averages, expected = walked(0.95)
    torch.testing.assert_close(averages.state()["weight"], expected, rtol=1e-13, atol=0)  # rounding of 30 lerps


def test_without_decay_it_is_the_last_weights():
    model, averages, _ = walked(0.0)
    assert torch.equal(averages.state()["weight"], model.weight)


def test_applied_puts_the_average_in_and_the_weights_back():
    model, averages, expected = walked(0.95)
    weights = model.weight.detach().clone()
    with averages.applied():
        torch.testing.assert_close(model.weight.detach(), expected, rtol=1e-13, atol=0)
    assert torch.equal(model.weight, weights)
    torch.testing.assert_close(averages.state()["weight"], expected, rtol=1e-13, atol=0)


def test_it_can_be_loaded():
    model, averages, expected = walked(0.95)
    fresh = ExponentialMovingAverage(model, 0.95)
    fresh.load(averages.state())
    torch.testing.assert_close(fresh.state()["weight"], expected, rtol=1e-13, atol=0)
