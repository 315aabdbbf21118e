"""Try to fool it: spoil a picture with sliders and watch every stage's answer follow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from catdog_hub.corruptions import CORRUPTIONS, Corruption, apply_all
from catdog_hub.errors import ImageError
from catdog_hub.ui import markup
from catdog_hub.ui.blocks import QUIET, html_block
from catdog_hub.ui.charts import MARKERS, Line, line_chart
from catdog_hub.ui.ladder import Answer, Ladder, read_photo
from catdog_hub.ui.picker import examples, picture_input
from catdog_hub.ui.uploads import FILE, file_of

SLIDERS = ("rotate", "crop", "blur", "darken", "shrink", "recompress", "grey")

# The photo's longer side before it is spoilt: more than any stage looks at, little enough to follow a slider.
_PHOTO_PIXELS = 512
_CURVE_POINTS = 13


def build(ladder: Ladder) -> gr.Image:
    """Lay out the view and return its picture input."""
    corruptions = [CORRUPTIONS[name] for name in SLIDERS]

    def choose(upload: dict[str, Any] | None, name: str, *severities: float) -> tuple[Image.Image | None, str, str]:
        try:
            path = file_of(upload)
            if path is None:
                return None, _invitation(), ""
            photo = read_photo(path, _PHOTO_PIXELS)
        except ImageError as error:
            return None, markup.note(f"{error} Try another picture.", kind="bad"), ""
        return photo, answer(photo, *severities), draw(name, photo, *severities)[1]

    def answer(photo: Image.Image | None, *severities: float) -> str:
        if photo is None:
            return _invitation()
        spoilt = apply_all(photo, _named(severities))
        return _answers(ladder.answers(photo), ladder.answers(spoilt), spoilt, ladder.labels)

    def draw(name: str, photo: Image.Image | None, *severities: float) -> tuple[str, str]:
        return name, "" if photo is None else _curve(name, photo, _named(severities), ladder)

    def reset(name: str, photo: Image.Image | None) -> tuple[object, ...]:
        neutral = [_limits(corruption)[2] for corruption in corruptions]
        return answer(photo, *neutral), draw(name, photo, *neutral)[1], *neutral

    photo, moved = gr.State(None), gr.State(SLIDERS[0])
    with gr.Row(elem_id="fool-grid"):
        with gr.Column(elem_classes="cd-area-picture", min_width=260):
            picture = picture_input("fool", height=300)
        with gr.Column(elem_classes="cd-area-examples", min_width=260):
            examples(picture)
        with gr.Column(elem_classes="cd-area-answers", min_width=260):
            answers = html_block(_invitation(), elem_id="fool-result")
        with gr.Column(elem_classes="cd-area-sliders", min_width=260), gr.Group():
            sliders = [_slider(corruption) for corruption in corruptions]
            undo = gr.Button("Undo all", size="sm", elem_id="fool-reset")
        with gr.Column(elem_classes="cd-area-curve", min_width=260):
            curve = html_block("", elem_id="fool-curve")
    picture.change(choose, [picture, moved, *sliders], [photo, answers, curve], **FILE, **QUIET)
    for name, slider in zip(SLIDERS, sliders, strict=True):
        # Two events: the answers follow at once, the curve, which takes a dozen times as long, when it can.
        slider.input(answer, [photo, *sliders], answers, trigger_mode="always_last", **QUIET)
        slider.input(partial(draw, name), [photo, *sliders], [moved, curve], trigger_mode="always_last", **QUIET)
    undo.click(reset, [moved, photo], [answers, curve, *sliders], **QUIET)
    return picture


def _named(severities: Sequence[float]) -> dict[str, float]:
    return dict(zip(SLIDERS, severities, strict=True))


def _slider(corruption: Corruption) -> gr.Slider:
    low, high, neutral = _limits(corruption)
    return gr.Slider(
        low,
        high,
        neutral,
        step=0.1 if high - low <= 10 else 1,
        label=f"{corruption.title} ({corruption.unit})",
        elem_id=f"fool-{corruption.name}",
        buttons=[],
    )


def _limits(corruption: Corruption) -> tuple[float, float, float]:
    """Return lowest, highest and neutral value; nothing beyond the photo's own size can be told apart."""
    if corruption.name == "shrink":
        return corruption.low, _PHOTO_PIXELS, _PHOTO_PIXELS
    return corruption.low, corruption.high, corruption.neutral


