"""The model card: a release's JSON files put into words. Every figure in it is read from the release.

`python -m training.card` writes the card of the embedded release to model_card.md, its pictures, and README.md's table.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import catdog_hub
from catdog_hub.release import Release, StageRecord

TEMPLATE = Path(__file__).parent / "card_template.md"
SAMPLES = Path(catdog_hub.__file__).parent / "ui" / "samples"

PROJECT = Path(__file__).resolve().parent.parent
PROJECT_PICTURES = "docs/model_card/"

# What stands for the repository in a card that is not on the Hub.
PLACEHOLDER_REPO = "USER/catdog-hub"

# The example photos that go to the Hub with a release of these classes.
EXAMPLES = {"cat": "cat_chelsea.png", "dog": "dog_german_shepherd.webp"}

# The Hub's pages of the networks that stages start from.
BASE_MODELS = {"transfer": "google/mobilenet_v2_1.0_224", "production": "timm/tf_efficientnet_lite2.in1k"}

NOTEBOOK_DATASET_PARENT = "microsoft/cats_vs_dogs"

# Assumptions behind the estimate of the environmental cost: a desktop computer under load, and the world's average
# carbon intensity of electricity in 2023 (Ember, Global Electricity Review 2024).
ASSUMED_WATTS = 100
ASSUMED_GRAMS_PER_KWH = 480

_SPLITS = ("validation", "test")

# Before the name of a folder of pictures of anything but the classes, where the model index has the split.
_ELSE = "anything else: "

_CALIBRATIONS = {
    "ece_before": "expected calibration error without temperature",
    "ece": "expected calibration error",
    "ece_cross_fitted": "expected calibration error, cross-fitted",
}

# Among the pictures that `training.overview.draw_results` makes.
RELIABILITY = "reliability.png"


@dataclass(frozen=True)
class Section:
    """A part of the results that only some releases have: a sentence or two, a table, perhaps a picture."""

    title: str
    text: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    picture: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure for the model index: on which pictures, the metric's type and name, and value with n and interval."""

    split: str
    kind: str
    name: str
    content: dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """A release with the figures of all its stages."""

    release: Release
    metrics: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, release: Release) -> Facts:
        """Read every stage's figures."""
        return cls(release, {name: release.metrics(name) for name in release.manifest.stage_names})

    @property
    def stages(self) -> tuple[StageRecord, ...]:
        """The release's stages, in order."""
        return self.release.manifest.stages

    @property
    def default(self) -> StageRecord:
        """The stage that is loaded when none is named."""
        return self.release.manifest.stage()

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names."""
        return self.release.manifest.labels

    @property
    def is_notebook(self) -> bool:
        """Whether it was trained on the notebook's own photos."""
        return bool(self.release.manifest.dataset.get("is_notebook_dataset"))

    @property
    def seconds(self) -> float:
        """Measured training time of all stages together."""
        return sum(figures.get("seconds", {}).get("training", 0.0) for figures in self.metrics.values())

    def with_figure(self, name: str) -> Iterator[tuple[StageRecord, dict[str, Any]]]:
        """Yield the stages that have an optional figure, with it."""
        for stage in self.stages:
            if name in self.metrics[stage.name]:
                yield stage, self.metrics[stage.name][name]


