"""Many pictures: files, zip archives or a folder to a table."""

from __future__ import annotations

import base64
import csv
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePath
from typing import Any

import gradio as gr

from catdog_hub.errors import ImageError
from catdog_hub.images import load_rgb
from catdog_hub.prediction import Prediction
from catdog_hub.ui import markup
from catdog_hub.ui.archives import MAX_PICTURES, Item, unpack
from catdog_hub.ui.blocks import QUIET, html_block
from catdog_hub.ui.ladder import Ladder
from catdog_hub.ui.uploads import FILE, MAX_ARCHIVE_BYTES, MAX_PICTURE_BYTES, file_of, megabytes

_THUMBNAIL = 64
# Pictures between two reports of progress.
_CHUNK = 16


@dataclass(frozen=True)
class Row:
    """One file of the table.

    Attributes:
        file: Its name, with the archive it came in.
        prediction: What the default stage says; `None` where the file could not be read.
        words: The answer in words, or the reason why there is none.
        thumbnail: A small picture as a URL; empty where there is none.
    """

    file: str
    prediction: Prediction | None
    words: str
    thumbnail: str


def _sureness(row: Row) -> tuple[int, float]:
    """Return what rows are compared by: unreadable ones, then those turned away, then answers by their confidence."""
    if row.prediction is None:
        return 0, 0.0
    if markup.is_turned_away(row.prediction):
        return 1, row.prediction.familiarity or 0.0
    return 2, row.prediction.confidence


# Sort key, and whether the greatest comes first.
_ORDERS: dict[str, tuple[Callable[[Row], Any], bool]] = {
    "as given": (lambda _: 0, False),
    "file name": (lambda row: row.file.casefold(), False),
    "answer": (lambda row: (row.prediction is None, row.words), False),
    "least sure first": (_sureness, False),
    "most sure first": (_sureness, True),
}


def build(ladder: Ladder) -> None:
    """Lay out the view."""

    def classify(files: list[dict[str, Any]] | None, order: str) -> Iterator[tuple[list[Row], str]]:
        if not files:
            yield [], _invitation()
            return
        start = time.perf_counter()
        rows: list[Row] = []
        items = unpack(map(_item, files))
        for done in range(0, len(items), _CHUNK):
            yield rows, _progress(done, len(items))
            rows += _classify(items[done : done + _CHUNK], ladder)
        yield rows, _table(rows, order, ladder, time.perf_counter() - start)

    def sort(rows: list[Row], order: str) -> str:
        return _table(rows, order, ladder) if rows else _invitation()

    rows = gr.State([])
    with gr.Row(elem_classes="cd-split"):
        with gr.Column(scale=5, min_width=260):
            files = gr.File(file_count="multiple", label="Pictures or zip archives", height=170, elem_id="batch-files")
            folder = gr.UploadButton("Choose a folder", file_count="directory", size="sm", elem_id="batch-folder")
        with gr.Column(scale=4, min_width=260):
            order = gr.Radio(list(_ORDERS), value="as given", label="Order of the table", elem_id="batch-order")
    result = html_block(_invitation(), elem_id="batch-result")
    files.change(classify, [files, order], [rows, result], **FILE, **QUIET)
    folder.upload(classify, [folder, order], [rows, result], **FILE, **QUIET)
    order.input(sort, [rows, order], result, **QUIET)


def _item(upload: Mapping[str, Any]) -> Item:
    name = PurePath(upload.get("path") or "").name
    try:
        return Item(name, file_of(upload, at_most=MAX_ARCHIVE_BYTES) or b"")
    except ImageError as error:
        return Item(name, problem=str(error))


def _classify(items: Sequence[Item], ladder: Ladder) -> list[Row]:
    readable = [item for item in items if item.problem is None]
    answers = iter(ladder.classifier().predict([item.open() for item in readable], on_error="return"))
    rows = []
    for item in items:
        answer = ImageError(item.problem) if item.problem is not None else next(answers)
        if isinstance(answer, Prediction):
            thumbnail = load_rgb(item.open(), at_least=(_THUMBNAIL * 2, _THUMBNAIL * 2))
            rows.append(
                Row(
                    item.name,
                    answer,
                    markup.verdict_words(answer, ladder.labels),
                    markup.data_url(thumbnail, longest=_THUMBNAIL * 2, quality=65),
                )
            )
        else:
            rows.append(Row(item.name, None, str(answer), ""))
    return rows


