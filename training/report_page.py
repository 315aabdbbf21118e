"""The evaluation report as a page that people read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from training import overview

_TEMPLATE = Path(__file__).parent / "report_page.html"


def write_page(report: dict[str, Any], folder: Path) -> Path:
    """Write report.html and the pictures it shows into a folder; return the page.

    Args:
        report: What `training.evaluate` writes to report.json.
        folder: Where the contact sheets are already.
    """
    overview.reliability_diagram(
        {name: stage["expected_calibration_error"]["bins"] for name, stage in report["stages"].items()},
        folder / "reliability.png",
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.ChainableUndefined)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    stages = report["stages"]
    text = template.render(
        report=report,
        labels=next(iter(stages.values()))["confusion_matrix"]["labels"],
        stressed=[(name, stage) for name, stage in stages.items() if "stress" in stage],
        seeded=any("seeds" in stage for stage in stages.values()),
        pct=lambda value: f"{value:.1%}",
    )
    page = folder / "report.html"
    page.write_text(text, encoding="utf-8")
    return page
