"""The six elements of a symmetric 3 × 3 tensor in Voigt's order, which is ASE's: xx, yy, zz, yz, xz, xy."""

from typing import Final

VOIGT: Final = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Row and column of each."""

VOIGT_ROWS: Final = [row for row, _ in VOIGT]
VOIGT_COLUMNS: Final = [column for _, column in VOIGT]