def render(release: Release, repo_id: str = PLACEHOLDER_REPO, *, keras: bool = True, pictures: str = "") -> str:
    """Return the text of the model card.

    Args:
        release: The release.
        repo_id: The repository it is for.
        keras: Whether the repository holds the default stage in Keras' format at its root.
        pictures: Where the curves and confusion matrices are, as a prefix of their names.
    """
    from huggingface_hub import ModelCard

    facts = Facts.of(release)
    default = facts.default
    card = ModelCard.from_template(
        metadata(facts, repo_id, keras=keras),
        template_path=str(TEMPLATE),
        title=repo_id.split("/")[1],
        repo_id=repo_id,
        keras=keras,
        summary=_summary(facts),
        labels=list(facts.labels),
        labels_in_words=_in_words(facts.labels),
        default={
            "name": default.name,
            "input_size": default.input_size,
            "resample": default.resample,
            "temperature": default.temperature,
            "model_path": default.files["model"].path,
        },
        pictures=pictures,
        stages=[_stage_row(stage, facts) for stage in facts.stages],
        has_curves=any(release.history(stage.name)["loss"] for stage in facts.stages),
        has_notebook=any(facts.with_figure("notebook")),
        notebook_test=_notebook_test(facts),
        selection=_selection(facts),
        label_accuracy=list(_label_accuracy(facts)),
        majority=_majority(facts),
        optional_sections=list(_optional_sections(facts)),
        limits=list(_limits(facts)),
        recipes=_recipe_rows(facts),
        training=_training(facts),
        data=_data(facts),
        data_licence=_data_licence(facts),
        cost=_cost(facts),
        command=_command(facts),
        environment=_environment(facts),
        citation=_citation(facts, repo_id),
    )
    return str(card).rstrip("\n") + "\n"


def example_files(labels: tuple[str, ...]) -> dict[str, str]:
    """Return class -> file name of the example photos; empty for classes that have none."""
    if not set(labels) <= set(EXAMPLES):
        return {}
    return {label: EXAMPLES[label] for label in labels if (SAMPLES / EXAMPLES[label]).is_file()}


def metadata(facts: Facts, repo_id: str, *, keras: bool) -> Any:  # noqa: ANN401 - imported only when needed
    """Return the card's YAML header as `huggingface_hub.ModelCardData`."""
    from huggingface_hub import ModelCardData

    return ModelCardData(
        license="apache-2.0",
        library_name="keras" if keras else "tflite",
        pipeline_tag="image-classification",
        tags=["image-classification", "litert", "tflite", *(["keras"] if keras else []), *facts.labels],
        datasets=[NOTEBOOK_DATASET_PARENT] if facts.is_notebook else None,
        base_model=[BASE_MODELS[stage.name] for stage in facts.stages if stage.name in BASE_MODELS] or None,
        metrics=["accuracy", "recall"],
        model_name=repo_id.split("/")[1],
        eval_results=list(_eval_results(facts)),
        widget=[
            {"src": f"https://huggingface.co/{repo_id}/resolve/main/samples/{name}", "example_title": label}
            for label, name in example_files(facts.labels).items()
        ]
        or None,
        co2_eq_emissions={
            "emissions": round(_grams(facts.seconds), 1),
            "source": f"estimated from the measured training time at {ASSUMED_WATTS} W and {ASSUMED_GRAMS_PER_KWH} g/kWh",
            "training_type": _training_type(facts),
        },
    )


def _training_type(facts: Facts) -> str:
    on_backbone = [stage.name in BASE_MODELS for stage in facts.stages]
    kinds = {False: "from scratch", True: "frozen pretrained backbones"}
    return "; ".join(text for kind, text in kinds.items() if kind in on_backbone)


def _eval_results(facts: Facts) -> Iterator[Any]:
    """Yield every figure of the release for the model index; its stage, `n` and interval are in `metric_args`."""
    from huggingface_hub import EvalResult

    own = {
        "dataset_type": "cats_and_dogs_filtered" if facts.is_notebook else "imagefolder",
        "dataset_name": "Cats vs Dogs, filtered" if facts.is_notebook else f"Pictures of {_in_words(facts.labels)}",
        "dataset_args": {"fingerprint": facts.release.manifest.dataset.get("fingerprint", "")},
    }
    others = {"dataset_type": "imagefolder", "dataset_name": "Pictures of anything else", "dataset_args": None}
    for stage in facts.stages:
        for figure in _figures(facts.metrics[stage.name]):
            yield EvalResult(
                task_type="image-classification",
                **(others if figure.split.startswith(_ELSE) else own),
                dataset_split=figure.split,
                metric_type=figure.kind,
                metric_name=f"{figure.name} ({stage.name})",
                metric_value=figure.content["value"],
                metric_args={
                    "stage": stage.name,
                    **{key: value for key, value in figure.content.items() if key != "value"},
                },
            )


