"""Small pieces of HTML that several views share. Everything that comes from a release or a visitor is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TypeAlias

import numpy as np
from PIL import Image

from catdog_hub.evidence import class_color, coarsen, tint
from catdog_hub.prediction import NEITHER, Prediction

Html: TypeAlias = str

# The map has few cells (down to 5 x 5): this many pixels are enough, and the browser smooths the rest.
_TINT_PIXELS = 200

# Below this familiarity a picture is turned away (catdog_hub.prediction.Prediction.familiarity).
FAMILIAR = 0.5


def data_url(image: Image.Image, *, longest: int, quality: int = 82) -> str:
    """Return a picture as a `data:` URL, so that no file of it has to be kept on the server."""
    small = image.copy()
    small.thumbnail((longest, longest))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=quality, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def percent(value: float, digits: int = 0) -> str:
    """Return a proportion as per cent; never "100 %" or "0 %" for what only comes close."""
    limit = 0.5 * 10 ** -(digits + 2)
    if 1 - limit <= value < 1:
        return f"> {100 - 10**-digits:.{digits}f} %"
    if 0 < value < limit:
        return f"< {10**-digits:.{digits}f} %"
    return f"{100 * value:.{digits}f} %"


def count(number: int) -> str:
    """Return a number with thousands set apart by thin spaces."""
    return f"{int(number):,}".replace(",", "\u2009")


def short_count(number: int) -> str:
    """Return a large number in millions or thousands."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {letter}"
    return str(number)


def file_size(size: int) -> str:
    """Return a size in bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(size, 1000) / 1e3:.0f} kB"


def listed(words: Sequence[str], conjunction: str = "and") -> str:
    """Return "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


def a(word: str) -> str:
    """Return a word with its indefinite article."""
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"


def css_class_of(label: str, labels: Sequence[str]) -> str:
    """Return the CSS class that gives a label its colour."""
    return f"cd-class-{labels.index(label)}" if label in labels else "cd-class-neither"


def verdict_words(prediction: Prediction, labels: Sequence[str]) -> str:
    """Return the answer in words: a class, or that it is none of them."""
    if prediction.label != NEITHER or NEITHER in labels:
        return prediction.label
    if len(labels) == 2:
        return f"neither {labels[0]} nor {labels[1]}"
    return f"none of {listed(labels, 'or')}"


def is_turned_away(prediction: Prediction) -> bool:
    """Say whether the answer is none of the classes, so that their probabilities do not belong to it."""
    return prediction.label not in prediction.scores


def familiarity(prediction: Prediction) -> str:
    """Return how much the picture resembles the training pictures, in words."""
    return f"familiarity {prediction.familiarity or 0:.2f}"


def certainty(prediction: Prediction, digits: int = 0) -> Html:
    """Return the confidence; of a picture that was turned away, its familiarity."""
    if is_turned_away(prediction):
        return f'<span class="cd-small">{familiarity(prediction)}</span>'
    return percent(prediction.confidence, digits)


def certainty_bar(prediction: Prediction) -> Html:
    """Return a bar as long as the confidence; an empty one for a picture that was turned away."""
    bar = "" if is_turned_away(prediction) else f'<span style="width:{100 * prediction.confidence:.1f}%"></span>'
    return f'<span class="cd-bar-track" aria-hidden="true">{bar}</span>'


def label_badge(prediction: Prediction, labels: Sequence[str]) -> Html:
    """Return the answer as a coloured word."""
    words = verdict_words(prediction, labels)
    return f'<strong class="cd-badge {css_class_of(prediction.label, labels)}">{escape(words)}</strong>'


