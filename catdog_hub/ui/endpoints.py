"""The named endpoints: the same answers for programs, with typed results."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import gradio as gr
from gradio.components.api_component import Api
from gradio_client.utils import python_type_to_json_schema

from catdog_hub.errors import CatdogError, ImageError
from catdog_hub.ui import markup
from catdog_hub.ui.ladder import Answer, Ladder
from catdog_hub.ui.uploads import FILE, file_of


class StageAnswer(TypedDict):
    """What one stage says about one picture.

    Attributes:
        label: The most likely class, or `neither`.
        confidence: Probability of the most likely class, 0..1.
        scores: Probability of every class, most likely first.
        stage: Name of the stage that answered.
        familiarity: How much the picture resembles the training pictures, 0..1; null where it is not measured.
        milliseconds: Time the model took.
    """

    label: str
    confidence: float
    scores: dict[str, float]
    stage: str
    familiarity: float | None
    milliseconds: float


def build(ladder: Ladder) -> None:
    """Add the endpoints `/predict` and `/stages` to the app that is being built."""

    def predict(image: dict[str, Any] | None, stage: str | None = None) -> StageAnswer:
        """Classify a picture with one stage.

        Args:
            image: The picture: a file or an http(s) URL.
            stage: Name of the stage; default: the release's default stage.

        Returns:
            The label (or "neither"), its confidence, the score of every class, the stage, the familiarity and the time.
        """
        try:
            return _as_dict(ladder.answer(_required(image), stage or None))
        except CatdogError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def stages(image: dict[str, Any] | None) -> list[StageAnswer]:
        """Classify a picture with every stage, in order.

        Args:
            image: The picture: a file or an http(s) URL.

        Returns:
            For every stage what `/predict` gives for one.
        """
        try:
            return [_as_dict(answer) for answer in ladder.answers(_required(image))]
        except CatdogError as error:
            raise gr.Error(str(error), print_exception=False) from error

    names = list(ladder.manifest.stage_names)
    # Endpoints need components for their inputs. These are never shown.
    with gr.Column(visible=False):
        image = gr.Image(type="filepath", label="image")
        stage = gr.Dropdown(names, value=ladder.manifest.default_stage, label="stage")
        trigger, trigger_all = gr.Button("predict"), gr.Button("stages")
        one, every = _typed(StageAnswer, "answer"), _typed(list[StageAnswer], "answers")
    question = f"whether it shows {markup.listed([markup.a(label) for label in ladder.labels], 'or')}, or none of them"
    trigger.click(
        predict,
        [image, stage],
        one,
        api_name="predict",
        api_description=f"Classify a picture: {question}. Returns the label, its confidence, the score of every class, "
        "the stage that answered, the familiarity and the milliseconds it took.",
        **FILE,
    )
    trigger_all.click(
        stages,
        image,
        every,
        api_name="stages",
        api_description=f"Classify a picture with every stage in order, from the simplest to the best: {question}. "
        f"Returns a list of {len(names)} answers.",
        **FILE,
    )


def _typed(python_type: Any, label: str) -> Api:  # noqa: ANN401 - any type hint
    """Return an invisible output whose type the API's description states."""
    return Api(None, python_type_to_json_schema(python_type), label)


def _required(image: dict[str, Any] | None) -> Path:
    path = file_of(image)
    if path is None:
        raise ImageError("No picture was given. Send a file or an http(s) URL as `image`.")
    return path


def _as_dict(answer: Answer) -> StageAnswer:
    prediction = answer.prediction
    return StageAnswer(
        label=prediction.label,
        confidence=prediction.confidence,
        scores=prediction.scores,
        stage=prediction.stage,
        familiarity=prediction.familiarity,
        milliseconds=round(answer.milliseconds, 2),
    )
