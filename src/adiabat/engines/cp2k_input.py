"""CP2K's input file for one structure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from adiabat.core.units import BOLTZMANN
from adiabat.data.structure import Structure
from adiabat.engines.kpoints import Mesh

Section = Sequence["str | tuple[str, Section]"]
"""Lines of a section of the input: keywords, and sections with their names."""

PROJECT: Final = "crystal"

FUNCTIONALS: Final[Mapping[str, tuple[Section, str]]] = {
    "pbe": ([("PBE", [])], "GTH-PBE"),
    "pbesol": ([("PBE", ["PARAMETRIZATION PBESOL"])], "GTH-PBE"),
    "revpbe": ([("PBE", ["PARAMETRIZATION REVPBE"])], "GTH-PBE"),
    "lda": ([("PADE", [])], "GTH-PADE"),
    "blyp": ([("BLYP", [])], "GTH-BLYP"),
}
"""Functionals as CP2K's input names them, and the pseudopotentials that go with each unless others are named."""


@dataclass(frozen=True)
class Cp2kTask:
    """What one run of CP2K computes.

    Attributes:
        method: ``GPW`` or ``xTB``.
        xc: key of :data:`FUNCTIONALS`; not looked at for xTB.
        mesh: Γ-centred k-mesh.
        kinds: for each element that occurs its basis set and pseudopotential; empty for xTB.
        n_added: empty bands that are kept; smearing needs some.
        smearing: k_B T of the electrons [eV]; 0 for none.
        unrestricted: separate orbitals for each spin.
        cutoff: plane-wave cutoff of the finest grid [Ry].
        rel_cutoff: that of the grid of a Gaussian of exponent one [Ry].
        eps_default: accuracy of integrals.
        eps_scf: change of the density matrix at self-consistency.
        max_cycles: SCF cycles.
        mixing: fraction of the new density.
        forces: compute them.
        stress: compute it.
        matrices: write H and S.
    """

    method: str
    xc: str
    mesh: Mesh
    kinds: Mapping[str, tuple[str, str]]
    n_added: int
    smearing: float
    unrestricted: bool
    cutoff: float
    rel_cutoff: float
    eps_default: float
    eps_scf: float
    max_cycles: int
    mixing: float
    forces: bool
    stress: bool
    matrices: bool


def input_text(structure: Structure, task: Cp2kTask) -> str:
    """The input file.

    Args:
        structure: positions are written as they are; CP2K wraps those outside of fractions −½ … ½.
        task: what to compute.
    """
    force_eval: Section = [
        "METHOD QUICKSTEP",
        *(["STRESS_TENSOR ANALYTICAL"] if task.stress else []),
        ("DFT", _dft(structure, task)),
        ("SUBSYS", _subsys(structure, task)),
        ("PRINT", [("FORCES ON", ["NDIGITS 14"]), ("STRESS_TENSOR ON", [])]),
    ]
    run_type = "ENERGY_FORCE" if task.forces or task.stress else "ENERGY"
    document: Section = [
        ("GLOBAL", [f"PROJECT {PROJECT}", f"RUN_TYPE {run_type}", "PRINT_LEVEL MEDIUM"]),
        ("FORCE_EVAL", force_eval),
    ]
    return "\n".join(_lines(document)) + "\n"


def _dft(structure: Structure, task: Cp2kTask) -> Section:
    quickstep: Section = [f"METHOD {task.method}", f"EPS_DEFAULT {task.eps_default:g}"]
    functional: Section = []
    grid: Section = []
    if task.method == "GPW":
        grid = ["BASIS_SET_FILE_NAME BASIS", "POTENTIAL_FILE_NAME POTENTIAL"]
        grid += [("MGRID", [f"CUTOFF {task.cutoff:g}", f"REL_CUTOFF {task.rel_cutoff:g}"])]
        functional = [("XC", [("XC_FUNCTIONAL", FUNCTIONALS[task.xc][0])])]
    else:
        quickstep += [("XTB", ["CHECK_ATOMIC_CHARGES F", "DO_EWALD T"])]
    spin: Section = ["UKS T", f"MULTIPLICITY {structure.spin + 1}"] if task.unrestricted else []
    matrix: Section = ["REAL_SPACE T", "UPPER_TRIANGULAR F", "BINARY T", "THRESHOLD 1e-10"]
    written: Section = [("PRINT", [("KS_CSR_WRITE", matrix), ("S_CSR_WRITE", matrix)])] if task.matrices else []
    return [
        f"CHARGE {structure.charge}",
        *spin,
        *grid,
        ("QS", quickstep),
        ("SCF", _scf(task)),
        *functional,
        ("KPOINTS", [_mesh_line(task.mesh), "PARALLEL_GROUP_SIZE -1"]),
        *written,
    ]


def _scf(task: Cp2kTask) -> Section:
    scf: Section = [f"EPS_SCF {task.eps_scf:g}", f"MAX_SCF {task.max_cycles}", "SCF_GUESS ATOMIC"]
    scf += [("MIXING", ["METHOD BROYDEN_MIXING", f"ALPHA {task.mixing:g}"])]
    if task.smearing > 0:
        temperature = task.smearing / BOLTZMANN
        smear: Section = ["METHOD FERMI_DIRAC", f"ELECTRONIC_TEMPERATURE [K] {temperature:.10g}"]
        scf += [f"ADDED_MOS {task.n_added}", ("SMEAR ON", smear)]
    return scf


def _mesh_line(mesh: Mesh) -> str:
    """CP2K's MacDonald mesh holds Γ as it is for odd numbers only; half a step brings it back for even ones."""
    shift = (0.0 if n % 2 else 0.5 / n for n in mesh)
    return f"SCHEME MACDONALD {' '.join(map(str, mesh))} {' '.join(f'{s:.15g}' for s in shift)}"


def _subsys(structure: Structure, task: Cp2kTask) -> Section:
    cell: Section = [f"{name} {_numbers(row)}" for name, row in zip("ABC", structure.cell, strict=True)]
    atoms: Section = [
        f"{symbol} {_numbers(position)}"
        for symbol, position in zip(structure.symbols, structure.positions, strict=True)
    ]
    kinds: Section = [
        (f"KIND {symbol}", [f"BASIS_SET {basis}", f"POTENTIAL {potential}"])
        for symbol, (basis, potential) in task.kinds.items()
    ]
    return [("CELL", [*cell, "PERIODIC XYZ"]), ("COORD", atoms), *kinds]


def _numbers(row: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{float(x):.15g}" for x in row)


def _lines(section: Section, depth: int = 0) -> list[str]:
    lines: list[str] = []
    for part in section:
        if isinstance(part, str):
            lines.append(" " * depth + part)
        else:
            head, body = part
            lines += [f"{' ' * depth}&{head}", *_lines(body, depth + 1), f"{' ' * depth}&END {head.split()[0]}"]
    return lines
