"""The posterior of linear weights. Its mathematics stand in ``adiabat.models.posterior``, for linear models need it."""

from adiabat.models.posterior import Posterior, evidence_prior

__all__ = ["Posterior", "evidence_prior"]