def _figures(metrics: dict[str, Any]) -> Iterator[Figure]:
    """Yield every figure of a stage."""
    for split in _SPLITS:
        figures = metrics[split]
        yield Figure(split, "accuracy", "accuracy", figures["accuracy"])
        if "label_accuracy" in figures:
            yield Figure(split, "accuracy", 'accuracy, "neither" counted as a mistake', figures["label_accuracy"])
        yield Figure(split, "loss", "loss", figures["loss"])
        for label, recall in figures["recall"].items():
            yield Figure(split, "recall", f"recall of {label}", recall)
    if "seeds" in metrics:
        seeds = metrics["seeds"]
        content = {"value": seeds["mean"], **{key: seeds[key] for key in ("low", "high", "seeds")}}
        yield Figure("validation", "accuracy", "mean accuracy of several seeds, and their range", content)
    if "calibration" in metrics:
        calibration = metrics["calibration"]
        for key, title in _CALIBRATIONS.items():
            content = {"value": calibration[key], "n": calibration["n"]}
            yield Figure(calibration["split"], "expected_calibration_error", title, content)
    if "stress" in metrics:
        yield from _stress_figures(metrics["stress"])
    if "neither" in metrics:
        neither = metrics["neither"]
        for split, share in neither["false_rejects"].items():
            yield Figure(split, "false_reject_rate", "wrongly called neither", share)
        for folder, share in neither["turned_away"].items():
            yield Figure(_ELSE + folder, "true_reject_rate", "rightly called neither", share)
        for folder, area in neither["auroc"].items():
            yield Figure(_ELSE + folder, "roc_auc", "AUROC of familiarity", {"value": area})


def _stress_figures(stress: dict[str, Any]) -> Iterator[Figure]:
    split = f"{stress['split']}, spoilt"
    mean = {"value": stress["mean_accuracy"], "n": stress["n"]}
    yield Figure(split, "accuracy", "mean accuracy on spoilt pictures", mean)
    for corruption in stress["corruptions"]:
        for level in corruption["levels"]:
            spoilt = f"{corruption['title']}, {_level(corruption, level)}"
            yield Figure(split, "accuracy", f"accuracy: {spoilt}", level["accuracy"])
            if "rejected" in level:
                yield Figure(split, "false_reject_rate", f"wrongly called neither: {spoilt}", level["rejected"])


def _level(corruption: dict[str, Any], level: dict[str, Any]) -> str:
    return f"{level['severity']:g} {corruption['unit']}".rstrip()


def _summary(facts: Facts) -> str:
    figures = facts.metrics[facts.default.name]
    return (
        f"A small image classifier: {_percent(figures['validation']['accuracy'])} of the validation pictures right, "
        f"{_percent(figures['test']['accuracy'])} of the test pictures, in a file of {_size(facts.default)}."
    )


def _stage_row(stage: StageRecord, facts: Facts) -> dict[str, Any]:
    figures = facts.metrics[stage.name]
    notebook = figures.get("notebook", {}).get("validation", {}).get("accuracy")
    recall = figures["test"]["recall"]
    return {
        "name": stage.name,
        "title": stage.title,
        "idea": stage.idea,
        "validation": _proportion(figures["validation"]["accuracy"]),
        "test": _proportion(figures["test"]["accuracy"]),
        "notebook": _proportion(notebook) if notebook else "-",
        "parameters": f"{stage.parameters['total']:,}",
        "size": _size(stage),
        "recall": [_proportion(recall[label]) if label in recall else "-" for label in facts.labels],
    }


def _notebook_test(facts: Facts) -> str:
    """Say what the notebook measured on its test pictures, for the stages where it did."""
    return "".join(
        f" On its own test pictures it reports {_proportion(figures['test']['accuracy'])} for `{stage.name}`."
        for stage, figures in facts.with_figure("notebook")
        if "test" in figures
    )


def _selection(facts: Facts) -> str:
    """Say what the validation and the test pictures decided."""
    text = "Stages are compared by validation accuracy; test pictures are only reported."
    if facts.is_notebook and "production" in facts.metrics:
        text += (
            " One exception: while `production` was developed, some ideas were compared on validation and test pictures "
            "together (the project's docs/architecture.md has the table), so its test figure is a little optimistic."
        )
    return text