def _answers(before: Sequence[Answer], after: Sequence[Answer], spoilt: Image.Image, labels: tuple[str, ...]) -> str:
    changed = sum(old.prediction.label != new.prediction.label for old, new in zip(before, after, strict=True))
    if not changed:
        headline = "Every stage sticks to its answer."
    elif changed == len(after) and changed > 1:
        headline = "You fooled them all: every stage changed its mind."
    else:
        headline = f"{changed} of {len(after)} stages changed {'its' if changed == 1 else 'their'} mind."
    rows = "".join(_row(old, new, labels) for old, new in zip(before, after, strict=True))
    width, height = spoilt.size
    return (
        f'<section class="cd-card cd-fooled"><img class="cd-spoilt" src="{markup.data_url(spoilt, longest=360)}" '
        f'width="{width}" height="{height}" alt="Your picture as the sliders spoil it"><div>'
        f'<h2 class="cd-headline" aria-live="polite">{headline}</h2><ul class="cd-rows">{rows}</ul></div></section>'
    )


def _row(before: Answer, after: Answer, labels: tuple[str, ...]) -> str:
    old, new = before.prediction, after.prediction
    was = f", before {markup.verdict_words(old, labels)}" if old.label != new.label else ""
    return (
        f'<li class="{markup.css_class_of(new.label, labels)}"><span class="cd-row-name">{escape(after.stage.title)}</span>'
        f'<span class="cd-row-answer"><strong>{escape(markup.verdict_words(new, labels))}</strong> '
        f"{markup.certainty(new)}<span class='cd-small'>{escape(was)}</span></span>{markup.certainty_bar(new)}</li>"
    )


def _curve(name: str, photo: Image.Image, values: dict[str, float], ladder: Ladder) -> str:
    """Draw every stage's probability of the unspoilt picture's class, along one slider, the others as they are."""
    corruption = CORRUPTIONS[name]
    low, high, _ = _limits(corruption)
    positions = [low + (high - low) * index / (_CURVE_POINTS - 1) for index in range(_CURVE_POINTS)]
    answer = ladder.answer(photo).prediction
    target = answer.top_class
    along = [ladder.answers(apply_all(photo, values | {name: position})) for position in positions]
    lines = [
        Line(
            stage.title,
            positions,
            [answers[index].prediction.scores[target] for answers in along],
            f"var(--stage-{index})",
            marker=MARKERS[index % len(MARKERS)],
        )
        for index, stage in enumerate(ladder.manifest.stages)
    ]
    turned_away = markup.is_turned_away(answer)
    aside = (
        f"The photo is {markup.verdict_words(answer, ladder.labels)}: “{target}” is what it resembles more. "
        if turned_away
        else ""
    )
    lowest = markup.listed([f"{line.name} falls to {markup.percent(min(line.ys))}" for line in lines])
    chart = line_chart(
        lines,
        title=f"Probability of “{target}” along “{corruption.title}”",
        summary=f"{lowest}.",
        x_name=corruption.unit,
        x_range=(low, high),
        x_ticks=[low + (high - low) * quarter / 4 for quarter in range(5)],
        x_format=lambda value: f"{value:.0f}" if high - low > 10 else f"{value:.3g}",
        y_range=(0, 1),
        y_format=lambda value: f"{100 * value:.0f} %",
        marked_x=values[name],
    )
    return (
        f'<section class="cd-card">{chart}<p class="cd-small">{aside}The dotted line is where the slider stands. A line that stays '
        "high belongs to a stage that this change does not fool.</p></section>"
    )


def _invitation() -> str:
    return markup.empty(
        "Give it a photo, then spoil it",
        "Turn it, blur it, darken it. Every stage's answer follows the sliders, and you see what augmentation and "
        "pretraining buy.",
    )
