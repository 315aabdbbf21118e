"""Every exception that training raises on purpose."""

from __future__ import annotations

from catdog_hub.errors import CatdogError


class TrainingError(CatdogError):
    """Training cannot start or go on; the message names the value and the way out."""
