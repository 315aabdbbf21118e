"""Classify: one picture, one answer, and what in the picture speaks for it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from catdog_hub.errors import ImageError
from catdog_hub.prediction import Prediction
from catdog_hub.ui import markup
from catdog_hub.ui.blocks import QUIET, html_block
from catdog_hub.ui.ladder import Answer, Ladder, read_photo
from catdog_hub.ui.picker import examples, picture_input
from catdog_hub.ui.uploads import FILE, file_of

_SHOWN_PIXELS = 800
# Below this the answer is worded as a guess.
_UNSURE = 0.75
# Confidences no farther apart than this are about the same.
_ABOUT = 0.02


def build(ladder: Ladder) -> gr.Image:
    """Lay out the view and return its picture input."""
    labels = ladder.labels

    def show(upload: dict[str, Any] | None) -> str:
        start = time.perf_counter()
        try:
            path = file_of(upload)
            if path is None:
                return _invitation(labels)
            answer = ladder.answer(path)
            milliseconds = 1000 * (time.perf_counter() - start)
            photo = read_photo(path, _SHOWN_PIXELS)
        except ImageError as error:
            return markup.note(f"{error} Try another picture.", kind="bad")
        url = markup.data_url(photo, longest=_SHOWN_PIXELS)
        figure = markup.evidence_figure(url, photo.size, answer.prediction, labels)
        return _verdict(answer, milliseconds, ladder) + (
            f'<figure class="cd-figure">{figure}<figcaption>{markup.legend([answer.prediction], labels)}'
            "</figcaption></figure>"
        )

    with gr.Row(elem_classes="cd-split"):
        with gr.Column(scale=5, min_width=280):
            picture = picture_input("classify")
            examples(picture)
        with gr.Column(scale=7, min_width=280):
            result = html_block(_invitation(labels), elem_id="classify-result")
            evidence_slider("classify")
    picture.change(show, picture, result, **FILE, **QUIET)
    return picture


def evidence_slider(view: str) -> None:
    """Add the slider for the strength of the evidence; it works in the browser alone."""
    slider = gr.Slider(
        0, 100, 70, step=5, label="Strength of the evidence over the photo (%)", elem_id=f"{view}-strength"
    )
    slider.input(
        None,
        slider,
        js=f"value => {{ document.documentElement.style.setProperty('--evidence-{view}', value / 100); }}",
        api_visibility="private",
    )


def _verdict(answer: Answer, milliseconds: float, ladder: Ladder) -> str:
    prediction, labels = answer.prediction, ladder.labels
    words = markup.verdict_words(prediction, labels)
    return (
        f'<section class="cd-card cd-verdict {markup.css_class_of(prediction.label, labels)}" aria-live="polite">'
        f'<h2><span class="cd-verdict-word">{escape(words[:1].upper() + words[1:])}</span> {_confidence(prediction)}</h2>'
        f"<p>{escape(_reading(prediction, ladder))}</p>{markup.score_bars(prediction, labels, 1)}"
        f'<p class="cd-small">{escape(answer.stage.title)} answered in {answer.milliseconds:.0f} ms'
        f" ({milliseconds:.0f} ms with reading the file).</p></section>"
    )


def _confidence(prediction: Prediction) -> str:
    if markup.is_turned_away(prediction):
        return ""
    return f'<span class="cd-verdict-confidence">{markup.percent(prediction.confidence)}</span>'


def _reading(prediction: Prediction, ladder: Ladder) -> str:
    """Say in a sentence how to take the answer."""
    if markup.is_turned_away(prediction):
        return (
            f"This picture resembles nothing it was trained on. Had it to choose, it would say {prediction.top_class}."
        )
    if prediction.confidence < _UNSURE:
        return f"Not sure: it could also be {markup.a(prediction.runner_up)}."
    if ladder.manifest.stage(prediction.stage).temperature != 1:
        bins = (ladder.release.metrics(prediction.stage).get("calibration") or {}).get("bins", ())
        if checked := _checked(prediction.confidence, bins):
            return checked
    return f"{prediction.runner_up[:1].upper() + prediction.runner_up[1:]} is the next most likely."


def _checked(confidence: float, bins: Sequence[Mapping[str, Any]]) -> str:
    """Say how many of the photos with about this confidence were right; empty where none came close."""
    nearest = min(bins, key=lambda entry: abs(entry["confidence"] - confidence), default=None)
    if nearest is None or abs(nearest["confidence"] - confidence) > _ABOUT:
        return ""
    return (
        f"Of the {markup.count(nearest['n'])} checked photos on which it was about this sure, "
        f"{markup.percent(nearest['accuracy'])} were right."
    )


def _invitation(labels: tuple[str, ...]) -> str:
    return markup.empty(
        "Give it a photo",
        f"You see at once whether it shows {markup.listed([markup.a(label) for label in labels], 'or')}, how sure the "
        "model is, and which parts of the photo speak for it.",
    )
