"""The photos that ship with the app, each with its author and licence."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from catdog_hub.prediction import NEITHER

SAMPLES_FOLDER = Path(__file__).with_name("samples")

_LICENCE_PAGES = {
    "CC0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC BY 2.0": "https://creativecommons.org/licenses/by/2.0/",
    "Public Domain": "https://creativecommons.org/publicdomain/mark/1.0/",
}


@dataclass(frozen=True)
class Sample:
    """One photo that may be shipped.

    Attributes:
        path: The file.
        label: What it shows: a class of the cats-and-dogs data, or `neither`.
        description: What it shows, in a few words.
        author: Who made it, and what others changed.
        licence: Short name of its licence.
    """

    path: Path
    label: str
    description: str
    author: str
    licence: str

    @property
    def title(self) -> str:
        """What the photo is called on screen."""
        words = self.description.split("(")[0].split(":")[-1].strip()
        if self.label == NEITHER:
            return words[:1].upper() + words[1:]
        return f"{self.label.capitalize()}: {words}"


@cache
def samples() -> tuple[Sample, ...]:
    """Return the photos listed in ATTRIBUTION.csv, in its order."""
    with (SAMPLES_FOLDER / "ATTRIBUTION.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Sample(SAMPLES_FOLDER / row["file"], row["label"], row["description"], row["author"], row["licence"])
            for row in csv.DictReader(file)
        )


def photo_credits() -> str:
    """Return authors and licences of all photos as an HTML list."""
    entries = []
    for sample in samples():
        page = _LICENCE_PAGES.get(sample.licence)
        licence = f'<a href="{page}" target="_blank" rel="noopener">{sample.licence}</a>' if page else sample.licence
        entries.append(f"<li>{escape(sample.title)}: {escape(sample.author)}, {licence}</li>")
    return f'<ul class="cd-credits">{"".join(entries)}</ul>'
