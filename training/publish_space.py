"""Put the app on the Hub as a Space: `python training/publish_space.py --space-id USER/NAME`.

A Space gets what the app needs, unchanged, and nothing else: app.py, the package with its embedded release,
requirements.txt, and README.md, whose front matter configures the Space, with the pictures that it shows.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__" and __package__ is None:
    # Run as a script, Python puts training/ itself first on the path; the packages are one folder up.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from catdog_hub.errors import CatdogError
from training.errors import PublishingError
from training.publishing import Change, Target, check_target, explained, open_repository, push_folder

PROJECT = Path(__file__).resolve().parent.parent

SPACE_FILES = ("README.md", "app.py", "requirements.txt", "LICENSE", "NOTICE")
SPACE_FOLDERS = ("catdog_hub",)

# A picture of the project's own in Markdown.
_PICTURE = re.compile(r"!\[[^\]]*\]\(((?!https?:)[^)\s]+)\)")

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
    readme = (project / "README.md").read_text(encoding="utf-8") if (project / "README.md").is_file() else ""
    files = (*SPACE_FILES, *_PICTURE.findall(readme))
    missing = [name for name in (*files, *SPACE_FOLDERS) if not (project / name).exists()]
    if missing:
        raise PublishingError(f"{str(project)!r} lacks {missing[0]}: a Space is made from a clone of the project.")
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project / name, folder / name)
    for name in SPACE_FOLDERS:
        shutil.copytree(project / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    (folder / "README.md").write_text(_readme(readme, model), encoding="utf-8")


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
    """Set which release the app shows, then upload the app in one commit.

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
        # Each change of a variable or a file starts a Space anew: with the variables first, the new files never run
        # with another release than asked.
        open_repository(target)
        _set_variables(target, model)
        return push_folder(folder, target, "Update the app")


def _set_variables(target: Target, model: Target | None) -> None:
    """Change those variables that are not as they should be; one that is not wanted is deleted."""
    # The revision first: without a repository it has no effect.
    wanted = {
        REVISION_VARIABLE: None if model is None else model.tag,
        REPO_VARIABLE: None if model is None else model.repo_id,
    }
    with explained(
        target, "No file was pushed, but some of the Space's variables may be set; the same command tries again."
    ):
        present = target.api.get_space_variables(target.repo_id)
        for name, value in wanted.items():
            if value is None and name in present:
                target.api.delete_space_variable(target.repo_id, name)
            elif value is not None and (name not in present or present[name].value != value):
                target.api.add_space_variable(target.repo_id, name, value)


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