def _label_accuracy(facts: Facts) -> Iterator[str]:
    for stage in facts.stages:
        figures = [facts.metrics[stage.name][split].get("label_accuracy") for split in _SPLITS]
        if all(figures):
            validation, test = (_proportion(figure) for figure in figures)
            yield (
                f"`{stage.name}` may answer neither; with that counted as a mistake it gets {validation} of the "
                f"validation and {test} of the test pictures right."
            )


def _majority(facts: Facts) -> dict[str, str] | None:
    counts = facts.release.manifest.dataset.get("counts", {})
    if not {"train", "validation"} <= set(counts):
        return None
    label = max(counts["train"], key=counts["train"].__getitem__)
    share = counts["validation"].get(label, 0) / max(sum(counts["validation"].values()), 1)
    return {"label": label, "validation": f"{share:.1%}"}


def _optional_sections(facts: Facts) -> Iterator[Section]:
    for build in (_seeds, _calibration, _stress, _neither, _mcnemar):
        section = build(facts)
        if section.rows:
            yield section


def _seeds(facts: Facts) -> Section:
    rows = tuple(
        (
            f"`{stage.name}`",
            ", ".join(f"{value:.1%}" for value in figure["validation"]),
            f"{figure['mean']:.1%}",
            f"{figure['low']:.1%} to {figure['high']:.1%}",
        )
        for stage, figure in facts.with_figure("seeds")
    )
    return Section(
        "Other seeds",
        "The same recipe from other starting weights and in another order; validation accuracy.",
        ("Stage", "Each seed", "Mean", "Range"),
        rows,
    )


def _calibration(facts: Facts) -> Section:
    rows = tuple(
        (
            f"`{stage.name}`",
            f"{figure['temperature']:.2f}",
            f"{figure['ece_before']:.3f}",
            f"{figure['ece']:.3f}",
            f"{figure['ece_cross_fitted']:.3f}",
            f"{figure['n']:,} ({figure['split']})",
        )
        for stage, figure in facts.with_figure("calibration")
    )
    return Section(
        "Calibration",
        "How far the stated confidence is from the share that is right (expected calibration error, bins of equal mass): "
        "of the bare logits, of the stage as it ships, with the logits divided by its temperature, and with a temperature "
        "cross-fitted on these very pictures. The notebook's stages ship as they are.",
        ("Stage", "Temperature", "ECE without", "ECE as shipped", "ECE cross-fitted", "n"),
        rows,
        RELIABILITY,
    )


def _stress(facts: Facts) -> Section:
    rows = tuple(
        (
            f"`{stage.name}`",
            corruption["title"],
            _level(corruption, level),
            _proportion(level["accuracy"]),
        )
        for stage, figure in facts.with_figure("stress")
        for corruption in figure["corruptions"]
        for level in [min(corruption["levels"], key=lambda level: level["accuracy"]["value"])]
    )
    about = next((f"{figure['split']} pictures" for _, figure in facts.with_figure("stress")), "")
    means = ", ".join(f"`{stage.name}` {figure['mean_accuracy']:.1%}" for stage, figure in facts.with_figure("stress"))
    return Section(
        "Spoilt pictures",
        f"Accuracy on {about} after damage to them; the worst level of each kind. Mean of all kinds and levels: {means}.",
        ("Stage", "Damage", "Level", "Accuracy"),
        rows,
    )


def _neither(facts: Facts) -> Section:
    kinds = {
        "validation": "validation",
        "test": "test",
        "stressed": "spoilt, all kinds and levels",
        "far": "things and scenes",
        "near": "other animals",
    }
    rows = tuple(
        (f"`{stage.name}`", kinds.get(kind, kind), wanted, _proportion(share))
        for stage, figure in facts.with_figure("neither")
        for group, wanted in (("false_rejects", "no"), ("turned_away", "yes"))
        for kind, share in figure[group].items()
    )
    return Section(
        'The answer "neither"',
        "How often it is given, for pictures of the classes and for pictures of anything else. Nothing was fitted to the "
        "latter; but a few sizes of the method were compared on them, so that their figures are a little optimistic. "
        "The threshold comes from validation pictures.",
        ("Stage", "Pictures", "Is it right?", "Answered neither"),
        rows,
    )


