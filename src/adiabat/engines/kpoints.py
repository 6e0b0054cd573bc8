"""Γ-centred k-meshes, and how fine they are."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import ConfigError, EngineError
from adiabat.data.structure import Structure

Mesh = tuple[int, int, int]

K_SPACING = 0.3
"""Default distance between k-points [1/Å], 2π included, for crystals with a gap."""


def check_kpoints(kpoints: Sequence[int] | None, k_spacing: float) -> None:
    """Refuse a mesh that means nothing.

    Raises:
        ConfigError: not three positive numbers, or a spacing that is not positive.
    """
    if kpoints is not None and (len(kpoints) != 3 or any(int(n) != n or n < 1 for n in kpoints)):
        raise ConfigError(
            f"k-points {tuple(kpoints)}",
            expected="three whole numbers, one or more each",
            suggestion="--kpoints 6,6,1 for a layer, or --k-spacing 0.3",
        )
    if not k_spacing > 0:
        raise ConfigError(
            f"a k-spacing of {k_spacing}/Å", expected="a positive number, 2π included", suggestion="--k-spacing 0.3"
        )


def mesh_of(structure: Structure, kpoints: Sequence[int] | None, k_spacing: float) -> Mesh:
    """Number of k-points along each reciprocal lattice vector.

    Args:
        structure: has a cell; a direction that is not periodic gets one k-point.
        kpoints: the mesh, if it is given.
        k_spacing: else the largest distance between neighboring k-points [1/Å], 2π included.

    Raises:
        EngineError: several k-points along a direction that is not periodic.
    """
    if kpoints is not None:
        wrong = [axis for axis in range(3) if kpoints[axis] > 1 and not structure.pbc[axis]]
        if wrong:
            raise EngineError(
                f"{kpoints[wrong[0]]} k-points along lattice vector {wrong[0] + 1} of {structure.formula}, along which "
                "it is not periodic",
                expected="one k-point there",
                suggestion="--kpoints 6,6,1 for a layer in the plane of the first two vectors",
            )
        return int(kpoints[0]), int(kpoints[1]), int(kpoints[2])
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(structure.cell), axis=0)
    counts = np.where(structure.pbc, np.ceil(lengths / k_spacing - 1e-9), 1).astype(int)
    return int(counts[0]), int(counts[1]), int(counts[2])


def mesh_points(mesh: Mesh) -> npt.NDArray[np.float64]:
    """(n_k, 3) the k of a Γ-centred mesh, in fractions of the reciprocal lattice from −½ to ½."""
    axes = [np.fft.fftfreq(n) for n in mesh]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(points, dtype=np.float64)
