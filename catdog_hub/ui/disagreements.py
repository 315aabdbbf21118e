"""Pictures on which the stages disagree, found by asking them: they tell more than those on which all agree."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from catdog_hub.corruptions import CORRUPTIONS
from catdog_hub.ui.ladder import Ladder, read_photo
from catdog_hub.ui.samples import samples

_PIXELS = 512
_AT_MOST = 6
_PER_PHOTO = 2

# Kind of change, severity, and how it is called.
_CHANGES = (
    ("rotate", 0, ""),
    ("rotate", 180, "upside down"),
    ("rotate", 45, "turned by 45°"),
    ("crop", 30, "cropped"),
    ("blur", 2, "blurred"),
    ("darken", 20, "darkened"),
    ("grey", 100, "grey"),
    ("shrink", 40, "shrunk to 40 pixels"),
)


@dataclass(frozen=True)
class Disagreement:
    """A picture on which some stages differ from the default one.

    Attributes:
        title: What it shows and how it was changed.
        picture: The picture.
        dissent: How many stages give another answer than the default stage.
    """

    title: str
    picture: Image.Image
    dissent: int


def search_in_background(ladder: Ladder) -> Future[list[Disagreement]]:
    """Start looking, so that the app need not wait."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="disagreements")
    future = pool.submit(find, ladder)
    pool.shutdown(wait=False)
    return future


def find(ladder: Ladder) -> list[Disagreement]:
    """Return the most telling pictures among the shippable photos and their changes, best first."""
    default = ladder.manifest.stage_names.index(ladder.manifest.default_stage)
    chosen: list[tuple[int, bool, Disagreement]] = []
    for sample in samples():
        photo = read_photo(sample.path, _PIXELS)
        found = []
        for name, severity, words in _CHANGES:
            picture = CORRUPTIONS[name](photo, severity)
            labels = [answer.prediction.label for answer in ladder.answers(picture)]
            dissent = sum(label != labels[default] for label in labels)
            # Where the shown thing is a class, the default stage should be the one that is right.
            if dissent and (sample.label not in ladder.labels or labels[default] == sample.label):
                title = f"{sample.title}, {words}" if words else sample.title
                found.append(Disagreement(title, picture, dissent))
        # The sort is stable: among equals, the less changed picture comes first.
        found.sort(key=lambda item: -item.dissent)
        chosen += [(rank, sample.label not in ladder.labels, item) for rank, item in enumerate(found[:_PER_PHOTO])]
    # Every photo once before one comes twice, and those of a class before those on which most stages can only be wrong.
    chosen.sort(key=lambda entry: (entry[0], entry[1], -entry[2].dissent))
    return [item for _, _, item in chosen[:_AT_MOST]]