def _progress(done: int, total: int) -> str:
    return (
        f'<div class="cd-card" role="status"><label>{done} of {total} pictures'
        f'<progress class="cd-progress" max="{total}" value="{done}"></progress></label></div>'
    )


def _table(rows: Sequence[Row], order: str, ladder: Ladder, seconds: float | None = None) -> str:
    key, reverse = _ORDERS.get(order, _ORDERS["as given"])
    ordered = sorted(rows, key=key, reverse=reverse)
    votes = Counter(row.words for row in rows if row.prediction)
    parts = [f"{number} {words}" for words, number in votes.most_common()]
    if unreadable := sum(row.prediction is None for row in rows):
        parts.append(f"{unreadable} unreadable")
    took = f" in {seconds:.1f} s" if seconds is not None else ""
    files = "1 file" if len(rows) == 1 else f"{len(rows)} files"
    body = "".join(_table_row(row, ladder.labels) for row in ordered)
    return (
        f'<section class="cd-card"><div class="cd-table-head"><h2 class="cd-headline" aria-live="polite">{files}{took}: '
        f'{escape(", ".join(parts))}.</h2><a class="cd-button" download="predictions.csv" '
        f'href="{_csv_url(ordered, ladder.labels)}">Download as CSV</a></div><table class="cd-table"><thead><tr>'
        f'<th scope="col">Picture</th><th scope="col">Answer</th><th scope="col">Confidence</th><th scope="col">File</th>'
        f"</tr></thead><tbody>{body}</tbody></table></section>"
    )


def _table_row(row: Row, labels: tuple[str, ...]) -> str:
    name = escape(row.file)
    if row.prediction is None:
        return (
            f'<tr class="cd-unreadable"><td><span class="cd-thumbnail" aria-hidden="true">?</span></td>'
            f'<td colspan="2"><strong>Not read.</strong> {escape(row.words)}</td><td class="cd-file">{name}</td></tr>'
        )
    css_class = markup.css_class_of(row.prediction.label, labels)
    return (
        f'<tr class="{css_class}"><td><img class="cd-thumbnail" src="{row.thumbnail}" width="{_THUMBNAIL}" '
        f'height="{_THUMBNAIL}" alt="" loading="lazy"></td><td>{markup.label_badge(row.prediction, labels)}</td>'
        f'<td><span class="cd-confidence">{markup.certainty(row.prediction, 1)}'
        f'{markup.certainty_bar(row.prediction)}</span></td><td class="cd-file">{name}</td></tr>'
    )


def _csv_url(rows: Sequence[Row], labels: tuple[str, ...]) -> str:
    """Return the table as a `data:` URL, so that no file of it stays on the server."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["file", "label", "confidence", *labels, "familiarity", "error"])
    for row in rows:
        prediction = row.prediction
        label = prediction.label if prediction else ""
        # Probabilities are those of the classes: a picture that is none of them has only its familiarity.
        scores = prediction.scores if prediction and not markup.is_turned_away(prediction) else {}
        numbers = [scores.get(label), *(scores.get(name) for name in labels), prediction and prediction.familiarity]
        error = "" if prediction else row.words
        writer.writerow([row.file, label, *("" if number is None else f"{number:.6f}" for number in numbers), error])
    encoded = base64.b64encode(buffer.getvalue().encode("utf-8-sig")).decode("ascii")
    return f"data:text/csv;charset=utf-8;base64,{encoded}"


def _invitation() -> str:
    return markup.empty(
        "Give it many photos at once",
        f"Files, zip archives or a whole folder: up to {MAX_PICTURES} pictures of at most {megabytes(MAX_PICTURE_BYTES)} each, "
        f"archives of at most {megabytes(MAX_ARCHIVE_BYTES)}. You get a table with one row per file, also for those that "
        "cannot be read, and can download it.",
    )
