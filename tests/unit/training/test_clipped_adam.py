import torch
from torch import nn

from adiabat.training.config import OptimizerConfig
from adiabat.training.optimizer import ClippedAdam


def model_with_gradients(scale, seed=0):
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    for value in model.parameters():
        value.grad = scale * torch.randn_like(value)
    return model


def total_norm(model):
    return torch.cat([value.grad.flatten() for value in model.parameters()]).norm()


def test_clipping_by_norm_keeps_the_direction():
    model = model_with_gradients(10.0)
    before = model.weight.grad.clone()
    norm = ClippedAdam(model, OptimizerConfig(clip_norm=1.0)).clip()
    torch.testing.assert_close(total_norm(model), torch.tensor(1.0))
    torch.testing.assert_close(model.weight.grad * norm, before)


def test_a_gradient_below_the_limit_is_not_touched():
    model = model_with_gradients(0.01)
    before = model.weight.grad.clone()
    ClippedAdam(model, OptimizerConfig(clip_norm=1.0)).clip()
    assert torch.equal(model.weight.grad, before)


def test_a_parameter_without_gradient_is_left_alone():
    model = model_with_gradients(1.0)
    model.bias.grad = None
    bias = model.bias.detach().clone()
    optimizer = ClippedAdam(model, OptimizerConfig())
    optimizer.clip()
    optimizer.step(1.0)
    assert torch.equal(model.bias, bias)


def test_a_restored_optimizer_takes_the_same_step():
    def stepped(optimizer, model, seed):
        other = model_with_gradients(1.0, seed)
        for value, source in zip(model.parameters(), other.parameters(), strict=True):
            value.grad = source.grad
        optimizer.clip()
        optimizer.step(0.5)

    model = model_with_gradients(1.0)
    optimizer = ClippedAdam(model, OptimizerConfig())
    stepped(optimizer, model, 1)
    twin = model_with_gradients(1.0)
    twin.load_state_dict(model.state_dict())
    restored = ClippedAdam(twin, OptimizerConfig())
    restored.load({key: value.clone() for key, value in optimizer.state().items()})
    stepped(optimizer, model, 2)
    stepped(restored, twin, 2)
    assert torch.equal(model.weight, twin.weight)
