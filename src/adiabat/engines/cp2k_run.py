"""One run of CP2K: the input in, its output and matrices out, nothing left behind."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import EngineError, ScfNotConvergedError
from adiabat.core.operators import BlockOperator
from adiabat.data.hamiltonian_formats.cp2k import read_cp2k_operators
from adiabat.data.structure import Structure
from adiabat.engines.cp2k_input import PROJECT, Cp2kTask, input_text
from adiabat.engines.cp2k_output import abort_message, scf_state
from adiabat.engines.supervised_process import ProgramTimeoutError, scratch_folder

_TAIL: Final = 400


@dataclass(frozen=True)
class Cp2kAnswer:
    """What a run that converged left.

    Attributes:
        text: CP2K's output.
        matrices: H [eV] and S, images counted from the atoms as CP2K wraps them; None if they were not asked for.
    """

    text: str
    matrices: tuple[BlockOperator, BlockOperator] | None


def run_cp2k(
    structure: Structure,
    task: Cp2kTask,
    program: str,
    files: Mapping[str, str],
    timeout: float | None,
    n_orbitals: npt.NDArray[np.int64],
) -> Cp2kAnswer:
    """Run CP2K on one thread (unless ``OMP_NUM_THREADS`` says otherwise), in a folder that is removed at the end.

    Args:
        structure: as it is to be written.
        task: what to compute.
        program: path of CP2K.
        files: name and content of further input files.
        timeout: seconds that it may take; None for no limit.
        n_orbitals: (n_atoms,) orbitals of each atom.

    Raises:
        ScfNotConvergedError: no self-consistency.
        EngineError: it gave up, died, or took too long; with what it said last.
        FileFormatError: a matrix that it wrote is damaged.
    """
    with scratch_folder("adiabat-cp2k-") as scratch:
        for name, content in {**files, "input": input_text(structure, task)}.items():
            (scratch.path / name).write_text(content, encoding="utf-8")
        environment = {"OMP_NUM_THREADS": "1"} | dict(os.environ) | {"TMPDIR": str(scratch.path)}
        try:
            exit_code = scratch.run([program, "-i", "input"], environment, timeout)
        except ProgramTimeoutError as error:
            raise EngineError(
                f"CP2K on {structure.formula}, still running after {timeout:g} s",
                expected="an end within the time limit",
                suggestion="raise --timeout, or use fewer k-points or a lower --cutoff",
            ) from error
        text = (scratch.path / "stdout").read_text(encoding="utf-8", errors="replace")
        _check_end(structure, task, exit_code, text, (scratch.path / "stderr").read_text(errors="replace"))
        matrices = None
        if task.matrices:
            matrices = read_cp2k_operators(scratch.path, PROJECT, text, n_orbitals)
        return Cp2kAnswer(text, matrices)


def _check_end(structure: Structure, task: Cp2kTask, exit_code: int, text: str, errors: str) -> None:
    state = scf_state(text)
    given_up = abort_message(text)
    if "SCF run NOT converged" in text or (given_up and "not converge" in given_up.lower()):
        raise ScfNotConvergedError(
            f"an SCF of {structure.formula} that still changes by {state.residual:.1e} after {task.max_cycles} cycles",
            expected=f"at most {task.eps_scf:g}",
            suggestion="look at the geometry first; then --smearing 0.1 (eV) for metals and small gaps, --mixing 0.1, "
            "--max-cycles 200",
        )
    if given_up:
        raise EngineError(
            f"CP2K on {structure.formula}, which gives up: {given_up}",
            expected="a structure and settings that it can compute",
            suggestion="see CP2K's words; an odd number of electrons wants --smearing 0.1 (a metal) or --spin 1",
        )
    if exit_code != 0 or "PROGRAM ENDED AT" not in text or not state.converged:
        last = (errors.strip() or text.strip())[-_TAIL:]
        raise EngineError(
            f"CP2K on {structure.formula}, which ended with exit code {exit_code}: {last!r}",
            expected="a complete run",
            suggestion="-9 usually means out of memory: use fewer --workers; else run CP2K alone to see its output",
        )
