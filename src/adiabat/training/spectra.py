"""The spectrum as a target: a predicted H judged in the states of the reference.

With the reference's states C at some k, H(k) C = S(k) C ε, the predicted matrix H̃ = C† H_pred(k) C would be diag(ε)
if it were right. Its eigenvalues, and all its elements, are what two losses compare. Both weigh an error of H as S⁻¹
does, which is how it reaches the bands, and both are taken near the Fermi level alone.

Source: [li2025] for the loss on all elements.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from adiabat.core.errors import LabelError
from adiabat.core.operators import BlockOperator, home_pairs
from adiabat.data.graph import Graph
from adiabat.data.record import Record
from adiabat.electronic.bloch import BlochSum, double_for_spinor, join_spinor, max_occupation
from adiabat.electronic.eigenproblem import solve_generalized
from adiabat.models.operator_layout import OperatorLayout, graph_pairs
from adiabat.training.config import SpectralTarget, TargetsConfig


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Reference states of one structure.

    Attributes:
        layout: of the model's blocks.
        wanted: which of the spectral targets are learned, and for each whether a common shift of all energies, the
            gauge of a periodic H, is no error.
        bloch: from padded blocks, on-site ones first, to padded matrices.
        k_frac: (n_k, 3).
        states: for each channel and k (n_padded_orbitals, n_states), complex128.
        energies: for each channel and k (n_states,) in eV.
        n_eigenvalues: how many energies there are in all.
        n_elements: how many real numbers H̃ has in all.
    """

    layout: OperatorLayout
    wanted: Mapping[str, bool]
    bloch: BlochSum
    k_frac: Tensor
    states: tuple[Tensor, ...]
    energies: tuple[Tensor, ...]
    n_eigenvalues: int
    n_elements: int

    def count(self, target: str) -> int:
        """Number of values that a spectral target has."""
        return self.n_eigenvalues if target == "eigenvalues" else self.n_elements

    def to(self, device: torch.device) -> "Spectrum":
        """Move everything to a device."""
        return replace(
            self,
            bloch=self.bloch.to(device),
            k_frac=self.k_frac.to(device),
            states=tuple(part.to(device) for part in self.states),
            energies=tuple(part.to(device) for part in self.energies),
        )

    def errors(self, onsite: Tensor, pair: Tensor) -> dict[str, Tensor]:
        """Errors of the predicted blocks of this structure, in eV.

        Args:
            onsite: (n_atoms, …, n_padded, n_padded).
            pair: (n_pairs, …, n_padded, n_padded).

        Returns: a flat array for each wanted target.
        """
        blocks = torch.cat([onsite, pair]).double()
        by_component = blocks if self.layout.spin == "none" else blocks.transpose(0, 1)
        matrices = self.bloch(by_component.reshape(*self.layout.component_shape, -1), self.k_frac)
        if self.layout.spin == "spinor":
            matrices = join_spinor(_spinor_matrices(matrices))
        in_states = [
            states.mH @ matrix @ states for states, matrix in zip(self.states, matrices.flatten(0, -3), strict=True)
        ]
        found: dict[str, Tensor] = {}
        for name, without_shift in self.wanted.items():
            if name == "eigenvalues":
                parts = [torch.linalg.eigvalsh(h) - e for h, e in zip(in_states, self.energies, strict=True)]
                shift = torch.cat(parts).mean() if without_shift else 0.0
                found[name] = torch.cat(parts) - shift
                continue
            parts = [h - torch.diag(e).to(h.dtype) for h, e in zip(in_states, self.energies, strict=True)]
            shift = torch.cat([part.diagonal().real for part in parts]).mean() if without_shift else 0.0
            parts = [part - shift * torch.eye(len(part), dtype=part.dtype, device=part.device) for part in parts]
            found[name] = torch.cat([torch.view_as_real(part).flatten() for part in parts])
        return found


