"""What a checker of accessibility looks at in a page."""

import re
from html.parser import HTMLParser


class Outline(HTMLParser):
    """Headings, identifiers, figures and references of the page that is fed to it."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.identifiers: list[str] = []
        self.references: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.attributes.append((tag, values))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if values.get("id"):
            self.identifiers.append(str(values["id"]))
        for name in ("href", "xlink:href", "aria-labelledby", "aria-describedby", "for"):
            if values.get(name):
                self.references.append(str(values[name]).removeprefix("#"))