def _mcnemar(facts: Facts) -> Section:
    rows = tuple(
        (
            f"`{stage.name}`",
            f"`{figure['against']}`",
            str(figure["only_this_right"]),
            str(figure["only_other_right"]),
            f"{figure['n']:,}",
            f"{figure['p_value']:.2g}",
        )
        for stage, figure in facts.with_figure("mcnemar")
    )
    return Section(
        "Is the difference real?",
        "Two stages on the same pictures (exact McNemar test): how many only the one and only the other gets right.",
        ("Stage", "Against", "Only this one", "Only the other", "n", "p"),
        rows,
    )


def _limits(facts: Facts) -> Iterator[str]:
    labels, default = facts.labels, facts.default
    if "neither" not in facts.metrics[default.name]:
        yield (
            f"It knows nothing but its classes ({_in_words(labels)}): a car, a person or an empty room gets one of these "
            "names too, often with confidence."
        )
    else:
        missed = min(facts.metrics[default.name]["neither"]["turned_away"].values(), key=lambda share: share["value"])
        yield (
            f'It can answer "neither", but not reliably: of the kind of picture it finds hardest to turn away it lets '
            f"{1 - missed['value']:.1%} through (n = {missed['n']})."
        )
    yield from _mistakes(facts)
    accuracy = facts.metrics[default.name]["test"]["accuracy"]
    yield (
        f"The test set is small: with n = {accuracy['n']}, the true accuracy on such pictures may be anywhere from "
        f"{accuracy['low']:.1%} to {accuracy['high']:.1%}. On other pictures (drawings, unusual angles, night, "
        "several animals at once) expect less."
    )
    weaker = [stage for stage in facts.stages if _value(facts, stage) < _value(facts, default)]
    if weaker:
        worst = min(weaker, key=lambda stage: _value(facts, stage))
        yield (
            f"The other stages are teaching material, kept as weak as they are: `{worst.name}` gets only "
            f"{_value(facts, worst):.1%} of the validation pictures right."
        )
    for stage, figure in facts.with_figure("stress"):
        if stage.name == default.name:
            worst_of = min(figure["corruptions"], key=_worst_level)
            yield f"Damage hurts it: {worst_of['title']} takes it down to {_worst_level(worst_of):.1%} at the worst level."
    export = facts.metrics[default.name]["export"]
    yield (
        f"The file that ships holds 16-bit weights: on {export['n']:,} pictures its probabilities differ from the "
        f"trained Keras model's by {export['max_probability_difference']:.4f} at most."
    )
    yield "The evidence map says what moved this model, not what is in the picture."


def _mistakes(facts: Facts) -> Iterator[str]:
    """Say how often each class is taken for which other one."""
    matrix = facts.metrics[facts.default.name]["test"]["confusion_matrix"]
    for label, row in zip(matrix["labels"], matrix["counts"], strict=True):
        wrong = [(count, other) for count, other in zip(row, matrix["labels"], strict=True) if other != label and count]
        if wrong:
            said = _in_words(tuple(f"{count} `{other}`" for count, other in sorted(wrong, reverse=True)))
            yield f"Of {sum(row):,} test pictures of `{label}` it calls {said}."
        else:
            yield f"On test pictures of `{label}` (n = {sum(row):,}) it makes no mistake, which does not mean that it makes none."


def _worst_level(corruption: dict[str, Any]) -> float:
    return min(level["accuracy"]["value"] for level in corruption["levels"])


def _value(facts: Facts, stage: StageRecord) -> float:
    return facts.metrics[stage.name]["validation"]["accuracy"]["value"]


