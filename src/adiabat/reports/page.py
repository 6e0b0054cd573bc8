"""Building blocks of a self-contained HTML page: headings, tables, figures, key numbers.

The page forbids itself the network by its content-security policy; everything it needs is in the one file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from adiabat.reports.stylesheet import STYLESHEET

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own.

    Attributes:
        anchor: a word that is unique on the page, for links.
        title: the heading.
        body: HTML.
    """

    anchor: str
    title: str
    body: str


@dataclass(frozen=True)
class KeyNumber:
    """A number that a reader looks for first.

    Attributes:
        label: what it is.
        value: the number.
        unit: its unit.
        detail: what to compare it with.
    """

    label: str
    value: str
    unit: str
    detail: str


def document(title: str, introduction: str, sections: Sequence[Section], closing: str) -> str:
    """The whole page.

    Args:
        title: heading and window title, plain text.
        introduction: HTML under the heading.
        sections: the parts, in order; the navigation is made from them.
        closing: HTML of the footer.
    """
    links = "".join(f'<li><a href="#{part.anchor}">{escape(part.title)}</a></li>' for part in sections)
    parts = "\n".join(
        f'<section aria-labelledby="{part.anchor}">\n<h2 id="{part.anchor}">{escape(part.title)}</h2>\n'
        f"{part.body}\n</section>"
        for part in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>{STYLESHEET}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the results</a>
<header>
<h1>{escape(title)}</h1>
{introduction}
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main id="content">
{parts}
</main>
<footer>{closing}</footer>
</body>
</html>
"""


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text; ``kind`` may be ``lead`` or ``note``."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def bullets(points: Sequence[str]) -> str:
    """A list of plain sentences."""
    return "<ul>" + "".join(f"<li>{escape(point)}</li>" for point in points) + "</ul>"


def links(text: str, targets: Sequence[tuple[str, str]]) -> str:
    """A sentence of links to files beside the page: what each is called, and its relative path."""
    found = ", ".join(f'<a href="{escape(path, quote=True)}">{escape(name)}</a>' for name, path in targets)
    return f'<p class="note">{escape(text)} {found}.</p>'


def key_numbers(numbers: Sequence[KeyNumber]) -> str:
    """A row of key numbers."""
    items = "".join(
        f"<div><dt>{escape(number.label)}</dt><dd>{escape(number.value)} <small>{escape(number.unit)}</small></dd>"
        f'<dd class="detail">{escape(number.detail)}</dd></div>'
        for number in numbers
    )
    return f'<dl class="tiles">{items}</dl>'


def figure(svg: str, title: str, caption: str) -> str:
    """A figure with its caption; ``title`` and ``caption`` are plain text."""
    return f"<figure>{svg}<figcaption><strong>{escape(title)}</strong> {escape(caption)}</figcaption></figure>"


def panels(figures: Sequence[str]) -> str:
    """Figures side by side, as many as the width holds."""
    return f'<div class="panels">{"".join(figures)}</div>'


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: bool = True) -> str:
    """A table whose first column names the rows; the others are numbers, aligned right, unless told otherwise."""
    kind = ' class="number"' if numeric else ""
    head = f'<th scope="col">{escape(columns[0])}</th>' + "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for name in columns[1:]
    )
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td{kind}>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def folded(summary: str, body: str) -> str:
    """Something that opens on request."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def preformatted(text: str) -> str:
    """Text in fixed width, lines kept."""
    return f"<pre>{escape(text)}</pre>"
