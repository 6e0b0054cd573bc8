"""Time harmonics, D matrices, bond frames and mixing in them, each fast path beside the plain one.

Run as ``python benchmarks/equivariant_kernels.py``; prints machine, versions and commit, then one row per size.
"""

import platform
import subprocess
from collections.abc import Callable

import torch
from equivariant_products import milliseconds
from torch import Tensor

from adiabat.equivariant.frames import FrameLinear, bond_frame, bond_rotation, from_bond_frame, to_bond_frame
from adiabat.equivariant.harmonics import spherical_harmonics, spherical_harmonics_reference, unit_vectors
from adiabat.equivariant.wigner import rotate_irreps, wigner_d_all, wigner_d_block

CHANNELS = 64


def two_derivatives(function: Callable[[Tensor], Tensor], vectors: Tensor) -> Callable[[], object]:
    """What training on forces asks of a function of positions."""
    positions = vectors.clone().requires_grad_()

    def call() -> object:
        (first,) = torch.autograd.grad(function(positions).square().sum(), positions, create_graph=True)
        return torch.autograd.grad(first.square().sum(), positions)

    return call


def one_derivative(function: Callable[[Tensor], Tensor], features: Tensor) -> Callable[[], object]:
    """What training on blocks asks of a function of features."""
    leaf = features.clone().requires_grad_()
    return lambda: torch.autograd.grad(function(leaf).square().sum(), leaf)


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, commit {commit.stdout.strip()}")
    print(f"one thread, float32, {CHANNELS} channels; processor milliseconds")
    print("\nharmonics, with two derivatives        coupled from below   recursion in l and m")
    for n in (512, 8192):
        for l_max in (2, 3, 6):
            vectors = torch.randn(n, 3)
            fast = milliseconds(two_derivatives(lambda r, l=l_max: spherical_harmonics(r, l), vectors))
            plain = milliseconds(
                two_derivatives(lambda r, l=l_max: spherical_harmonics_reference(unit_vectors(r), l), vectors)
            )
            print(f"  {n:5d} edges, l_max = {l_max} {fast:29.2f} {plain:20.2f}")
    print("\nbond frames        make frames   there and back: one block   one l at a time   mixing (with derivative)")
    for n in (1000, 4000):
        for l_max in (2, 3, 4):
            print(f"  {n:5d} pairs, l_max = {l_max}" + "".join(f"{value:12.2f}" for value in frame_row(n, l_max)))


def frame_row(n_pairs: int, l_max: int) -> tuple[float, float, float, float]:
    """Milliseconds to make frames, to rotate there and back in the two ways, and to mix."""
    vectors, features = torch.randn(n_pairs, 3), torch.randn(n_pairs, (l_max + 1) ** 2, CHANNELS)
    rotation = bond_rotation(vectors)
    frame, block, each = bond_frame(vectors, l_max), wigner_d_block(l_max, rotation), wigner_d_all(l_max, rotation)
    back = [d.mT for d in each]
    assert torch.allclose(block @ features, rotate_irreps(features, each), atol=1e-4)
    return (
        milliseconds(lambda: bond_frame(vectors, l_max)),
        milliseconds(one_derivative(lambda x: from_bond_frame(to_bond_frame(x, frame), frame), features)),
        milliseconds(one_derivative(lambda x: rotate_irreps(rotate_irreps(x, each), back), features)),
        milliseconds(one_derivative(FrameLinear(CHANNELS, CHANNELS, l_max), features)),
    )


if __name__ == "__main__":
    main()
