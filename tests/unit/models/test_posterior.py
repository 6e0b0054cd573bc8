"""The Gaussian over linear weights, against dense inverses and against draws."""

import numpy as np
import pytest
import torch
from torch import Tensor

from adiabat.core.errors import ModelError
from adiabat.models.posterior import Posterior, evidence_prior

N = 6


def rows(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(design: Tensor, prior: float) -> Tensor:
    return torch.linalg.inv(design.mT @ design + prior * torch.eye(N, dtype=torch.float64))


def test_variance_and_mean_are_those_of_the_dense_inverse() -> None:
    design, labels, new = rows(20), rows(20, 1)[:, 0], rows(5, 2)
    covariance = dense(design, 0.3)
    posterior = Posterior.from_rows(design, 0.3)
    torch.testing.assert_close(posterior.variance(new), (new @ covariance * new).sum(-1), rtol=1e-12, atol=0)
    torch.testing.assert_close(posterior.mean(design.mT @ labels), covariance @ design.mT @ labels)
    ridge = torch.linalg.lstsq(  # the same, as least squares with the prior as further rows
        torch.cat([design, 0.3**0.5 * torch.eye(N, dtype=torch.float64)]),
        torch.cat([labels, labels.new_zeros(N)])[:, None],
    ).solution[:, 0]
    torch.testing.assert_close(posterior.mean(design.mT @ labels), ridge)


def test_whitened_rows_carry_covariances() -> None:
    posterior, new = Posterior.from_rows(rows(20), 0.3), rows(4, 3).reshape(2, 2, N)
    white = posterior.whitened(new)
    assert white.shape == new.shape
    expected = torch.einsum("abi,ij,cdj->abcd", new, dense(rows(20), 0.3), new)
    torch.testing.assert_close(torch.einsum("abi,cdi->abcd", white, white), expected)


def test_draws_have_the_posteriors_covariance() -> None:
    posterior = Posterior.from_rows(rows(20), 0.3)
    draws = posterior.sample(200_000, torch.Generator().manual_seed(0))
    assert draws.shape == (200_000, N)
    # standard error of a covariance over 2e5 draws is 0.2 to 0.3 % of the variances
    assert (draws.mT.cov() - dense(rows(20), 0.3)).abs().max() < 0.015 * dense(rows(20), 0.3).max()
    assert (draws.mT.cov() - dense(rows(20), 3.0)).abs().max() > 0.05 * dense(rows(20), 0.3).max()


def test_rows_added_later_count_as_if_given_at_once() -> None:
    first, more, new = rows(5), rows(3, 4), rows(4, 5)
    posterior = Posterior.from_rows(first, 0.1)
    updated = posterior.update(more)
    at_once = Posterior.from_rows(torch.cat([first, more]), 0.1)
    torch.testing.assert_close(updated.variance(new), at_once.variance(new))
    assert bool((updated.variance(new) < posterior.variance(new)).all())
    gain = (updated.log_determinant - posterior.log_determinant) / 2
    one = posterior.update(more[:1])
    torch.testing.assert_close(one.log_determinant - posterior.log_determinant, posterior.leverage(more[0]).log1p())
    assert float(gain) > 0


def test_leverages_of_the_labels_sum_to_the_number_of_determined_weights() -> None:
    design, noise = rows(20), 0.7
    posterior = Posterior.from_rows(design / noise, 0.3)
    leverage = posterior.leverage(design, noise)
    assert bool((leverage > 0).all())
    assert bool((leverage < 1).all())
    eigenvalues = torch.linalg.eigvalsh(design.mT @ design) / noise**2
    assert float(leverage.sum()) == pytest.approx(float((eigenvalues / (eigenvalues + 0.3)).sum()), rel=1e-12)


def test_a_prior_for_each_weight() -> None:
    prior = torch.arange(1.0, N + 1, dtype=torch.float64)
    posterior = Posterior.from_rows(torch.zeros(0, N), prior)
    torch.testing.assert_close(posterior.variance(torch.eye(N)), 1 / prior)


@pytest.mark.parametrize("true_precision", [0.2, 5.0])
def test_evidence_finds_the_precision_that_weights_were_drawn_with(true_precision: float) -> None:
    generator = torch.Generator().manual_seed(1)
    design = torch.randn(300, 40, generator=generator, dtype=torch.float64)
    columns = torch.randn(40, 10, generator=generator, dtype=torch.float64) / true_precision**0.5
    labels = design @ columns + torch.randn(300, 10, generator=generator, dtype=torch.float64)
    gram = design.mT @ design
    fitted = Posterior.from_precision(gram + true_precision * torch.eye(40)).mean(design.mT @ labels)
    prior, determined = evidence_prior(gram, fitted)
    # 400 weights tell their spread to 1/√200 = 7 %
    assert prior == pytest.approx(true_precision, rel=0.2)
    assert 0 < determined < 40


def test_a_prior_of_weights_that_no_label_determines_is_positive() -> None:
    prior, determined = evidence_prior(torch.zeros(3, 3), torch.zeros(3, 1))
    assert prior > 0
    assert determined == 0
    gram = torch.diag(torch.tensor([1.0, 1.0, 0.0]))
    prior, determined = evidence_prior(gram, torch.zeros(3))
    assert prior > 0
    assert determined < 2
    assert np.isfinite(float(Posterior.from_precision(gram + prior * torch.eye(3)).log_determinant))


@pytest.mark.parametrize("value", [-1.0, 0.0, float("nan")])
def test_what_is_no_precision_is_refused(value: float) -> None:
    with pytest.raises(ModelError, match="positive"):
        Posterior.from_precision(torch.diag(torch.tensor([1.0, value, 1.0])))
