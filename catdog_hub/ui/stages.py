"""All stages: one picture through every stage in order, and what each idea changed."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from catdog_hub.errors import ImageError
from catdog_hub.ui import markup
from catdog_hub.ui.augmentation import MAX_TURN, variants
from catdog_hub.ui.blocks import QUIET, html_block
from catdog_hub.ui.classify import evidence_slider
from catdog_hub.ui.disagreements import search_in_background
from catdog_hub.ui.ladder import Answer, Ladder, read_photo
from catdog_hub.ui.picker import example_buttons, example_gallery, examples, picture_input, square_thumbnail
from catdog_hub.ui.uploads import FILE, file_of

_SHOWN_PIXELS = 480
_VARIANTS = 6
_NUMBER_WORDS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


def title(stage_count: int) -> str:
    """Return the view's name, from the number of stages."""
    word = _NUMBER_WORDS[stage_count] if stage_count < len(_NUMBER_WORDS) else str(stage_count)
    return f"{word} stage{'' if stage_count == 1 else 's'}"


def build(demo: gr.Blocks, ladder: Ladder) -> gr.Image:
    """Lay out the view and return its picture input."""

    def show(upload: dict[str, Any] | None) -> str:
        try:
            path = file_of(upload)
            if path is None:
                return _invitation(ladder)
            answers = ladder.answers(path)
            photo = read_photo(path, _SHOWN_PIXELS)
        except ImageError as error:
            return markup.note(f"{error} Try another picture.", kind="bad")
        return _headline(answers, ladder.labels) + _cards(answers, photo, ladder) + _augmentation(photo)

    with gr.Row(elem_classes="cd-split"):
        with gr.Column(scale=5, min_width=280):
            picture = picture_input("stages", height=240)
        with gr.Column(scale=7, min_width=280):
            _disagreements(demo, picture, ladder)
            examples(picture)
            evidence_slider("stages")
    result = html_block(_invitation(ladder), elem_id="stages-result")
    picture.change(show, picture, result, **FILE, **QUIET)
    return picture


def _disagreements(demo: gr.Blocks, picture: gr.Image, ladder: Ladder) -> None:
    """Offer pictures on which the stages disagree, as soon as they are found."""
    search = search_in_background(ladder)
    buttons = example_gallery("Looking for pictures they disagree on", [])

    def offer() -> str:
        found = search.result()
        if not found:
            return ""
        return example_buttons(
            "They disagree on these", [(square_thumbnail(item.picture), item.title) for item in found]
        )

    def choose(event: gr.EventData) -> object:
        found, index = search.result(), event.example
        return found[index].picture if isinstance(index, int) and 0 <= index < len(found) else gr.skip()

    demo.load(offer, None, buttons, **QUIET)
    buttons.click(choose, outputs=picture, **QUIET)


def _headline(answers: list[Answer], labels: tuple[str, ...]) -> str:
    votes = Counter(markup.verdict_words(answer.prediction, labels) for answer in answers)
    if len(votes) == 1:
        text = f"All {len(answers)} stages say {next(iter(votes))}." if len(answers) > 1 else ""
    else:
        parts = [f"{number} say{'s' if number == 1 else ''} {words}" for words, number in votes.most_common()]
        text = f"They disagree: {markup.listed(parts)}."
    return f'<h2 class="cd-headline" aria-live="polite">{escape(text)}</h2>'


def _cards(answers: list[Answer], photo: Image.Image, ladder: Ladder) -> str:
    url = markup.data_url(photo, longest=_SHOWN_PIXELS)
    cards = "".join(_card(number, answer, url, photo.size, ladder) for number, answer in enumerate(answers, 1))
    legend = markup.legend([answer.prediction for answer in answers], ladder.labels)
    return f'{legend}<ol class="cd-stages">{cards}</ol>'


def _card(number: int, answer: Answer, url: str, size: tuple[int, int], ladder: Ladder) -> str:
    stage, labels = answer.stage, ladder.labels
    facts = markup.facts(
        (
            ("Parameters", markup.short_count(stage.parameters["total"])),
            ("File", markup.file_size(answer.model_bytes)),
            ("Time", f"{answer.milliseconds:.0f} ms" if answer.milliseconds >= 1 else "< 1 ms"),
        )
    )
    return (
        f'<li class="cd-card cd-stage"><h3><span class="cd-step">{number}</span>{escape(stage.title)}</h3>'
        f'<p class="cd-idea">{escape(stage.idea)}</p>'
        f"{markup.evidence_figure(url, size, answer.prediction, labels)}"
        f"{markup.label_badge(answer.prediction, labels)}{markup.score_bars(answer.prediction, labels)}{facts}</li>"
    )


def _augmentation(photo: Image.Image) -> str:
    pictures = "".join(
        f'<li><img src="{markup.data_url(variant, longest=160)}" width="160" height="160" '
        f'alt="Your photo, variant {number}: flipped or rotated at random"></li>'
        for number, variant in enumerate(variants(photo, _VARIANTS), 1)
    )
    return (
        '<section class="cd-card"><h3>What augmentation does to this photo</h3>'
        "<p>In training, a stage with augmentation seldom meets the same picture twice: each time it is "
        f"mirrored, turned upside down or neither, and rotated at random by up to {MAX_TURN * 360:.0f} degrees either way. The corners "
        f"are filled with the picture's own mirror image.</p>"
        f'<ul class="cd-variants">{pictures}</ul></section>'
    )


def _invitation(ladder: Ladder) -> str:
    steps = "".join(
        f"<li><strong>{escape(stage.title)}.</strong> <span>{escape(stage.idea)}</span></li>"
        for stage in ladder.manifest.stages
    )
    return (
        '<div class="cd-card cd-empty-left"><p class="cd-empty-title">Give them a photo</p><p>Every stage answers the same '
        f'question with one idea more than the one before:</p><ol class="cd-ideas">{steps}</ol></div>'
    )
