"""Every exception this package raises on purpose.

Messages name the value that was received and the way out, so that they can be shown to a user as they are.
"""

from __future__ import annotations


class CatdogError(Exception):
    """Base class: `except CatdogError` catches everything the package raises on purpose."""


class ImageError(CatdogError, ValueError):
    """A picture that cannot be read: damaged, not a picture, too large, or of an unsupported type."""


class ReleaseError(CatdogError):
    """A release folder that is missing, incomplete, damaged or of an unknown format."""


class NewerFormatError(ReleaseError):
    """A release written by a newer version of the package than the one that reads it."""


class StageError(CatdogError, KeyError):
    """A stage name that the release does not have."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which would put the sentence in quotes.
        return str(self.args[0]) if self.args else ""


class SourceError(CatdogError):
    """A source that is neither a release folder nor a reachable Hub repository."""


class MissingDependencyError(CatdogError, ImportError):
    """A feature whose optional packages are not installed."""
