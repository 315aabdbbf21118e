"""Find a release: the embedded one, a folder, or a repository on the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path

from catdog_hub.errors import MissingDependencyError, SourceError
from catdog_hub.release import MANIFEST, Manifest, Release, file_records

BUNDLED = Path(__file__).parent / "bundled"

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def open_release(
    source: str | PathLike[str] | None = None,
    *,
    stages: tuple[str, ...] | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
    endpoint: str | None = None,
) -> Release:
    """Open a release, downloading what is not there yet.

    Args:
        source: `None` for the release inside this package, a release folder, or a Hub repository `USER/NAME`.
        stages: Download only the files of these stages (an empty tuple: of the default stage); default: all.
        revision: Branch, tag or commit of a Hub repository.
        token: Hub token; default: the one that `hf auth login` stored.
        cache_dir: Where downloads are kept; default: the Hub client's own cache.
        local_files_only: Use the cache and no network.
        endpoint: Address of the Hub; default: the public one, or `HF_ENDPOINT`.

    Raises:
        SourceError: There is no such folder or repository, or it cannot be reached.
        ReleaseError: What was found is not a sound release.
    """
    if source is None:
        _refuse_revision(revision, "the embedded release")
        return Release.open(BUNDLED)
    folder = Path(source).expanduser()
    if folder.is_dir():
        _refuse_revision(revision, f"the folder {str(source)!r}")
        return Release.open(folder)
    if not isinstance(source, str) or not _REPO_ID.fullmatch(source):
        raise SourceError(f"{str(source)!r} is neither a folder nor a Hub repository of the form USER/NAME.")
    return _download(source, stages, revision, token, cache_dir, local_files_only, endpoint)


def _refuse_revision(revision: str | None, what: str) -> None:
    if revision is not None:
        raise SourceError(f"A revision ({revision!r}) can be chosen only for a Hub repository, not for {what}.")


def _download(
    repo_id: str,
    stages: tuple[str, ...] | None,
    revision: str | None,
    token: str | bool | None,
    cache_dir: str | PathLike[str] | None,
    local_files_only: bool,
    endpoint: str | None,
) -> Release:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingDependencyError(
            f'Loading {repo_id!r} from the Hub needs the Hub client: pip install "catdog-hub[hub]".'
        ) from error

    def fetch(patterns: list[str], commit: str | None) -> Path:
        return Path(
            snapshot_download(
                repo_id,
                revision=commit,
                allow_patterns=patterns,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                endpoint=endpoint,
            )
        )

    try:
        root = fetch([MANIFEST], revision)
        if not (root / MANIFEST).is_file():
            raise SourceError(f"The Hub repository {repo_id!r} holds no catdog-hub release: it has no {MANIFEST}.")
        manifest = Manifest.from_json((root / MANIFEST).read_text(encoding="utf-8"), origin=f"{repo_id}/{MANIFEST}")
        wanted = (manifest.default_stage,) if stages == () else stages
        # The snapshot folder is named after its commit: the second download cannot meet a newer push.
        fetch([record.path for record in file_records(manifest, wanted)], root.name)
    except LocalEntryNotFoundError as error:
        raise SourceError(
            f"{repo_id!r} is not in the cache and cannot be downloaded "
            f"({'offline mode is on' if local_files_only or _offline() else 'the Hub cannot be reached'}). "
            "Load it once with a network, or name a folder."
        ) from error
    except HFValidationError as error:
        raise SourceError(f"{repo_id!r} is not a valid Hub repository name: {error}") from error
    except HfHubHTTPError as error:
        raise SourceError(
            f"Cannot load {repo_id!r}{f' at {revision!r}' if revision else ''} from the Hub: {error}"
        ) from error
    return Release(root, manifest)


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
