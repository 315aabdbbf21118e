"""The result of a prediction."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

import numpy as np

NEITHER = "neither"


class _Scores(dict[str, float]):
    """A `dict` that cannot be changed, and can therefore be hashed."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("The scores of a prediction cannot be changed. Take a copy: dict(prediction.scores).")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:  # pickle and copy would otherwise set item by item
        return type(self), (dict(self),)


@dataclass(frozen=True)
class Prediction:
    """What one stage says about one picture. Nothing in it can be changed; it can be hashed, copied and pickled.

    Attributes:
        label: The most likely class, or `"neither"` where the picture resembles none of the training classes.
        confidence: Probability of the most likely class, 0..1 (the first of `scores`).
        scores: Probability of every class, most likely first; they sum to 1.
        margin: Logit of the most likely class minus that of the runner-up; 0 is a tie.
        stage: Name of the stage that answered.
        evidence: Float array of shape (rows, columns): what each region of the picture adds to `margin`. Above 0
            it speaks for the most likely class, below 0 for the runner-up. `evidence.sum() + evidence_bias`
            equals `margin` up to rounding.
        evidence_bias: The part of `margin` that no region adds: the difference of the two classes' biases.
        familiarity: How much the picture resembles the training pictures: 0.5 and more is accepted, less is
            `"neither"`. `None` for stages that do not measure it.
    """

    label: str
    confidence: float
    scores: dict[str, float]
    margin: float
    stage: str
    evidence: np.ndarray = field(repr=False, compare=False)
    evidence_bias: float = field(default=0.0, repr=False)
    familiarity: float | None = None

    def __post_init__(self) -> None:
        evidence = self.evidence.view()  # the array itself stays as its owner has it
        evidence.setflags(write=False)
        object.__setattr__(self, "evidence", evidence)
        object.__setattr__(self, "scores", _Scores(self.scores))

    def __reduce__(self) -> tuple[Any, ...]:  # by way of __post_init__: arrays forget that they are read-only
        return type(self), tuple(getattr(self, each.name) for each in fields(self))

    @property
    def top_class(self) -> str:
        """The most likely class, even where `label` is `"neither"`."""
        return next(iter(self.scores))

    @property
    def runner_up(self) -> str:
        """The second most likely class."""
        return list(self.scores)[1]

    def to_labels(self) -> list[dict[str, str | float]]:
        """Return `[{"label": ..., "score": ...}, ...]`, most likely first, as `transformers` pipelines do."""
        return [{"label": label, "score": score} for label, score in self.scores.items()]

    def __str__(self) -> str:
        others = ", ".join(f"{label} {score:.1%}" for label, score in self.scores.items())
        return f"{self.label} ({others}; stage {self.stage})"