def _recipe_rows(facts: Facts) -> list[tuple[str, ...]]:
    recipes = facts.release.manifest.training.get("recipes", {})
    rows: list[tuple[str, ...]] = []
    for stage in facts.stages:
        recipe = recipes.get(stage.name)
        if recipe is None:
            continue
        height, width = stage.input_size
        variants, penalty = recipe.get("frozen_variants"), recipe.get("penalty")
        exact = penalty is not None
        rows.append(
            (
                f"`{stage.name}`",
                f"{height} x {width}, {stage.resample}",
                "-" if exact else str(recipe["batch_size"]),
                "-" if exact else str(facts.metrics[stage.name]["seconds"]["epochs"]),
                f"logistic regression solved exactly, penalty {penalty:g}"
                if exact
                else f"Adam, {recipe['learning_rate']:g}",
                f"frozen, {variants} random variants of each picture" if variants else "-",
            )
        )
    return rows


def _training(facts: Facts) -> str:
    seed = facts.release.manifest.training.get("seed")
    return (
        "The loss is the cross-entropy of the logits. Stages with epochs ship their last one, without early stopping. "
        f"Splits are made once, before any shuffling, with every class in the same share{f'; seed {seed}' if seed is not None else ''}. "
        "The exported model is what was measured, after comparison with the Keras model on the same pictures."
    )


def _data(facts: Facts) -> str:
    dataset = facts.release.manifest.dataset
    lines = []
    if facts.is_notebook:
        lines.append(
            "`cats_and_dogs_filtered`, as Google's machine-learning course distributes it: photos of Kaggle's \"Dogs vs. Cats\", "
            f"which come from the Asirra set of Microsoft Research and Petfinder (`{NOTEBOOK_DATASET_PARENT}` on the Hub holds "
            "a larger part of it). "
            "Pictures of pets from one source and one time: mostly one animal, near, in daylight."
        )
    counts = dataset.get("counts", {})
    if counts:
        lines.append(
            "\n".join(
                [
                    f"| Split | {' | '.join(facts.labels)} |",
                    "|---|" + "---|" * len(facts.labels),
                    *(
                        f"| {split} | {' | '.join(f'{classes.get(label, 0):,}' for label in facts.labels)} |"
                        for split, classes in counts.items()
                    ),
                ]
            )
        )
    lines.append(
        f"Unreadable files left out: {dataset.get('unreadable', 0)}. Look-alikes in different splits: "
        f"{dataset.get('near_duplicates_across_splits', 0)}. Which picture is in which split is in `splits.json`; the SHA-256 over "
        f"all pictures is `{dataset.get('fingerprint', '')}`."
    )
    return "\n\n".join(lines)


def _data_licence(facts: Facts) -> str:
    if not facts.is_notebook:
        return "Whether the pictures it was trained on allow your use is for whoever trained it to say."
    return (
        "The licence of the photos is not stated by those who distribute them, and they are not part of this repository. "
        "Whether a licence of training pictures reaches the weights is an open question; judge for yourself before "
        "commercial use."
    )


def _grams(seconds: float) -> float:
    return seconds / 3600 * ASSUMED_WATTS / 1000 * ASSUMED_GRAMS_PER_KWH


def _cost(facts: Facts) -> str:
    each = ", ".join(
        f"`{stage.name}` {facts.metrics[stage.name].get('seconds', {}).get('training', 0.0):,.0f} s"
        for stage in facts.stages
    )
    return (
        f"Training took {facts.seconds:,.0f} s, measured ({each}). "
        f"Assuming {ASSUMED_WATTS} W and {ASSUMED_GRAMS_PER_KWH} g of CO2 equivalent per kWh, that is about "
        f"{_grams(facts.seconds):.1f} g. The pretraining of a backbone by others is not counted."
    )


def _command(facts: Facts) -> str:
    training = facts.release.manifest.training
    options = [] if facts.is_notebook else ["--data YOUR_PICTURES"]
    options.append(f"--stages {' '.join(facts.release.manifest.stage_names)}")
    recipes = training.get("recipes", {})
    epochs_of = {name: facts.metrics[name]["seconds"]["epochs"] for name in facts.metrics if name in recipes}
    changed = {epochs for name, epochs in epochs_of.items() if epochs and epochs != recipes[name]["epochs"]}
    options.extend(f"--epochs {epochs}" for epochs in sorted(changed))
    options.append(f"--seed {training.get('seed', 0)}")
    return f'pip install -e ".[train]"  # in a clone of the project\npython training/train_all.py {" ".join(options)}'


