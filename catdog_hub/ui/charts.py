"""Small charts as inline SVG: they follow the theme through CSS variables and need no plotting library."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

# In SVG units. A chart is about as many pixels wide on a phone, so that text keeps its size there.
_WIDTH, _HEIGHT = 360, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 12, 14, 38


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: What the legend calls it.
        xs: Horizontal positions.
        ys: Vertical positions, of the same number.
        color: CSS colour, usually a `var(--...)`.
        dash: SVG dash pattern; empty for a solid line.
        width: Stroke width.
        marker: Draw points too: `circle`, `square`, `diamond`, `triangle` or none.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    color: str
    dash: str = ""
    width: float = 2
    marker: str = ""


MARKERS = ("circle", "square", "triangle", "diamond", "cross")


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    summary: str,
    x_name: str,
    y_range: tuple[float, float],
    y_format: Callable[[float], str],
    x_format: Callable[[float], str] = "{:g}".format,
    x_range: tuple[float, float] | None = None,
    x_ticks: Sequence[float] | None = None,
    band: tuple[Line, Line, str] | None = None,
    marked_x: float | None = None,
    diagonal: bool = False,
) -> str:
    """Return a line chart with its legend.

    Args:
        lines: What to draw; each has one point or more.
        title: Heading above the chart.
        summary: What the chart shows, in a sentence, for screen readers.
        x_name: What the horizontal axis counts.
        y_range: Lowest and highest value of the vertical axis.
        y_format: Turns a value of the vertical axis into text.
        x_format: The same for the horizontal axis.
        x_range: First and last value of the horizontal axis; default: those of the lines. May be descending.
        x_ticks: Where the horizontal axis is labelled; default: some round values.
        band: Two lines of the same positions with the space between them shaded, and what to write there.
        marked_x: Draw a vertical line here.
        diagonal: Draw the line from the lower left to the upper right corner.
    """
    every_x = [x for line in lines for x in line.xs]
    first, last = x_range or (min(every_x), max(every_x))
    low, high = y_range

    def x_at(value: float) -> float:
        share = (value - first) / (last - first) if last != first else 0.5
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y_at(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)

    parts = [_y_axis(low, high, y_at, y_format), _x_axis(x_ticks or ticks(first, last), x_at, x_format, x_name)]
    if band:
        parts.append(_band(band, x_at, y_at))
    if diagonal:
        parts.append(
            f'<line class="cd-diagonal" x1="{x_at(first):.1f}" y1="{y_at(low):.1f}" x2="{x_at(last):.1f}" y2="{y_at(high):.1f}"/>'
        )
    if marked_x is not None:
        x = x_at(marked_x)
        parts.append(f'<line class="cd-marked" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_HEIGHT - _BOTTOM}"/>')
    parts.extend(_polyline(line, x_at, y_at) for line in lines)
    keys = "".join(
        f'<li><svg width="26" height="12" viewBox="0 0 26 12" aria-hidden="true"><line x1="0" y1="6" x2="26" y2="6" '
        f'stroke-width="{line.width}" stroke-dasharray="{line.dash}" style="stroke:{line.color}"/>'
        f"{_marker(line.marker, 13, 6, line.color)}</svg>{escape(line.name)}</li>"
        for line in lines
        if line.name
    )
    return (
        f'<figure class="cd-chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(f"{title}. {summary}")}">{"".join(parts)}</svg>'
        + (f'<ul class="cd-keys">{keys}</ul>' if keys else "")
        + "</figure>"
    )


def ticks(first: float, last: float, about: int = 5) -> list[float]:
    """Return round values between two limits."""
    low, high = min(first, last), max(first, last)
    if low == high:
        return [low]
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    start = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(start, math.floor(high / step + 1e-9) + 1)]


def _y_axis(low: float, high: float, y_at: Callable[[float], float], y_format: Callable[[float], str]) -> str:
    return "".join(
        f'<line class="cd-grid" x1="{_LEFT}" y1="{y_at(value):.1f}" x2="{_WIDTH - _RIGHT}" y2="{y_at(value):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y_at(value) + 4:.1f}" text-anchor="end">{escape(y_format(value))}</text>'
        for value in ticks(low, high, 5)
    )


def _x_axis(
    values: Sequence[float], x_at: Callable[[float], float], x_format: Callable[[float], str], name: str
) -> str:
    labels = "".join(
        f'<text x="{x_at(value):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{escape(x_format(value))}</text>'
        for value in values
    )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return f'{labels}<text x="{middle}" y="{_HEIGHT - 5}" text-anchor="middle">{escape(name)}</text>'


def _band(band: tuple[Line, Line, str], x_at: Callable[[float], float], y_at: Callable[[float], float]) -> str:
    upper, lower, words = band
    outline = [(x_at(x), y_at(y)) for x, y in zip(upper.xs, upper.ys, strict=True)]
    outline += [(x_at(x), y_at(y)) for x, y in reversed(list(zip(lower.xs, lower.ys, strict=True)))]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in outline)
    middle = (y_at(upper.ys[-1]) + y_at(lower.ys[-1])) / 2
    right = x_at(upper.xs[-1])
    return (
        f'<polygon class="cd-band" points="{points}"/>'
        f'<text class="cd-band-words" x="{right - 6:.1f}" y="{middle + 4:.1f}" text-anchor="end">{escape(words)}</text>'
    )


def _polyline(line: Line, x_at: Callable[[float], float], y_at: Callable[[float], float]) -> str:
    places = [(x_at(x), y_at(y)) for x, y in zip(line.xs, line.ys, strict=True)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = (
        f'<polyline points="{points}" fill="none" stroke-width="{line.width}" stroke-linejoin="round" '
        f'stroke-dasharray="{line.dash}" style="stroke:{line.color}"/>'
    )
    marker = line.marker or ("circle" if len(places) == 1 else "")
    return drawn + "".join(_marker(marker, x, y, line.color) for x, y in places)


def _marker(shape: str, x: float, y: float, color: str) -> str:
    style = f'style="fill:{color}"'
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" {style}/>'
    if shape == "square":
        return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" {style}/>'
    if shape == "triangle":
        return f'<path d="M{x:.1f} {y - 4:.1f}l4 7h-8z" {style}/>'
    if shape == "diamond":
        return f'<path d="M{x:.1f} {y - 4.4:.1f}l4.4 4.4l-4.4 4.4l-4.4 -4.4z" {style}/>'
    if shape == "cross":
        return f'<path d="M{x - 3.2:.1f} {y - 3.2:.1f}l6.4 6.4m0 -6.4l-6.4 6.4" style="stroke:{color}" stroke-width="2" fill="none"/>'
    return ""
