"""Colours as CSS variables: classes, stages and the calm neutrals around them, in light and in dark.

Classes keep their colour everywhere (`catdog_hub.evidence.class_color`). Text needs more contrast than a filled
area, so that each class also has a variant for text, darkened or lightened until it is readable.
"""

from __future__ import annotations

from collections.abc import Sequence

from catdog_hub.evidence import class_color

# WCAG 2.2: AA asks 4.5:1 of text. A little more leaves room for tinted backgrounds.
TEXT_CONTRAST = 5.2

LIGHT = {
    "paper": "#f7f6f3",
    "panel": "#ffffff",
    "sunken": "#f1efea",
    "ink": "#211f26",
    "muted": "#5e5a66",
    "line": "#dedad2",
    "strong-line": "#8a8590",
    "accent": "#54408c",
    "accent-soft": "#ece8f6",
    "neither": "#77737d",
    "neither-text": "#5e5a66",
    "bad": "#a3261b",
    "bad-soft": "#fbeceb",
}
DARK = {
    "paper": "#151419",
    "panel": "#1e1d24",
    "sunken": "#27252e",
    "ink": "#efedf2",
    "muted": "#b1acba",
    "line": "#37343f",
    "strong-line": "#85808f",
    "accent": "#c0b0f2",
    "accent-soft": "#322c47",
    "neither": "#97929f",
    "neither-text": "#b9b4c2",
    "bad": "#ff9d92",
    "bad-soft": "#3b2220",
}

# From pale to strong, since stages build on each other, and through several hues, so that lines that cross can be told
# apart. None of them is a class's colour. Other numbers of stages take colours in between.
_STAGE_RAMP = {
    "light": ("#8d8792", "#b3517f", "#8a52c4", "#4b3aa0", "#1b1440"),
    "dark": ("#85808d", "#c9709b", "#a987e0", "#c3b6ff", "#f3efff"),
}


def css_variables(class_count: int, stage_count: int) -> str:
    """Return the rules that define every colour variable of the app."""
    light = dict(LIGHT) | _class_variables(class_count, LIGHT["sunken"], darker=True)
    dark = dict(DARK) | _class_variables(class_count, DARK["sunken"], darker=False)
    light |= _stage_variables(stage_count, _STAGE_RAMP["light"])
    dark |= _stage_variables(stage_count, _STAGE_RAMP["dark"])
    classes = "".join(
        f".cd-class-{index} {{ --class: var(--class-{index}); --class-text: var(--class-{index}-text); }}\n"
        for index in range(class_count)
    )
    return f":root {{ {_declarations(light)} }}\n.dark {{ {_declarations(dark)} }}\n{classes}"


def contrast(first: str, second: str) -> float:
    """Return the WCAG contrast ratio, 1..21, of two colours given as `#RRGGBB`."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def readable(color: str, background: str, *, darker: bool) -> str:
    """Return the shade of `color` nearest to it that can be read as text on `background`."""
    target = "#000000" if darker else "#ffffff"
    share = 0.0
    while contrast(shade := mix(color, target, share), background) < TEXT_CONTRAST and share < 1:
        share += 0.04
    return shade


def mix(first: str, second: str, share: float) -> str:
    """Blend two colours; `share` 0 gives the first, 1 the second."""
    pairs = zip(_channels(first), _channels(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * min(share, 1)):02x}" for a, b in pairs)


def _class_variables(count: int, background: str, *, darker: bool) -> dict[str, str]:
    variables = {}
    for index in range(count):
        variables[f"class-{index}"] = class_color(index)
        variables[f"class-{index}-text"] = readable(class_color(index), background, darker=darker)
    return variables


def _stage_variables(count: int, ramp: Sequence[str]) -> dict[str, str]:
    variables = {}
    for index in range(count):
        position = (index / (count - 1) if count > 1 else 1) * (len(ramp) - 1)
        lower = min(int(position), len(ramp) - 2)
        variables[f"stage-{index}"] = mix(ramp[lower], ramp[lower + 1], position - lower)
    return variables


def _declarations(variables: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in variables.items())


def _channels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _luminance(color: str) -> float:
    def linear(channel: int) -> float:
        value = channel / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(channel) for channel in _channels(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