def score_bars(prediction: Prediction, labels: Sequence[str], digits: int = 0) -> Html:
    """Return one bar per class, always in the order of the labels so that pictures can be compared.

    A picture that was turned away has its familiarity instead: the classes share a probability of which it has no part.
    """
    if is_turned_away(prediction):
        return f'<p class="cd-small">{familiarity(prediction).capitalize()}; {FAMILIAR:.2f} is needed.</p>'
    rows = "".join(
        f'<div class="cd-bar {css_class_of(label, labels)}"><span class="cd-bar-name">{escape(label)}</span>'
        f'<span class="cd-bar-track" aria-hidden="true"><span style="width:{100 * prediction.scores[label]:.2f}%">'
        f'</span></span><span class="cd-bar-value">{percent(prediction.scores[label], digits)}</span></div>'
        for label in labels
    )
    return f'<div class="cd-bars">{rows}</div>'


def evidence_figure(photo_url: str, size: tuple[int, int], prediction: Prediction, labels: Sequence[str]) -> Html:
    """Return the photo with its evidence over it; the strength is the CSS variable `--evidence`.

    Args:
        photo_url: The photo as a URL.
        size: Its width and height, so that nothing jumps while it loads.
        prediction: Whose evidence.
        labels: Class names in order.
    """
    width, height = size
    evidence = prediction.evidence
    top, other = labels.index(prediction.top_class), labels.index(prediction.runner_up)
    layer = tint(evidence, _fitting(size, _TINT_PIXELS), positive=class_color(top), negative=class_color(other))
    buffer = io.BytesIO()
    layer.save(buffer, "WEBP", quality=80, alpha_quality=90)
    layer_url = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    alt = f"The photo with its evidence: {describe_evidence(prediction)}"
    return (
        f'<div class="cd-evidence" style="--ratio:{width / height:.4f}" role="img" aria-label="{escape(alt)}">'
        f'<img src="{photo_url}" width="{width}" height="{height}" alt="">'
        f'<img class="cd-tint" src="{layer_url}" width="{width}" height="{height}" alt=""></div>'
    )


def describe_evidence(prediction: Prediction) -> str:
    """Say in words where the strongest evidence lies, for those who do not see the colours."""
    evidence = coarsen(prediction.evidence)
    parts = []
    if evidence.max() > 0:
        parts.append(
            f"most for {prediction.top_class} {_place(np.unravel_index(evidence.argmax(), evidence.shape), evidence)}"
        )
    if evidence.min() < 0:
        parts.append(
            f"most for {prediction.runner_up} {_place(np.unravel_index(evidence.argmin(), evidence.shape), evidence)}"
        )
    return ", ".join(parts) or "no region speaks for either class"


def legend(predictions: Sequence[Prediction], labels: Sequence[str]) -> Html:
    """Return what the colours over the photos mean."""
    drawn = {label for prediction in predictions for label in (prediction.top_class, prediction.runner_up)}
    entries = "".join(
        f'<li class="{css_class_of(label, labels)}"><span class="cd-swatch" aria-hidden="true"></span>'
        f"speaks for {escape(label)}</li>"
        for label in labels
        if label in drawn
    )
    return f'<ul class="cd-legend">{entries}</ul>'


def facts(pairs: Sequence[tuple[str, str]]) -> Html:
    """Return names and values as a description list; the values are text, not HTML."""
    entries = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="cd-facts">{entries}</dl>'


def note(text: str, *, kind: str = "plain") -> Html:
    """Return a sentence set apart; `kind` is `plain` or `bad` (which is announced to screen readers)."""
    role = ' role="alert"' if kind == "bad" else ""
    return f'<p class="cd-note cd-note-{kind}"{role}>{escape(text)}</p>'


def empty(title: str, text: str) -> Html:
    """Return what a view shows before there is anything to show."""
    return f'<div class="cd-card cd-empty"><p class="cd-empty-title">{escape(title)}</p><p>{escape(text)}</p></div>'


def _fitting(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _place(position: Sequence[np.intp], evidence: np.ndarray) -> str:
    row, column = (int(3 * (index + 0.5) / length) for index, length in zip(position, evidence.shape, strict=True))
    if row == column == 1:
        return "in the middle"
    names = [("at the top", "", "at the bottom")[row], ("left", "", "right")[column]]
    return " ".join(name for name in names if name) if names[0] else f"on the {names[1]}"
