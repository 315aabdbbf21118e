"""Report: every published figure, each with its interval and a sentence on how to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from catdog_hub.release import Release, StageRecord
from catdog_hub.ui import markup
from catdog_hub.ui.blocks import html_block
from catdog_hub.ui.charts import MARKERS, Line, line_chart

Metrics = Mapping[str, Any]


def build(release: Release) -> None:
    """Lay out the view: the sections for which the release has figures."""
    stages = release.manifest.stages
    metrics = {stage.name: release.metrics(stage.name) for stage in stages}
    ordinal = {stage.name: index for index, stage in enumerate(stages)}

    def having(key: str) -> list[tuple[StageRecord, Any]]:
        return [(stage, metrics[stage.name][key]) for stage in stages if metrics[stage.name].get(key)]

    sections = [
        _ladder(stages, metrics),
        _confusion_matrices(stages, metrics, release.manifest.labels),
        _calibration(having("calibration"), ordinal),
        _stress(having("stress"), ordinal),
        _neither(having("neither")),
        _repeats(having("seeds"), having("mcnemar"), {stage.name: stage.title for stage in stages}),
        _speed(stages, metrics),
    ]
    html_block("".join(sections), elem_id="report-result")


def proportion(figure: Mapping[str, float]) -> str:
    """Return a proportion with its interval and n, as text."""
    interval = f"{100 * figure['low']:.1f} to {100 * figure['high']:.1f}" if "low" in figure else ""
    return f"{100 * figure['value']:.1f} %" + (f" ({interval})" if interval else "")


def _section(title: str, reading: str, body: str) -> str:
    return f'<section class="cd-card"><h3>{escape(title)}</h3><p>{reading}</p>{body}</section>'


def _ladder(stages: Sequence[StageRecord], metrics: Mapping[str, Metrics]) -> str:
    rows = []
    for index, stage in enumerate(stages):
        found = metrics[stage.name]
        bars = "".join(
            _interval(found[split][figure], name, index)
            for figure, words in (("accuracy", ""), ("label_accuracy", "“neither” counted"))
            for split in ("validation", "test")
            for name in [f"{split}, {words}" if words else split]
            if figure in found.get(split, {})
        )
        notebook = (found.get("notebook") or {}).get("validation", {}).get("accuracy")
        if notebook:
            bars += _interval(notebook, "notebook, validation", None)
        rows.append(
            f'<li><div><strong>{escape(stage.title)}</strong><span class="cd-small">{markup.count(stage.parameters["total"])} '
            f'parameters</span></div><div class="cd-intervals">{bars}</div></li>'
        )
    n = metrics[stages[-1].name]["validation"]["accuracy"]["n"]
    n_test = metrics[stages[-1].name].get("test", {}).get("accuracy", {}).get("n")
    on = f"{markup.count(n)} validation photos" + (f" and {markup.count(n_test)} test photos" if n_test else "")
    return _section(
        "What each stage gets right",
        f"The dot is the share of {on} that a stage gets right. The bar is its 95 % interval: of bars "
        "made like this from other photos of the same kind, 19 in 20 hold the true share. Stages whose bars are far apart really "
        f"differ. What counts is the most likely class{_counted(metrics)}.",
        f'<ol class="cd-ladder">{"".join(rows)}</ol>',
    )


def _counted(metrics: Mapping[str, Metrics]) -> str:
    if not any("label_accuracy" in figures["validation"] for figures in metrics.values()):
        return ""
    return "; where it says so, the answer “neither” counts as a mistake"


def _interval(figure: Mapping[str, float], name: str, stage_index: int | None) -> str:
    color = "var(--strong-line)" if stage_index is None else "var(--accent)"
    value, low, high = figure["value"], figure.get("low", figure["value"]), figure.get("high", figure["value"])
    return (
        f'<div class="cd-interval"><span class="cd-interval-name">{escape(name)}</span>'
        f'<span class="cd-interval-track" aria-hidden="true"><span class="cd-interval-range" style="left:{100 * low:.2f}%;'
        f'width:{100 * (high - low):.2f}%;background:{color}"></span><span class="cd-interval-dot" style="left:{100 * value:.2f}%;'
        f'background:{color}"></span></span><span class="cd-interval-value">{escape(proportion(figure))}</span></div>'
    )


def _confusion_matrices(stages: Sequence[StageRecord], metrics: Mapping[str, Metrics], labels: Sequence[str]) -> str:
    tables = "".join(
        _confusion_matrix(stage, metrics[stage.name]["test"]["confusion_matrix"], labels)
        for stage in stages
        if metrics[stage.name].get("test", {}).get("confusion_matrix")
    )
    if not tables:
        return ""
    return _section(
        "Which class it takes for which",
        "Each row is what the test photos show, each column what the stage answered. The diagonal is right; everything else is a "
        "mistake. A row that leans to one side is a stage that prefers the other class.",
        f'<div class="cd-matrices">{tables}</div>',
    )


def _confusion_matrix(stage: StageRecord, matrix: Mapping[str, Any], labels: Sequence[str]) -> str:
    names, counts = matrix["labels"], matrix["counts"]
    head = "".join(f'<th scope="col" class="{markup.css_class_of(name, labels)}">{escape(name)}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row" class="{markup.css_class_of(name, labels)}">{escape(name)}</th>'
        + "".join(
            f'<td class="{"cd-right" if row == column else "cd-wrong"}" style="--share:{100 * number / max(sum(line), 1):.0f}%">'
            f"{markup.count(number)}</td>"
            for column, number in enumerate(line)
        )
        + "</tr>"
        for row, (name, line) in enumerate(zip(names, counts, strict=True))
    )
    return (
        f'<table class="cd-matrix"><caption>{escape(stage.title)}</caption><thead><tr><th scope="col"><span class="cd-hidden">'
        f"shown, answered</span></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _calibration(found: list[tuple[StageRecord, Any]], ordinal: Mapping[str, int]) -> str:
    if not found:
        return ""
    bins = [entry for _, data in found for entry in data.get("bins", ())]
    low = min((min(entry["confidence"], entry["accuracy"]) for entry in bins), default=0.5)
    # One scale for all stages, so that they can be compared.
    floor = min(0.5, int(10 * low) / 10)
    stages = "".join(
        f"<div>{_reliability(stage, data['bins'], floor, ordinal[stage.name]) if data.get('bins') else ''}"
        f'<p class="cd-small">Off by {100 * data["ece"]:.1f} points on average{_before(data)} ({markup.count(data["n"])} '
        f"photos).</p></div>"
        for stage, data in found
    )
    return _section(
        "Can its confidence be believed?",
        "Photos are sorted by confidence into groups of equal size. On the dashed diagonal, of those it is 90 % sure of, 90 % are "
        "right. Below it the stage is too sure of itself, above it too modest.",
        f'<div class="cd-charts">{stages}</div>',
    )


def _before(data: Mapping[str, float]) -> str:
    if data["temperature"] == 1:
        return ""
    return f", {100 * data['ece_before']:.1f} before its logits were divided by {data['temperature']:.2f}"


def _reliability(stage: StageRecord, bins: Sequence[Mapping[str, float]], floor: float, ordinal: int) -> str:
    line = Line(
        "",
        [entry["confidence"] for entry in bins],
        [entry["accuracy"] for entry in bins],
        f"var(--stage-{ordinal})",
        marker=MARKERS[ordinal % len(MARKERS)],
    )
    worst = max(bins, key=lambda entry: abs(entry["confidence"] - entry["accuracy"]))
    return line_chart(
        [line],
        title=stage.title,
        summary=f"Farthest from the diagonal: {markup.percent(worst['accuracy'])} are right where it is "
        f"{markup.percent(worst['confidence'])} sure.",
        x_name="confidence, against the share that is right",
        x_range=(floor, 1),
        y_range=(floor, 1),
        x_format=_per_cent,
        y_format=_per_cent,
        diagonal=True,
    )


def _stress(found: list[tuple[StageRecord, Any]], ordinal: Mapping[str, int]) -> str:
    if not found:
        return ""
    overview = "".join(
        f'<div class="cd-interval"><span class="cd-interval-name">{escape(stage.title)}</span><span class="cd-bar-track" '
        f'aria-hidden="true"><span style="width:{100 * data["mean_accuracy"]:.1f}%;background:var(--stage-{ordinal[stage.name]})">'
        f'</span></span><span class="cd-interval-value">{100 * data["mean_accuracy"]:.1f} %</span></div>'
        for stage, data in found
    )
    tables = "".join(
        f"<details{' open' if stage is found[-1][0] else ''}><summary>{escape(stage.title)}, change by change</summary>"
        f"{_stress_table(data)}</details>"
        for stage, data in found
    )
    return _section(
        "How it stands up to spoilt photos",
        f"{markup.count(found[0][1]['n'])} photos ({escape(found[0][1]['split'])}), changed in ways that happen to real photos, mildly "
        "to strongly. Shown is the share still right, on average over all changes and below for each. Most of these "
        "changes are in “Try to fool it”.",
        f'<div class="cd-intervals cd-overview">{overview}</div>{tables}',
    )


def _stress_table(data: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(entry["title"])}<span class="cd-small">{escape(entry["unit"])}</span></th>'
        + "".join(
            f'<td style="--share:{100 * level["accuracy"]["value"]:.0f}%"><strong>{100 * level["accuracy"]["value"]:.0f} %</strong>'
            f'<span class="cd-small">at {level["severity"]:g}</span></td>'
            for level in entry["levels"]
        )
        + "</tr>"
        for entry in data["corruptions"]
    )
    columns = max(len(entry["levels"]) for entry in data["corruptions"])
    names = ["mild", "middle", "strong"] if columns == 3 else [f"level {index}" for index in range(1, columns + 1)]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return f'<table class="cd-stress"><thead><tr><th scope="col">change</th>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _neither(found: list[tuple[StageRecord, Any]]) -> str:
    rejects = {"validation": "validation photos", "test": "test photos", "stressed": "spoilt photos"}
    outsiders = {"far": "things and scenes", "near": "other animals"}
    body = ""
    for stage, data in found:
        entries = "".join(
            _interval(data[group][key], f"{prefix} {words}", 0)
            for group, prefix, names in (
                ("turned_away", "turned away:", outsiders),
                ("false_rejects", "wrongly turned away:", rejects),
            )
            for key, words in names.items()
            if key in data.get(group, {})
        )
        auroc = ", ".join(f"{outsiders.get(key, key)} {value:.3f}" for key, value in data.get("auroc", {}).items())
        body += f'<h4>{escape(stage.title)}</h4><div class="cd-intervals cd-wide-names">{entries}</div>' + (
            f'<p class="cd-small">Area under the ROC curve (0.5 is guessing, 1 is perfect): {escape(auroc)}.</p>'
            if auroc
            else ""
        )
    if not body:
        return ""
    return _section(
        "When it says “neither”",
        "A picture that resembles nothing in training should be turned away: the first bars should be long. A photo of a known "
        "class should not: the other bars should be short.",
        body,
    )


def _repeats(
    seeds: list[tuple[StageRecord, Any]], comparisons: list[tuple[StageRecord, Any]], titles: Mapping[str, str]
) -> str:
    entries = [
        f"<li><strong>{escape(stage.title)}</strong>, trained {len(data['seeds'])} times with other random numbers: "
        f"{100 * data['low']:.1f} to {100 * data['high']:.1f} % of the validation photos, {100 * data['mean']:.1f} % on average.</li>"
        for stage, data in seeds
    ]
    entries += [
        f"<li><strong>{escape(stage.title)}</strong> against {escape(titles.get(data['against'], data['against']))}: of "
        f"{markup.count(data['n'])} photos it alone is right on {markup.count(data['only_this_right'])}, the other alone on "
        f"{markup.count(data['only_other_right'])} ({_p_value(data['p_value'])}).</li>"
        for stage, data in comparisons
    ]
    if not entries:
        return ""
    return _section(
        "Luck, or better?",
        "Training begins with random numbers. A difference between stages counts when it is larger than what other random numbers "
        "alone do, and when it would rarely come about by chance (a small p).",
        f'<ul class="cd-list">{"".join(entries)}</ul>',
    )


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _speed(stages: Sequence[StageRecord], metrics: Mapping[str, Metrics]) -> str:
    entries = []
    for stage in stages:
        found = metrics[stage.name]
        parts = [f"{markup.file_size(stage.files['model'].bytes)}"]
        if seconds := found.get("seconds"):
            epochs = f" ({markup.count(seconds['epochs'])} epochs)" if seconds["epochs"] else ""
            parts.append(f"trained in {_duration(seconds['training'])}{epochs}")
        entries.append(f"<li><strong>{escape(stage.title)}</strong>: {escape(', '.join(parts))}.</li>")
    return _section(
        "Size and speed",
        "The file is what has to be downloaded. Times depend on the machine; compare the stages with each other. How long each takes "
        "to answer is shown beside its answers.",
        f'<ul class="cd-list">{"".join(entries)}</ul>',
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _per_cent(value: float) -> str:
    return f"{100 * value:.0f} %"
