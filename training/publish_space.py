"""Put the app on the Hub as a Space: `python training/publish_space.py --space-id USER/NAME`.

A Space gets what the app needs, unchanged, and nothing else: app.py, the package with its embedded release,
requirements.txt, and README.md, whose front matter configures the Space.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__" and __package__ is None:
    # Run as a script, Python puts training/ itself first on the path; the packages are one folder up.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from catdog_hub.errors import CatdogError
from training.errors import PublishingError
from training.publishing import Change, Target, check_target, explained, push_folder

PROJECT = Path(__file__).resolve().parent.parent

SPACE_FILES = ("README.md", "app.py", "requirements.txt", "LICENSE", "NOTICE")
SPACE_FOLDERS = ("catdog_hub",)

# The app shows the release of this repository, at this revision, in place of the embedded one (see catdog_hub/ui).
REPO_VARIABLE = "CATDOG_HUB_REPO"
REVISION_VARIABLE = "CATDOG_HUB_REVISION"


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="publish_space.py", description="Put the app on the Hugging Face Hub as a Space; a second time, update it."
    )
    add = parser.add_argument
    add("--space-id", required=True, metavar="USER/NAME", help="the Space; it is created where there is none")
    add("--model", metavar="USER/NAME", help="show this repository's release instead of the embedded one")
    add("--model-revision", metavar="REVISION", help="branch, tag or commit of --model")
    add("--private", action="store_true", help="create the Space as a private one")
    add("--endpoint", metavar="URL", help="address of the Hub; default: the public one, or HF_ENDPOINT")
    return parser.parse_args(argv)


def fill_space(folder: Path, model: str | None = None, project: Path = PROJECT) -> None:
    """Write what a Space gets into a folder.

    Args:
        folder: An empty folder.
        model: The repository to name in the front matter's `models`; default: those that README.md names.
        project: The project's root.

    Raises:
        PublishingError: README.md has no front matter, or a file is missing.
    """
    missing = [name for name in (*SPACE_FILES, *SPACE_FOLDERS) if not (project / name).exists()]
    if missing:
        raise PublishingError(f"{str(project)!r} lacks {missing[0]}: a Space is made from a clone of the project.")
    for name in SPACE_FILES:
        shutil.copyfile(project / name, folder / name)
    for name in SPACE_FOLDERS:
        shutil.copytree(project / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    readme = folder / "README.md"
    readme.write_text(_readme(readme.read_text(encoding="utf-8"), model), encoding="utf-8")


def _readme(text: str, model: str | None) -> str:
    from huggingface_hub import SpaceCard

    card = SpaceCard(text)
    if card.data.get("sdk") != "gradio":
        raise PublishingError("README.md has no front matter of a Gradio Space: it must begin with ---, sdk: gradio.")
    if model is None:
        return text
    card.data["models"] = [model]
    return str(card)


def publish_space(target: Target, model: Target | None = None, project: Path = PROJECT) -> Change:
    """Upload the app in one commit and set which release it shows.

    Args:
        target: The Space.
        model: The repository whose release it shows, `tag` being the revision; default: the embedded release.
        project: The project's root.

    Raises:
        PublishingError: The push failed.
    """
    with tempfile.TemporaryDirectory(prefix="catdog-space-") as temporary:
        folder = Path(temporary)
        fill_space(folder, None if model is None else model.repo_id, project)
        change = push_folder(folder, target, "Update the app")
    if model is not None:
        with explained(
            target, "The app is pushed, but shows another release than asked; the same command tries again."
        ):
            target.api.add_space_variable(target.repo_id, REPO_VARIABLE, model.repo_id)
            if model.tag is not None:
                target.api.add_space_variable(target.repo_id, REVISION_VARIABLE, model.tag)
    return change


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = parse_arguments(argv)
    try:
        if arguments.model_revision and not arguments.model:
            raise PublishingError("--model-revision has an effect only with --model.")
        target = Target(arguments.space_id, private=arguments.private, endpoint=arguments.endpoint, kind="space")
        model = Target(arguments.model, tag=arguments.model_revision) if arguments.model else None
        account = check_target(target)
        print(f"{account} may write to {target.url}")
        print(publish_space(target, model))
    except CatdogError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