def spectrum_of(record: Record, graph: Graph, layout: OperatorLayout, targets: TargetsConfig, seed: int) -> Spectrum:
    """Solve for the reference states of a labelled record.

    Args:
        record: with ``hamiltonian``, ``overlap`` and a basis that says how many electrons there are.
        graph: of this record alone, with the operator's pairs.
        layout: of the model's blocks.
        targets: what is learned of the spectrum, at how many k, and for which energies.
        seed: of the k that are drawn.

    Raises:
        LabelError: there is no overlap.
        BasisError: the number of electrons is not known.
    """
    config = targets.spectrum
    hamiltonian, overlap = record.labels["hamiltonian"], record.labels.get("overlap")
    if not isinstance(overlap, BlockOperator):
        raise LabelError(
            f"{record.structure.formula} with a hamiltonian label and no overlap label",
            expected="both: eigenvalues are those of (H, S)",
            suggestion="label the overlap as well, or drop targets.eigenvalues and targets.wavefunctions",
        )
    assert isinstance(hamiltonian, BlockOperator)
    numbers = record.structure.atomic_numbers
    basis = record.provenance.orbital_basis
    assert basis is not None
    periodic = torch.from_numpy(np.asarray(record.structure.pbc, dtype=np.float64))
    k_frac = torch.rand(config.n_k, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * periodic
    matrices = BlochSum(hamiltonian)(torch.from_numpy(hamiltonian.values), k_frac)
    metric = BlochSum(overlap)(torch.from_numpy(overlap.values), k_frac)
    if layout.spin == "spinor":
        matrices, metric = join_spinor(matrices), double_for_spinor(metric)
    channels = matrices if layout.spin == "collinear" else matrices.unsqueeze(0)
    solved = [solve_generalized(channel, metric) for channel in channels]
    all_energies = torch.stack([states.energies for states in solved])
    n_electrons = basis.n_electrons(numbers, record.structure.charge)
    low, high = _window(all_energies, n_electrons / max_occupation(layout.spin), config.window)
    padded = _padded_rows(layout, numbers)
    states: list[Tensor] = []
    energies: list[Tensor] = []
    for part in solved:
        for e, c in zip(part.energies, part.coefficients, strict=True):
            inside = (e >= low) & (e <= high)
            full = c.new_zeros(len(padded[0]), int(inside.sum()))
            full[padded[1]] = c[:, inside]
            states.append(full)
            energies.append(e[inside])
    n_padded = layout.n_padded
    pairs = graph_pairs(graph.pair_index, graph.pair_shift)
    every = np.concatenate([home_pairs(len(numbers)), pairs])
    frame = BlockOperator(
        every, np.arange(len(every) + 1) * n_padded**2, np.zeros(len(every) * n_padded**2),
        np.full(len(numbers), n_padded, dtype=np.int64),
    )  # fmt: skip
    sizes = [len(e) for e in energies]
    return Spectrum(
        layout=layout,
        wanted={name: part.remove_shift for name, part in targets.active.items() if isinstance(part, SpectralTarget)},
        bloch=BlochSum(frame),
        k_frac=k_frac,
        states=tuple(states),
        energies=tuple(energies),
        n_eigenvalues=sum(sizes),
        n_elements=2 * sum(size**2 for size in sizes),
    )


def _window(energies: Tensor, n_filled: float, width: float) -> tuple[float, float]:
    """Energies within ``width`` of the middle between the highest filled and the lowest empty state of all k."""
    n_k = energies.shape[1]
    levels = energies.flatten().sort().values
    filled = round(n_filled * n_k)
    middle = float(levels[max(filled - 1, 0)] + levels[min(filled, len(levels) - 1)]) / 2
    return middle - width, middle + width


def _padded_rows(layout: OperatorLayout, numbers: np.ndarray) -> tuple[np.ndarray, Tensor]:
    """All padded rows, and those of each orbital in the basis' own order (↑ and then ↓ of spinors)."""
    places = [atom * layout.n_padded + layout.places(int(z)) for atom, z in enumerate(numbers)]
    rows = np.concatenate(places)
    n_rows = len(numbers) * layout.n_padded
    if layout.spin == "spinor":
        rows, n_rows = np.concatenate([rows, rows + n_rows]), 2 * n_rows
    return np.arange(n_rows), torch.from_numpy(rows)


def _spinor_matrices(parts: Tensor) -> Tensor:
    """H₀(k), A_y(k), A_z(k), A_x(k) as ↑↑, ↑↓, ↓↑, ↓↓; see :mod:`adiabat.models.spinor_parts`."""
    scalar, y, z, x = parts
    return torch.stack([scalar + 1j * z, y + 1j * x, -y + 1j * x, scalar - 1j * z])
