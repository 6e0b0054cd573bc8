"""Where candidates come from: a list of sources in order, each with its settings."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from adiabat.simulation.connectivity import BONDED, CLOSEST, FORMED, LOST, REACH, Connectivity
from adiabat.simulation.settings import BiasSettings, GateSettings
from adiabat.training.config import Section

Temperatures = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class MdSource(Section):
    """Molecular dynamics with the current model, from some of the starts at each temperature."""

    kind: Literal["md"] = "md"
    """Molecular dynamics."""
    temperatures: Temperatures = (300.0,)
    """Temperatures of the runs [K]."""
    n_starts: int = Field(default=1, gt=0)
    """Starts for each temperature, drawn at random; all of them if there are fewer."""
    steps: int = Field(default=2000, gt=0)
    """Steps of each run."""
    timestep_fs: float = Field(default=0.5, gt=0)
    """Time step [fs]."""
    ensemble: Literal["nve", "langevin"] = "langevin"
    """Thermostat."""
    friction_per_fs: float = Field(default=0.01, gt=0)
    """Langevin friction [1/fs]."""
    save_interval: int = Field(default=50, gt=0)
    """Steps between candidates."""
    skip_steps: int = Field(default=0, ge=0)
    """Steps at the beginning of a run that give none."""
    gate: GateSettings | None = None
    """Stop where the model does not know what it does; the frame is the run's last candidate. Needs an uncertain
    model, and is left out without one."""
    bias: BiasSettings | None = None
    """Push towards where the model does not know. Needs an uncertain model."""


class DisplaceSource(Section):
    """Every atom of a start moved at random."""

    kind: Literal["displace"] = "displace"
    """Random displacements."""
    n: int = Field(default=20, gt=0)
    """Number of candidates; starts take turns."""
    rms: float = Field(default=0.1, gt=0)
    """Root mean square displacement of an atom [Å]: each coordinate is normal with this over √3."""


class NormalModesSource(Section):
    """Thermal displacements along the normal modes of the current model at each start, relaxed first."""

    kind: Literal["normal-modes"] = "normal-modes"
    """Harmonic thermal samples."""
    n: int = Field(default=20, gt=0)
    """Number of candidates for each temperature."""
    n_starts: int = Field(default=1, gt=0)
    """Starts whose modes are taken, drawn at random; candidates take them in turn."""
    temperatures: Temperatures = (300.0,)
    """Temperatures [K]."""
    statistics: Literal["classical", "quantum"] = "classical"
    """``classical``: ⟨q²⟩ = k_B T/ω². ``quantum``: ⟨q²⟩ = ħ/2ω · coth(ħω/2k_B T), zero-point motion included."""
    relax: bool = True
    """Relax each start with the model before its Hessian is taken. Modes of what is no minimum mean little."""
    difference: float = Field(default=0.01, gt=0)
    """Displacement for the finite differences of forces [Å]."""
    lowest_frequency: float = Field(default=50.0, gt=0)
    """Modes softer than this, or imaginary ones, are sampled as if they had this frequency [1/cm]."""


class StrainSource(Section):
    """Random homogeneous strains of periodic starts, symmetric, so that no rotation is in them."""

    kind: Literal["strain"] = "strain"
    """Random strains."""
    n: int = Field(default=20, gt=0)
    """Number of candidates; starts take turns."""
    largest: float = Field(default=0.05, gt=0, lt=0.5)
    """Every component of the strain is drawn evenly from −largest … largest."""
    rms: float = Field(default=0.0, ge=0)
    """Displacement of atoms on top of it, as for ``displace`` [Å]."""


class TrajectorySource(Section):
    """Frames of a file."""

    kind: Literal["trajectory"] = "trajectory"
    """A file of structures."""
    path: str
    """Any file that ASE reads, or a store (``.lmdb``). Labels in it are not looked at."""
    frames: str = ":"
    """Python slice of frames."""


Source = Annotated[
    MdSource | DisplaceSource | NormalModesSource | StrainSource | TrajectorySource, Field(discriminator="kind")
]

NEEDS_MODEL: Final = frozenset({"md", "normal-modes"})
"""Sources that nothing can be had from without a model."""


class ExploreConfig(Section):
    """How candidates are made, and which of them are dropped."""

    sources: tuple[Source, ...] = Field(default=(MdSource(),), min_length=1)
    """Sources, in order."""
    allow_reactions: bool = False
    """Keep frames whose bonds are not those of the start."""
    closest: float = Field(default=CLOSEST, ge=0)
    """Frames with two atoms nearer than this many sums of covalent radii are dropped."""
    lost: float = Field(default=LOST, gt=1)
    """A bond longer than this many sums of covalent radii is lost."""
    formed: float = Field(default=FORMED, gt=0)
    """A pair nearer than this many sums of covalent radii, that was no bond, has become one."""
    reach: float = Field(default=REACH, gt=0)
    """A part farther than this from all others has evaporated [Å]."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.closest < self.formed <= BONDED <= self.lost:
            raise ValueError(f"limits must stand in the order closest < formed ≤ {BONDED} ≤ lost")
        return self

    @property
    def limits(self) -> Connectivity:
        """As the test of connectivity wants them."""
        return Connectivity(lost=self.lost, formed=self.formed, closest=self.closest, reach=self.reach)
