"""Count what a push and a load cost: pushes the embedded release to a Hub on loopback and loads stages of it again.

Prints one line per step: requests, and bytes of the bodies each way. `python benchmarks/hub.py [RELEASE]`
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

REPO, TAG = "ann/pets", "v1.0"


def run(release_source: str | None, temporary: Path) -> None:
    from catdog_hub import load
    from catdog_hub.hub import open_release
    from tests.hub_server import HubServer
    from training import publishing

    release = open_release(release_source)
    with HubServer(temporary / "hub") as hub:
        target = publishing.Target(REPO, tag=TAG, endpoint=hub.url)
        for step in ("first", "second"):
            folder = temporary / step
            folder.mkdir()
            publishing.fill_folder(release, REPO, folder)
            change = publishing.push_folder(folder, target, "release")
            print(hub.take_figures(f"{step} push{' (nothing changes)' if change.is_empty else ''}"))
            publishing.check_push(release, folder, target, change.commit)
            print(hub.take_figures("  downloaded again and compared"))

        default = release.manifest.default_stage
        for title, stage, cache, offline in (
            (f"load {default} at the tag, empty cache", None, "first", False),
            ("load baseline at the tag, empty cache", "baseline", "second", False),
            (f"load {default} again, online", None, "first", False),
            (f"load {default} again, offline", None, "first", True),
        ):
            load(
                REPO,
                stage=stage,
                revision=TAG,
                endpoint=hub.url,
                cache_dir=temporary / "caches" / cache,
                local_files_only=offline,
            )
            print(hub.take_figures(title))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="catdog-hub-") as folder:
        # Before anything reads them: an account that may write, nothing of the user's own, no bars among the lines.
        os.environ.update(
            HF_HOME=f"{folder}/home",
            HF_TOKEN="hf_write",
            HF_HUB_DISABLE_XET="1",
            HF_HUB_DISABLE_TELEMETRY="1",
            HF_HUB_DISABLE_PROGRESS_BARS="1",
        )
        run(sys.argv[1] if len(sys.argv) > 1 else None, Path(folder))
