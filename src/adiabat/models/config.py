"""What a model is made of: typed, validated, documented in one place; saved inside the model package."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from adiabat.core.operators import Spin
from adiabat.core.orbitals import OrbitalBasis


class FrozenConfig(BaseModel):
    """Base of all configurations: immutable, and refusing keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OperatorConfig(FrozenConfig):
    """The operator head, which gives the Hamiltonian's blocks."""

    channels: int = Field(64, ge=1, description="width of the pair and on-site features")
    order: int = Field(3, ge=2, le=4, description="number of features multiplied on each pair and atom")
    hidden: int = Field(128, ge=1, description="width of the scalar networks")
    n_bessel: int = Field(12, ge=1, description="radial basis functions of a pair's distance")
    pair_radius: float | None = Field(
        None,
        gt=0,
        description="radius of the pairs in Å; null: every pair of a molecule, and as far as a crystal's labels reach",
    )


class ModelConfig(FrozenConfig):
    """The trunk and its heads."""

    family: Literal["default"] = Field("default", description="kind of trunk")
    cutoff: float = Field(5.0, gt=0, description="radius of the trunk's neighborhoods in Å")
    channels: int = Field(64, ge=1, description="width of the node features")
    l_max: int = Field(2, ge=0, le=4, description="largest angular momentum of the node features")
    layers: int = Field(2, ge=1, description="rounds of message passing; 1 is strictly local")
    order: int = Field(3, ge=2, le=4, description="number of features multiplied on each node; body order is one more")
    n_bessel: int = Field(8, ge=1, description="radial basis functions")
    hidden: int = Field(64, ge=1, description="width of the radial and scalar networks")
    energy: bool = Field(True, description="have an energy head, and with it forces and stress")
    operator: OperatorConfig | None = Field(None, description="have an operator head")


LEVEL_KEYS: Final = ("xc", "basis", "grid_level", "density_fit")
"""Settings of a calculation that its H0 depends on."""


def level_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a label's ``provenance.settings``; where they do not name density fitting, there was none."""
    return {"density_fit": False} | {key: settings[key] for key in LEVEL_KEYS if key in settings}


class OperatorReference(FrozenConfig):
    """Level of theory whose Hamiltonian the operator head gives; fixed by the training data.

    With the baseline ``minao``, for molecules, H = H0 + ΔH: H0 is computed from superposed atomic densities and the
    head gives ΔH. With ``two-center``, for crystals, the head gives all of H, over two-centre functions that are fitted
    to the training data.
    """

    xc: str = ""
    basis: str
    grid_level: int | None = None
    density_fit: bool = False
    orbital_basis: dict[str, object]
    baseline: Literal["minao", "two-center"] = "minao"
    spin: Spin = "none"
    method: str = ""
    gaussian_basis: dict[str, Any] | None = None
    """Exponents and contractions, from which S is computed; see ``GaussianBasis.to_json``."""
    tabulated_overlap: bool = False
    """Whether S is looked up in tables read from the labels, where the basis functions are not known."""

    @property
    def level(self) -> dict[str, Any]:
        """The settings of H0, by the names of :data:`LEVEL_KEYS`."""
        return {key: getattr(self, key) for key in LEVEL_KEYS}

    @property
    def orbitals(self) -> OrbitalBasis:
        """Shells of each element."""
        return OrbitalBasis.from_json(self.orbital_basis)
