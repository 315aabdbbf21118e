"""Training curves: accuracy and loss of every stage, on the training pictures against pictures it never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from catdog_hub.release import Manifest, Release, StageRecord
from catdog_hub.ui import markup
from catdog_hub.ui.blocks import QUIET, html_block
from catdog_hub.ui.charts import MARKERS, Line, line_chart

# A difference of this many points between training and validation accuracy is called overfitting.
OVERFITTING = 0.10

# Validation can come out ahead where augmentation makes the training photos harder.
_HARDER_TRAINING = -0.03

_NOTEBOOK_DASH = "2 4"


def build(release: Release) -> None:
    """Lay out the view."""
    histories = {name: release.history(name) for name in release.manifest.stage_names}
    recorded = [stage for stage in release.manifest.stages if histories[stage.name].get("accuracy")]
    if not recorded:
        html_block(markup.empty("No curves", "This release carries no training history."))
        return
    has_notebook = any("notebook" in histories[stage.name] for stage in recorded)

    def show(names: Sequence[str], with_notebook: bool) -> str:
        chosen = [stage for stage in recorded if stage.name in names]
        if not chosen:
            return markup.empty("No stage chosen", "Tick at least one stage to see its curves.")
        cards = "".join(_stage_card(stage, histories[stage.name], with_notebook) for stage in chosen)
        return _comparison(chosen, histories, release.manifest) + f'<div class="cd-curves">{cards}</div>'

    with gr.Row(elem_classes="cd-controls"):
        choice = gr.CheckboxGroup(
            [(stage.title, stage.name) for stage in recorded],
            value=[stage.name for stage in recorded],
            label="Stages",
            elem_id="curves-stages",
            scale=4,
        )
        notebook = gr.Checkbox(
            has_notebook,
            label="With the notebook's own curves",
            elem_id="curves-notebook",
            visible=has_notebook,
            scale=1,
            min_width=290,
        )
    result = html_block(show([stage.name for stage in recorded], has_notebook), elem_id="curves-result")
    gr.on([choice.change, notebook.change], show, [choice, notebook], result, **QUIET)


def overfitting(history: Mapping[str, Any]) -> str:
    """Say in words how far training and validation accuracy are apart at the end, and whether the loss turned."""
    training, validation = history["accuracy"][-1], history["val_accuracy"][-1]
    gap = training - validation
    seen = (
        f"{markup.percent(training)} of its training photos are right in the end, and "
        f"{markup.percent(validation)} of the photos it never saw"
    )
    if gap <= _HARDER_TRAINING:
        return f"{seen}. Training photos are shown flipped and rotated, which makes them harder than new ones."
    if gap < OVERFITTING:
        return f"{seen}: what it learned holds for new photos too."
    text = f"Overfitting: {seen}. The gap of {100 * gap:.0f} points is what it learned by heart."
    losses = history["val_loss"]
    best = min(range(len(losses)), key=losses.__getitem__)
    if losses[-1] > 1.1 * losses[best] and best + 1 < len(losses):
        text += f" Its validation loss was lowest after epoch {best + 1} and has grown since."
    return text


def _comparison(chosen: Sequence[StageRecord], histories: Mapping[str, Any], manifest: Manifest) -> str:
    lines = []
    for stage in chosen:
        index = manifest.stage_names.index(stage.name)
        values = histories[stage.name]["val_accuracy"]
        lines.append(
            Line(stage.title, _epochs(values), values, f"var(--stage-{index})", marker=MARKERS[index % len(MARKERS)])
        )
    ends = markup.listed([f"{line.name} ends at {markup.percent(line.ys[-1])}" for line in lines])
    chart = line_chart(
        lines,
        title="Validation accuracy of all chosen stages",
        summary=f"{ends}.",
        x_name="epoch",
        y_range=_accuracy_range(value for line in lines for value in line.ys),
        y_format=_per_cent,
    )
    return (
        f'<section class="cd-card cd-comparison">{chart}<div><h3>How to read this</h3><p>In one epoch a stage sees every '
        "training photo once. The <strong>training</strong> accuracy counts how many of those it gets right; the "
        "<strong>validation</strong> accuracy counts photos it never learns from, and only that tells what it will do with "
        f"yours.</p>{_without(histories, manifest)}<p>Where the two lines part, the stage has begun to learn its photos by heart: it is "
        "<strong>overfitting</strong>. Loss also counts how sure it was when it was wrong, and rises first.</p></div></section>"
    )


def _without(histories: Mapping[str, Any], manifest: Manifest) -> str:
    titles = [stage.title for stage in manifest.stages if not histories[stage.name].get("accuracy")]
    return f"<p>Not trained in epochs, hence without curves: {escape(markup.listed(titles))}.</p>" if titles else ""


def _stage_card(stage: StageRecord, history: Mapping[str, Any], with_notebook: bool) -> str:
    seconds = history.get("seconds") or []
    pace = f"{sum(seconds) / len(seconds):.1f} s per epoch, {len(seconds)} epochs" if seconds else ""
    notebook = history.get("notebook") if with_notebook else None
    return (
        f'<section class="cd-card"><h3>{escape(stage.title)} <span class="cd-small">{pace}</span></h3>'
        f'<p>{escape(overfitting(history))}</p><div class="cd-charts">'
        f"{_chart('accuracy', history, notebook)}{_chart('loss', history, notebook)}</div></section>"
    )


def _chart(quantity: str, history: Mapping[str, Any], notebook: Mapping[str, Any] | None) -> str:
    training = Line("training", _epochs(history[quantity]), history[quantity], "var(--strong-line)", dash="6 3")
    values = history[f"val_{quantity}"]
    validation = Line("validation", _epochs(values), values, "var(--accent)", width=2.6)
    lines = [training, validation]
    if notebook:
        for key, name, color in (
            (quantity, "training", "--strong-line"),
            (f"val_{quantity}", "validation", "--accent"),
        ):
            values = notebook[key]
            lines.append(Line(f"notebook, {name}", _epochs(values), values, f"var({color})", _NOTEBOOK_DASH, 1.6))
    everything = [value for line in lines for value in line.ys]
    gap = training.ys[-1] - validation.ys[-1]
    same_length = len(training.ys) == len(validation.ys) > 1
    overfits = quantity == "accuracy" and same_length and gap >= OVERFITTING
    return line_chart(
        lines,
        title=quantity.capitalize(),
        summary=f"After the last epoch {training.ys[-1]:.2f} in training and {validation.ys[-1]:.2f} in validation.",
        x_name="epoch",
        y_range=_accuracy_range(everything) if quantity == "accuracy" else (0, _loss_limit(everything)),
        y_format=_per_cent if quantity == "accuracy" else "{:g}".format,
        band=(training, validation, f"gap {100 * gap:.0f} points") if overfits else None,
    )


def _epochs(values: Sequence[float]) -> range:
    return range(1, len(values) + 1)


def _accuracy_range(values: Any) -> tuple[float, float]:  # noqa: ANN401 - any iterable of floats
    return min(0.4, *(int(10 * value) / 10 for value in values)), 1.0


def _loss_limit(values: Sequence[float]) -> float:
    # One wild first epoch must not flatten the rest: the axis ends at the 95th percentile, with some room.
    ordered = sorted(values)
    return max(1.0, 1.15 * ordered[int(0.95 * (len(ordered) - 1))])


def _per_cent(value: float) -> str:
    return f"{100 * value:.0f} %"
