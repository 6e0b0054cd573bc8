"""Against outputs of CP2K 2023.1 that are kept: no CP2K is needed."""

from pathlib import Path

import numpy as np
import pytest

from adiabat.core.errors import EngineError
from adiabat.engines import cp2k_output as output

FOLDER = Path(__file__).resolve().parents[2] / "data" / "cp2k"


def text(name: str) -> str:
    return (FOLDER / f"{name}.out").read_text(encoding="utf-8")


def test_labels_of_a_converged_run():
    kept = text("boron_nitride")
    assert output.energy(kept) == -12.851641588182279
    assert output.fermi_level(kept) == 0.00179739207418
    assert output.scf_state(kept) == output.ScfState(converged=True, residual=1e-7)
    assert output.abort_message(kept) is None
    forces = output.forces(kept, 2)
    assert forces[0].tolist() == [0.031791510209, -0.012007171149, 0.004577994877]
    assert forces[1].tolist() == [-0.031786876841, 0.012010710022, -0.004750410535]
    stress = output.stress(kept)
    assert np.array_equal(stress, stress.T)
    assert stress[0].tolist() == [4.73391032333, -2.61470694247, -0.0673061809378]


def test_orbitals_and_electrons_that_it_tells():
    assert output.printed_shells(text("boron_nitride")) == {"B": (0, 1, 2), "N": (0, 1, 2)}
    assert output.printed_shells(text("silicon_gfn1")) == {"Si": (0, 1, 2)}
    assert output.printed_electrons(text("boron_nitride")) == 8


def test_tight_binding_without_smearing_has_no_fermi_level():
    kept = text("silicon_gfn1")
    assert output.fermi_level(kept) is None
    assert output.energy(kept) == -3.681892948692346
    assert output.scf_state(kept) == output.ScfState(converged=True, residual=2.0422e-11)


def test_a_run_that_did_not_converge_is_told_from_one_that_did():
    assert output.scf_state(text("not_converged")) == output.ScfState(converged=False, residual=0.09032665)
    assert not output.scf_state("").converged


def test_the_last_words_of_a_run_that_gave_up():
    assert output.abort_message(text("unknown_keyword")) == "found an unknown keyword NDIGITS in section STRESS_TENSOR"


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (output.energy, "without total energy"),
        (output.stress, "without stress"),
        (lambda kept: output.forces(kept, 2), "without forces on 2 atoms"),
    ],
)
def test_labels_that_are_not_there_are_missed(read, what):
    with pytest.raises(EngineError, match=what):
        read(text("unknown_keyword"))


def test_forces_of_other_atoms_and_cut_numbers_are_refused():
    kept = text("boron_nitride")
    with pytest.raises(EngineError, match="forces on 3 atoms"):
        output.forces(kept, 3)
    with pytest.raises(EngineError, match="without stress"):
        output.stress(kept.replace("-2.61470694247E+00   1.16", "********** 1.16"))
