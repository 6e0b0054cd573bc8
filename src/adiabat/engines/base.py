"""What every reference calculator is: a structure in, labels with their provenance out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, final

from adiabat.core.errors import LabelError, nearest
from adiabat.core.fields import field
from adiabat.data.record import Labels, Provenance, Record
from adiabat.data.structure import Structure


class Engine(ABC):
    """A reference method with all its settings fixed.

    Engines are immutable and can be sent to worker processes. Two engines with equal ``provenance(s).settings_hash``
    give labels that may stand in for each other.

    Attributes:
        name: word for the command line, for instance ``pyscf``.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def available(self) -> frozenset[str]:
        """Labels that this engine can compute."""

    @abstractmethod
    def provenance(self, structure: Structure) -> Provenance:
        """Code, version, method and every setting that changes the numbers; computes nothing."""

    @abstractmethod
    def _compute(self, structure: Structure, targets: frozenset[str]) -> Labels:
        """Compute exactly ``targets``, a subset of ``available``, in our units."""

    def check(self, structures: Sequence[Structure], targets: Sequence[str]) -> None:
        """Refuse what can be known to fail before any hour is spent on it.

        Raises:
            AdiabatError: of the kind that :meth:`label` would raise.
        """
        self._check_targets(targets)

    @final
    def label(self, structure: Structure, targets: Sequence[str]) -> Record:
        """Compute labels.

        Args:
            structure: nuclei, charge and spin.
            targets: names of registered fields, a subset of ``available``.

        Returns: a record with exactly these labels, in our units and orbital order.

        Raises:
            LabelError: a target that this engine does not give.
            ScfNotConvergedError: no self-consistency; nothing is returned.
            AdiabatError: the structure or the settings cannot be meant.
        """
        self._check_targets(targets)
        labels = self._compute(structure, frozenset(targets))
        return Record(structure, {name: labels[name] for name in targets}, self.provenance(structure))

    def _check_targets(self, targets: Sequence[str]) -> None:
        for name in targets:
            if field(name).name not in self.available:
                raise LabelError(
                    f"target {name!r} from engine {self.name!r}",
                    expected=f"some of {', '.join(sorted(self.available))}",
                    suggestion=nearest(name, self.available),
                )
