"""Options that the commands on crystals share: k-meshes, smearing, energy windows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adiabat.core.errors import ConfigError

if TYPE_CHECKING:
    from adiabat.electronic.smearing import Smearing

Source = Annotated[
    Path, typer.Argument(help="Model (.safetensors), store (.lmdb), or a Hamiltonian that 'data import' reads.")
]
StructureFile = Annotated[Path | None, typer.Argument(help="With a model: the structure.")]
RecordNumber = Annotated[int | None, typer.Option("--record", help="Which record of a store or frame of a file.")]
KPoints = Annotated[str | None, typer.Option("--kpoints", help="k-mesh, Γ-centred: 12,12,1.")]
SmearingText = Annotated[
    str | None,
    typer.Option(
        "--smearing",
        help="For metals: fermi-dirac, gaussian, methfessel-paxton or cold, with its width [eV]: cold:0.1. "
        "Default: fermi-dirac:0.05.",
    ),
]
ElectronCount = Annotated[
    float | None, typer.Option("--electrons", help="Electrons of the cell; by default counted from the basis.")
]
Device = Annotated[str, typer.Option("--device", help="Where a model computes: cpu, cuda, ….")]


def parse_kpoints(text: str | None) -> tuple[int, int, int] | None:
    """``12,12,1`` as three numbers.

    Raises:
        ConfigError: anything else.
    """
    if text is None:
        return None
    try:
        first, second, third = (int(word) for word in text.replace("x", ",").replace("×", ",").split(","))
    except ValueError:
        first, second, third = 0, 0, 0
    if min(first, second, third) < 1:
        raise ConfigError(
            f"--kpoints {text}",
            expected="three whole numbers from 1, points along each reciprocal lattice vector",
            suggestion="--kpoints 12,12,1",
        )
    return first, second, third


def parse_smearing(text: str | None) -> "Smearing | None":
    """``fermi-dirac:0.1`` as a smearing.

    Raises:
        ConfigError: no width, or one that is no number.
        ElectronicError: an unknown kind, or a width that is not positive.
    """
    from adiabat.electronic.smearing import Smearing

    if text is None:
        return None
    kind, _, width = text.partition(":")
    try:
        value = float(width)
    except ValueError:
        raise ConfigError(
            f"--smearing {text}", expected="KIND:WIDTH with a width in eV", suggestion="--smearing fermi-dirac:0.1"
        ) from None
    return Smearing(kind, value)  # pyright: ignore[reportArgumentType] — refused by Smearing itself


def parse_window(text: str | None) -> tuple[float, float] | None:
    """``-5,5`` as two energies.

    Raises:
        ConfigError: not two numbers, the lower one first.
    """
    if text is None:
        return None
    try:
        low, high = (float(word) for word in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not low < high:
        raise ConfigError(
            f"--window {text}", expected="two energies in eV, the lower one first", suggestion="--window -5,5"
        )
    return low, high


def check_positive(name: str, value: float | None) -> None:
    """Refuse an option that must be above zero.

    Raises:
        ConfigError: it is not.
    """
    if value is not None and not value > 0:
        raise ConfigError(f"{name} {value:g}", expected="a number above zero", suggestion=f"leave {name} out")


def refuse_mesh(mesh: tuple[int, int, int] | None) -> None:
    """Refuse a k-mesh with the kernel polynomial method.

    Raises:
        ConfigError: there is one.
    """
    if mesh is not None and max(mesh) > 1:
        raise ConfigError(
            f"--kpoints {','.join(map(str, mesh))} with --method kpm",
            expected="Γ only, of a large cell",
            suggestion="leave out --kpoints, or use another method",
        )
