"""HTML pages parsed into tags, texts, scripts and figures."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest


@dataclass
class Page(HTMLParser):
    """A parsed page."""

    html: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            (self.scripts if tag == "script" else self.styles).append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem == "style":
            self.styles[-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def figures(self) -> list[dict]:
        kinds = [attrs.get("type") for tag, attrs in self.tags if tag == "script"]
        held = [
            script for script, kind in zip(self.scripts, kinds, strict=True) if kind == "application/json"
        ]
        return [json.loads(script, parse_constant=pytest.fail) for script in held]
