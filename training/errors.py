"""Every exception that training raises on purpose."""

from __future__ import annotations

from catdog_hub.errors import CatdogError


class TrainingError(CatdogError):
    """Training cannot start or go on; the message names the value and the way out."""


class PublishingError(CatdogError):
    """A push to the Hub cannot start or failed; the message says what is on the Hub now."""
