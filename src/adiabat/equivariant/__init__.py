"""Harmonics, rotations, couplings and bond frames, of our own and on plain tensors; held against e3nn by the tests."""
