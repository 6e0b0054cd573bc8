"""Force rows without training: derivatives of the linear family's invariants, each scaled by how likely it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adiabat.data.structure import Structure
from adiabat.models.config import ModelConfig
from adiabat.models.linear_rows import RowBuilder
from adiabat.models.model import build_model

FloatArray = npt.NDArray[np.float64]

_BASIS_STRUCTURES = 24
"""Structures whose forces decide which combinations of features are kept."""


@dataclass(frozen=True, eq=False)
class StructureRows:
    """What energy and forces of a structure are linear in.

    Attributes:
        energy: (n_features,) sum over its atoms.
        forces: (3 n_atoms, n_features).
    """

    energy: FloatArray
    forces: FloatArray


class AceRows:
    """Rows of energies and forces in the invariants of the linear family, scaled by how likely they are.

    A weight of order ν and degree d is believed to be about e^(−(ν − 1)/2)/(1 + d) in size; features are scaled by
    that, so that the scaled weights are equally likely. Of the rules tried on 20 to 80 frames of rMD17 ethanol this was
    among the best; others were within 5 % of it, or up to twice as far off.

    Args:
        atomic_numbers: the elements.
        cutoff: radius in Å.
        degrees: see :class:`adiabat.models.config.LinearAceConfig`.
        l_max: see there.
    """

    def __init__(
        self, atomic_numbers: Sequence[int], cutoff: float = 5.0, degrees: tuple[int, ...] = (10, 8, 5), l_max: int = 4
    ) -> None:
        config = ModelConfig.model_validate(
            {"family": "linear-ace", "cutoff": cutoff, "linear_ace": {"degrees": degrees, "l_max": l_max}}
        )
        self._model = build_model(config, np.unique(atomic_numbers).tolist(), dtype=torch.float64)
        self._builder = RowBuilder(self._model)
        orders, degree = self._builder.trunk.orders.numpy(), self._builder.trunk.degrees.numpy()
        n_species = len(self._model.atomic_numbers)
        # An atom's constant says nothing of forces, and of energies what reference energies do.
        self._weighed = np.flatnonzero(np.tile(orders > 0, n_species))
        self._scales = np.tile(np.exp(-0.5 * (orders - 1)) / (1.0 + degree), n_species)[self._weighed]

    def rows(self, structures: Sequence[Structure], mixing: FloatArray | None = None) -> list[StructureRows]:
        """Rows of each structure.

        Args:
            structures: of these elements.
            mixing: (n_features, n_kept) combinations of features to give in their place.
        """
        return [self._of(structure, mixing) for structure in structures]

    def mixing(self, structures: Sequence[Structure], n_kept: int) -> FloatArray:
        """(n_features, n_kept) the combinations that carry most of the forces' variance on a sample of structures."""
        forces = np.concatenate([found.forces for found in self.rows(_sample(structures))])
        # The space of the right singular vectors, through the smaller of the two Gram matrices.
        values, left = np.linalg.eigh(forces @ forces.T)
        kept = slice(None, -min(n_kept, int((values > 1e-10 * values[-1]).sum())) - 1, -1)
        return np.linalg.qr(forces.T @ left[:, kept])[0]

    def force_scale(self, structures: Sequence[Structure], mixing: FloatArray) -> float:
        """Root mean square length of a force row, on a sample of structures."""
        forces = np.concatenate([found.forces for found in self.rows(_sample(structures), mixing)])
        return max(float(np.sqrt((forces**2).sum(axis=1).mean())), np.finfo(float).tiny)

    def _of(self, structure: Structure, mixing: FloatArray | None) -> StructureRows:
        found = self._builder.rows(self._model.graph(structure, {"forces"}), {"forces"})
        assert found.forces is not None
        energy, forces = (rows[..., self._weighed] * self._scales for rows in (found.energy, found.forces))
        return StructureRows(energy, forces) if mixing is None else StructureRows(energy @ mixing, forces @ mixing)


def _sample(structures: Sequence[Structure]) -> Sequence[Structure]:
    return structures[:: max(1, len(structures) // _BASIS_STRUCTURES)][:_BASIS_STRUCTURES]