def _environment(facts: Facts) -> str:
    training = facts.release.manifest.training
    packages = ", ".join(f"{name} {version}" for name, version in training.get("packages", {}).items())
    return (
        f"Trained on {facts.release.manifest.created[:10]} with Python {training.get('python', '?')}, {packages}. Other "
        "processors and versions round differently: expect figures within the intervals, not the same digits."
    )


def _citation(facts: Facts, repo_id: str) -> str:
    name = repo_id.split("/")[1]
    return "\n".join(
        (
            f"@misc{{{name.replace('.', '-')},",
            f"  title = {{{name}: {_in_words(facts.labels)}, one idea at a time}},",
            "  author = {{The catdog-hub contributors}},",
            f"  year = {{{facts.release.manifest.created[:4]}}},",
            f"  url = {{https://huggingface.co/{repo_id}}}",
            "}",
        )
    )


def example_credits() -> dict[str, str]:
    """Return file name -> author and licence of the example photos."""
    path = SAMPLES / "ATTRIBUTION.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["file"]: f"{row['author']}, {row['licence']}" for row in csv.DictReader(file)}


def _percent(figure: dict[str, Any]) -> str:
    return f"{figure['value']:.1%}"


def _proportion(figure: dict[str, Any]) -> str:
    return f"{figure['value']:.1%} ({figure['low']:.1%} to {figure['high']:.1%}, n = {figure['n']:,})"


def _size(stage: StageRecord) -> str:
    return f"{stage.files['model'].bytes / 1e6:.1f} MB"


def _in_words(items: tuple[str, ...]) -> str:
    return " and ".join((", ".join(items[:-1]), items[-1])) if len(items) > 1 else "".join(items)


def readme_table(release: Release) -> str:
    """Return the README's table of the stages."""
    facts = Facts.of(release)
    lines = [
        "| stage | the idea | validation | three seeds | test | notebook | file |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for stage in facts.stages:
        figures = facts.metrics[stage.name]
        seeds = figures.get("seeds")
        notebook = figures.get("notebook", {}).get("validation", {}).get("accuracy")
        cells = (
            f"`{stage.name}`",
            stage.title,
            _short(figures["validation"]["accuracy"]),
            f"{100 * seeds['low']:.1f} to {100 * seeds['high']:.1f}" if seeds else "-",
            _short(figures["test"]["accuracy"]),
            f"{100 * notebook['value']:.1f}" if notebook else "-",
            _size(stage),
        )
        lines.append(f"| {' | '.join(cells)} |")
    figures = facts.metrics[facts.default.name]
    counts = ", ".join(f"{split} n = {figures[split]['accuracy']['n']:,}" for split in _SPLITS)
    lines.append(
        f"\nAccuracy of the most likely class in %, with its 95 % interval (Wilson); {counts}. {_selection(facts)} The "
        "notebook's column is the last epoch of its own log."
    )
    lines.extend(f"\n{sentence}" for sentence in _label_accuracy(facts))
    return "\n".join(lines)


def _short(figure: dict[str, Any]) -> str:
    return f"{100 * figure['value']:.1f} ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"


def with_table(readme: str, table: str) -> str:
    """Return the README's text with this table of the stages."""
    before, rest = readme.split("<!-- stages -->", 1)
    return f"{before}<!-- stages -->\n\n{table}\n\n<!-- /stages -->{rest.split('<!-- /stages -->', 1)[1]}"


def write_project_card() -> None:
    """Write the embedded release's card to model_card.md, with its pictures, and its table into README.md."""
    from catdog_hub.hub import open_release
    from training import overview

    release = open_release()
    overview.draw_results(release, PROJECT / PROJECT_PICTURES)
    (PROJECT / "model_card.md").write_text(render(release, pictures=PROJECT_PICTURES), encoding="utf-8")
    readme = PROJECT / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), readme_table(release)), encoding="utf-8")


if __name__ == "__main__":
    write_project_card()
