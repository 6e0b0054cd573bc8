"""Meshes of k points, and whether a mesh is fine enough to tell the images of H(R) apart."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator

_SAME_K: Final = 1e-9
"""k points closer than this, in reciprocal-lattice fractions, are one."""


@dataclass(frozen=True)
class KMesh:
    """A regular mesh of k points over one Brillouin zone.

    Attributes:
        k_frac: (n_k, 3) the points to solve, in fractions of the reciprocal lattice.
        weights: (n_k,) share of the zone that each stands for; they add up to 1.
        size: (3,) points along each reciprocal lattice vector.
        full_index: (n1 n2 n3,) for each point of the whole mesh, in row-major order, the place of its equal in
            ``k_frac``; what tetrahedra are cut from.
    """

    k_frac: Float[Tensor, "n_k 3"]
    weights: Float[Tensor, " n_k"]
    size: tuple[int, int, int]
    full_index: Int[Tensor, " n_full"]

    def __len__(self) -> int:
        """Number of points to solve."""
        return len(self.k_frac)


def monkhorst_pack(size: tuple[int, int, int], *, gamma_centred: bool = True, time_reversal: bool = True) -> KMesh:
    """Regular mesh of k points.

    Args:
        size: points along each reciprocal lattice vector; 1 where the crystal is not periodic.
        gamma_centred: k = m/n, which holds Γ. Otherwise the mesh of Monkhorst and Pack, k = (2m − n + 1)/2n, which
            misses Γ if n is even.
        time_reversal: solve only one of k and −k, whose energies are the same unless a magnetic spinor H breaks
            time reversal. Real H(R), collinear or not, always allow it.

    Raises:
        ElectronicError: a size below 1.

    Source: [monkhorst1976].
    """
    if len(size) != 3 or min(size) < 1:
        raise ElectronicError(
            f"a k-mesh of size {size}",
            expected="three positive numbers of points",
            suggestion="use 1 along a direction that is not periodic",
        )
    steps = torch.cartesian_prod(*[torch.arange(n) for n in size]).reshape(-1, 3)
    counts = torch.tensor(size)
    shift = torch.zeros(3, dtype=torch.int64) if gamma_centred else counts - 1
    # k = (2 step − shift) / 2n; −k is the point whose step is shift − step, modulo n.
    partner = torch.remainder(shift - steps, counts)
    flat = torch.arange(len(steps))
    if time_reversal:
        flat = torch.minimum(flat, (partner[:, 0] * size[1] + partner[:, 1]) * size[2] + partner[:, 2])
    kept, full_index, members = torch.unique(flat, return_inverse=True, return_counts=True)
    k_frac = (2 * steps[kept] - shift).to(torch.float64) / (2 * counts)
    k_frac = torch.where(k_frac > 0.5 + _SAME_K, k_frac - 1, k_frac)
    return KMesh(k_frac, members.to(torch.float64) / len(steps), size, full_index)


def mesh_size(cell: npt.NDArray[np.float64], periodic: npt.NDArray[np.bool_], spacing: float) -> tuple[int, int, int]:
    """Smallest mesh whose points are at most ``spacing`` apart along each reciprocal lattice vector.

    Args:
        cell: (3, 3) lattice vectors in rows [Å].
        periodic: (3,); one point along the others.
        spacing: distance of neighboring k points [1/Å], 2π included.

    Raises:
        ElectronicError: a spacing that is not positive.
    """
    if not spacing > 0:
        raise ElectronicError(
            f"a k spacing of {spacing:g} / Å",
            expected="a positive distance in 1/Å, with the factor 2π",
            suggestion="0.2 / Å for insulators, 0.1 / Å or less for metals",
        )
    lengths = np.linalg.norm(reciprocal_vectors(cell, periodic), axis=1)
    counts = [max(1, int(np.ceil(length / spacing - _SAME_K))) for length in lengths]
    return counts[0], counts[1], counts[2]


def reciprocal_vectors(cell: npt.NDArray[np.float64], periodic: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(3, 3) reciprocal lattice vectors in rows [1/Å], 2π included; in the span of the periodic vectors, else zero."""
    rows = np.asarray(cell, dtype=np.float64)[np.asarray(periodic, dtype=bool)]
    vectors = np.zeros((3, 3))
    if len(rows):
        vectors[np.asarray(periodic, dtype=bool)] = 2 * np.pi * np.linalg.pinv(rows).T
    return vectors


@dataclass(frozen=True)
class MeshCheck:
    """Whether H(R) can be had from H(k) on a mesh.

    A mesh of N points knows O(R) only modulo N: it returns Σ_T O(R + N T).

    Attributes:
        size: (3,) the mesh.
        reach: (3,) largest |R| among the blocks along each lattice vector.
        smallest_size: (3,) 2 reach + 1, a mesh that keeps all blocks apart.
        n_aliased: blocks that fall on another block of the same two atoms.
    """

    size: tuple[int, int, int]
    reach: tuple[int, int, int]
    smallest_size: tuple[int, int, int]
    n_aliased: int

    @property
    def is_fine_enough(self) -> bool:
        """Whether no two blocks fall together."""
        return self.n_aliased == 0

    @property
    def message(self) -> str:
        """What was found, in a sentence with the numbers."""
        mesh, needed = "×".join(map(str, self.size)), "×".join(map(str, self.smallest_size))
        if self.is_fine_enough:
            return f"a {mesh} k-mesh keeps all blocks of H(R), which reach {self.reach} cells, apart"
        return (
            f"a {mesh} k-mesh, on whose supercell {self.n_aliased} blocks of H(R), which reach {self.reach} cells, "
            f"fall on blocks of other images; a {needed} mesh keeps them apart"
        )

    def require(self) -> None:
        """Refuse a mesh that is too coarse.

        Raises:
            ElectronicError: some blocks fall together.
        """
        if not self.is_fine_enough:
            raise ElectronicError(
                self.message,
                expected="a k-mesh whose supercell holds the reach of the orbitals, so that H(k) determines H(R)",
                suggestion=f"calculate with at least {self.smallest_size} k points, or cut H(R) at a shorter radius "
                "and report what that costs in bands",
            )


def check_mesh(size: tuple[int, int, int], operator: BlockOperator) -> MeshCheck:
    """Tell whether a k-mesh is fine enough for the reach of H(R).

    Args:
        size: points along each reciprocal lattice vector.
        operator: H or S with its blocks to the reach that is wanted.
    """
    pairs = operator.pairs
    folded = np.concatenate([np.mod(pairs[:, :3], np.array(size)), pairs[:, 3:]], axis=1)
    _, members = np.unique(folded, axis=0, return_counts=True)
    reach = np.abs(pairs[:, :3]).max(axis=0, initial=0)
    return MeshCheck(
        size=size,
        reach=(int(reach[0]), int(reach[1]), int(reach[2])),
        smallest_size=(2 * int(reach[0]) + 1, 2 * int(reach[1]) + 1, 2 * int(reach[2]) + 1),
        n_aliased=int(members[members > 1].sum()),
    )
