"""Keep native libraries' start-up remarks out of a command's output."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def muted_native_stderr() -> Iterator[None]:
    """Hide what C++ code writes to standard error: remarks at start-up that no setting turns off.

    For commands, which own their process: standard error is muted for all threads. Python's exceptions pass as ever.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
