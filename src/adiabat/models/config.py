"""What a model is made of: typed, validated, documented in one place; saved inside the model package."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

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


class LinearAceConfig(FrozenConfig):
    """The linear family: products of sums over neighbors, and one weight each."""

    degrees: tuple[int, ...] | None = Field(
        None,
        min_length=1,
        max_length=4,
        description="largest sum of n + l over the factors, for products of 1, 2, … (at most 4) sums over neighbors; "
        "null: as large as at most 10 000 weights allow",
    )
    l_max: int = Field(4, ge=0, le=8, description="largest angular momentum of a factor")
    stretch: float = Field(
        1.3, gt=0, description="where radial functions are densest, in sums of the two covalent radii"
    )
    envelope_power: int = Field(2, ge=2, description="p of the envelope; larger keeps distant neighbors in view")

    @model_validator(mode="after")
    def _degrees_are_counts(self) -> Self:
        if self.degrees is not None and min(self.degrees) < 0:
            raise ValueError(f"linear_ace.degrees is {list(self.degrees)}; give numbers from 0 on")
        return self


_NEURAL: Final = ("channels", "l_max", "layers", "order", "n_bessel", "hidden", "ensemble", "fidelities")
"""Settings that only the default family reads."""


class ModelConfig(FrozenConfig):
    """The trunk and its heads."""

    family: Literal["default", "linear-ace"] = Field(
        "default", description="kind of trunk: a message-passing network, or the linear atomic cluster expansion"
    )
    cutoff: float = Field(5.0, gt=0, description="radius of the trunk's neighborhoods in Å")
    channels: int = Field(64, ge=1, description="width of the node features")
    l_max: int = Field(2, ge=0, le=4, description="largest angular momentum of the node features")
    layers: int = Field(2, ge=1, description="rounds of message passing; 1 is strictly local")
    order: int = Field(3, ge=2, le=4, description="number of features multiplied on each node; body order is one more")
    n_bessel: int = Field(8, ge=1, description="radial basis functions")
    hidden: int = Field(64, ge=1, description="width of the radial and scalar networks")
    energy: bool = Field(True, description="have an energy head, and with it forces and stress")
    ensemble: int = Field(
        1,
        ge=1,
        description="energy heads over the one trunk, whose spread tells the uncertainty; their mean is predicted",
    )
    operator: OperatorConfig | None = Field(None, description="have an operator head")
    linear_ace: LinearAceConfig | None = Field(None, description="sizes of the family linear-ace")
    fidelities: tuple[str, ...] = Field(
        (),
        description="levels of theory that one model learns and tells apart, by the fidelity of their labels; the "
        "first is the target, which is predicted unless another is asked for. Empty: all labels are of one level",
    )

    @model_validator(mode="after")
    def _fidelities_apart(self) -> Self:
        if len(self.fidelities) == 1 or len(set(self.fidelities)) < len(self.fidelities) or not all(self.fidelities):
            raise ValueError(
                f"model.fidelities is {list(self.fidelities)}; name two or more different levels, the target first, "
                "or none where there is one level of theory"
            )
        return self

    @model_validator(mode="after")
    def _settings_of_the_family(self) -> Self:
        """No setting is read silently, or silently not read."""
        if self.family != "linear-ace":
            if self.linear_ace is not None:
                raise ValueError("model.linear_ace goes with model.family: linear-ace")
            return self
        fields = type(self).model_fields
        unread = [name for name in _NEURAL if getattr(self, name) != fields[name].default]
        if unread:
            raise ValueError(f"the family linear-ace does not read {', '.join(unread)}; its sizes are in linear_ace")
        if self.operator is not None or not self.energy:
            raise ValueError("the family linear-ace has an energy head and no operator head")
        return self


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
    others: dict[str, "OperatorReference"] = {}
    """Level of each fidelity that the model tells apart beside the target; all in the one basis."""

    @property
    def level(self) -> dict[str, Any]:
        """The settings of H0, by the names of :data:`LEVEL_KEYS`."""
        return {key: getattr(self, key) for key in LEVEL_KEYS}

    @property
    def orbitals(self) -> OrbitalBasis:
        """Shells of each element."""
        return OrbitalBasis.from_json(self.orbital_basis)
