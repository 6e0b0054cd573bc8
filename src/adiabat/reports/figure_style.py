"""How figures look, and how they become inline SVG that follows the page's light and dark colours."""

import io
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib
from matplotlib.figure import Figure

INK: Final = "#1b1f24"
MUTED: Final = "#5b6571"
GRID: Final = "#d8dde3"
SURFACE: Final = "#fefefe"
FIRST: Final = "#0072b2"
SECOND: Final = "#d55e00"
THIRD: Final = "#009e73"

_VARIABLES: Final = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--rule",
    SURFACE: "--surface",
    FIRST: "--first",
    SECOND: "--second",
    THIRD: "--third",
}
"""Figure colours (blue, vermilion and green of Okabe and Ito, told apart in all common color deficiencies) and the
page variables that stand in for them; no figure relies on color alone."""

_RC: Final[dict[Any, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.edgecolor": "none",
    "legend.facecolor": SURFACE,
    "legend.fontsize": 9,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",
    "svg.hashsalt": "adiabat",
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}


@contextmanager
def figure_style() -> Generator[None]:
    """Apply the page's figure style, and only within the block."""
    with matplotlib.rc_context(_RC):
        yield


def inline_svg(figure: Figure, name: str, alternative: str) -> str:
    """Turn a figure into an ``<svg>`` element for the body of a page.

    Text stays text, in the page's own font; colours become the page's variables, so one figure serves light, dark
    and print; identifiers carry ``name``, so that many figures share a page.

    Args:
        figure: drawn within :func:`figure_style`; it is written within it too, whose identifiers do not change.
        name: a word that is unique on the page.
        alternative: what a reader who cannot see the figure needs to know.
    """
    buffer = io.StringIO()
    with figure_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", svg)
    svg = re.sub(r"font: ([\d.]+px) inherit", r"font-size: \1", svg)
    svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    head, body = svg.split(">", 1)
    width, height = (float(size) for size in re.findall(r'(?:width|height)="([\d.]+)pt"', head))
    title = f'<title id="{name}-title">{_escape(alternative)}</title>'
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{name}-title" '
        f'style="max-width:{width * 4 / 3:.0f}px">{title}{body}'
    )


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
