"""Cut the small real inputs of the tests from the published data sets.

    python scripts/make_test_data.py ../shared/data

Frames are copied line by line, never rewritten: their mess is what the tests are about.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "tests" / "data" / "messy"

SLICES: dict[str, tuple[str, list[int]]] = {
    "ethanol.xyz": ("rmd17/ethanol_train_01.xyz", list(range(12))),
    "ethanol_many.xyz": ("rmd17/ethanol_train_01.xyz", list(range(0, 80, 2))),
    "acetylacetone.xyz": ("acac/train_300K.xyz", list(range(12))),
    "isolated_atoms.xyz": ("acac/isolated_atoms.xyz", [0, 1, 2]),
    # Strained crystals of the elastic series, whose stress can be checked against the energy.
    "silicon_strained.xyz": ("mlearn/Si_train.xyz", [161, 162, 163, 164, 188, 189, 190, 191, 197, 198, 199, 200]),
    # Copper whose yz and zx stand the other way round.
    "copper_strained.xyz": ("mlearn/Cu_train.xyz", [163, 164, 168, 169, 170, 171, 172, 173, 201, 202, 203, 224]),
    # The stress of the test set is that of the first frames of the training set.
    "silicon_train_head.xyz": ("mlearn/Si_train.xyz", list(range(4))),
    "silicon_test_head.xyz": ("mlearn/Si_test.xyz", list(range(4))),
}


def frames(path: Path) -> Iterator[str]:
    """Text of each frame."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    start = 0
    while start < len(lines):
        end = start + 2 + int(lines[start])
        yield "".join(lines[start:end])
        start = end


def main(source: Path) -> None:
    """Write every slice."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, (origin, indices) in SLICES.items():
        chosen = list(frames(source / origin))
        (TARGET / name).write_text("".join(chosen[index] for index in indices), encoding="utf-8")
        print(f"{name}: {len(indices)} frames of {origin}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
