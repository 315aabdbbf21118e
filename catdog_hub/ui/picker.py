"""Where a visitor gives a picture: upload, drop, paste, webcam, or one of the examples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path

import gradio as gr
from PIL import Image

from catdog_hub.ui.blocks import QUIET, html_block
from catdog_hub.ui.ladder import read_photo
from catdog_hub.ui.markup import data_url
from catdog_hub.ui.samples import Sample, samples

_SEND_EXAMPLE = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-example]');
  if (button) trigger('click', {example: Number(button.dataset.example)});
});
"""


def picture_input(name: str, *, height: int = 300) -> gr.Image:
    """Make a picture input; `name` becomes part of its element id. Events read it with `FILE` and `file_of`."""
    return gr.Image(
        type="filepath",
        sources=["upload", "webcam", "clipboard"],
        label="Your picture",
        height=height,
        buttons=["fullscreen"],
        elem_id=f"{name}-picture",
        elem_classes="cd-picture",
        placeholder="Drop a photo here\n- or -\nclick to choose one",
        alt_text="The picture you chose",
    )


def examples(target: gr.Image, *, heading: str = "Examples") -> None:
    """Show the shippable photos as buttons that put themselves into `target`."""
    buttons = example_gallery(heading, _sample_thumbnails())

    def choose(event: gr.EventData) -> str:
        return str(_sample_at(event.example).path)

    buttons.click(choose, outputs=target, **QUIET, queue=False)


def example_gallery(heading: str, entries: Sequence[tuple[str, str]]) -> gr.HTML:
    """Show thumbnails whose click event carries `example`, the index of the one that was clicked."""
    return html_block(example_buttons(heading, entries), js_on_load=_SEND_EXAMPLE)


def example_buttons(heading: str, entries: Sequence[tuple[str, str]]) -> str:
    """Return a row of thumbnails to click.

    Args:
        heading: What the row is called.
        entries: For each example its thumbnail as a URL, and what it shows.
    """
    buttons = "".join(
        f'<button type="button" data-example="{index}" title="{escape(title)}">'
        f'<img src="{url}" alt="{escape(title)}" width="64" height="64"></button>'
        for index, (url, title) in enumerate(entries)
    )
    return f'<p class="cd-label">{escape(heading)}</p><div class="cd-examples">{buttons}</div>'


def square_thumbnail(photo: Image.Image) -> str:
    """Return the middle of a photo as a small square, as a URL."""
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    return data_url(photo.crop((left, top, left + side, top + side)), longest=128, quality=70)


def _sample_at(index: object) -> Sample:
    """Return a sample by an index that comes from the browser."""
    known = samples()
    return known[index] if isinstance(index, int) and 0 <= index < len(known) else known[0]


@cache
def _sample_thumbnails() -> list[tuple[str, str]]:
    return [(square_thumbnail(read_photo(Path(sample.path), 256)), sample.title) for sample in samples()]
