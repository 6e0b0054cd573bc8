"""Which structures to label: what a label of each would tell, from nothing, from the structures, or from a model."""

from adiabat.campaigns.selection.config import SelectConfig
from adiabat.campaigns.selection.selector import select

__all__ = ["SelectConfig", "select"]
