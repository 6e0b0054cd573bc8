import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import assume, given, settings
from scipy.spatial.transform import Rotation

from adiabat.equivariant.frames import bond_rotation
from adiabat.equivariant.harmonics import spherical_harmonics, unit_vectors
from adiabat.equivariant.wigner import wigner_d_all

component = st.floats(-1, 1, allow_nan=False)
quaternions = st.tuples(component, component, component, component)
vectors = st.tuples(component, component, component)


def rotation_of(quaternion: tuple[float, ...], improper: bool) -> torch.Tensor:
    assume(np.linalg.norm(quaternion) > 1e-3)
    matrix = torch.from_numpy(Rotation.from_quat(quaternion).as_matrix())
    return -matrix if improper else matrix


@settings(max_examples=50, deadline=None)
@given(quaternions, st.booleans(), vectors)
def test_harmonics_rotate_with_d(quaternion: tuple[float, ...], improper: bool, vector: tuple[float, ...]) -> None:
    rotation, r = rotation_of(quaternion, improper), torch.tensor(vector, dtype=torch.float64)
    assume(r.norm() > 1e-6)
    d = torch.block_diag(*wigner_d_all(6, rotation))
    torch.testing.assert_close(spherical_harmonics(rotation @ r, 6), d @ spherical_harmonics(r, 6), atol=1e-12, rtol=0)


@settings(max_examples=50, deadline=None)
@given(quaternions, quaternions, st.booleans(), st.booleans())
def test_d_of_a_product(
    first: tuple[float, ...], second: tuple[float, ...], first_improper: bool, second_improper: bool
) -> None:
    q1, q2 = rotation_of(first, first_improper), rotation_of(second, second_improper)
    for d1, d2, d12 in zip(wigner_d_all(4, q1), wigner_d_all(4, q2), wigner_d_all(4, q1 @ q2), strict=True):
        torch.testing.assert_close(d1 @ d2, d12, atol=1e-12, rtol=0)


@settings(max_examples=100, deadline=None)
@given(vectors)
def test_every_direction_has_a_frame(vector: tuple[float, ...]) -> None:
    r = torch.tensor(vector, dtype=torch.float64)
    assume(r.norm() > 1e-6)
    rotation = bond_rotation(r)
    torch.testing.assert_close(rotation @ unit_vectors(r), torch.tensor([0.0, 0.0, 1.0]).double(), atol=1e-14, rtol=0)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3).double(), atol=1e-14, rtol=0)
    assert torch.linalg.det(rotation) > 0
