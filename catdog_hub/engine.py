"""Run an exported model with LiteRT, from any number of threads."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from catdog_hub.errors import MissingDependencyError, ReleaseError

# More threads than this bring nothing for models of this size.
_MAX_THREADS = 4


def default_threads() -> int:
    """Return how many threads one prediction uses unless told otherwise."""
    return min(_MAX_THREADS, available_cpus())


def available_cpus() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity mask
        return os.cpu_count() or 1


class Engine:
    """One exported model.

    A LiteRT interpreter serves one thread at a time. The engine keeps as many as there are processors, makes them
    when they are first needed, and lets further threads wait for one.
    """

    def __init__(self, model: bytes, *, num_threads: int | None = None) -> None:
        """Prepare a model.

        Args:
            model: The content of a `.tflite` file with the input `image`, `uint8` of shape (1, height, width, 3), and
                at least the outputs `logits` (1, classes) and `evidence` (1, rows, columns, classes).
            num_threads: Threads that one prediction uses; default: the processors, at most four.

        Raises:
            ReleaseError: LiteRT cannot read the model, or it is not such a model.
        """
        self._model = model
        self._num_threads = num_threads or default_threads()
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        self._slots = threading.BoundedSemaphore(available_cpus())
        first = self._new_runner()
        inputs, outputs = first.get_input_details(), first.get_output_details()
        if set(inputs) != {"image"} or not {"logits", "evidence"} <= set(outputs):
            raise ReleaseError("The model does not have the input 'image' and the outputs 'logits' and 'evidence'.")
        self.input_shape = _shape(inputs["image"])
        self.output_shapes = {name: _shape(details) for name, details in outputs.items()}
        if inputs["image"]["dtype"] != np.uint8 or len(self.input_shape) != 3 or self.input_shape[2] != 3:
            raise ReleaseError(
                f"The model does not take uint8 pixels of shape (1, height, width, 3), but {inputs['image']['dtype']} "
                f"of shape {(1, *self.input_shape)}."
            )
        self._idle.put(first)

    def __call__(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the model on one picture.

        Args:
            pixels: `uint8` of shape (height, width, 3), RGB.

        Returns:
            Every output of the model by name, without the batch dimension: `logits` (classes,), `evidence`
            (rows, columns, classes), and whatever else the model gives, `float32`.
        """
        with self._borrow() as runner:
            outputs = runner(image=pixels[np.newaxis])
        return {name: value[0] for name, value in outputs.items()}

    @contextlib.contextmanager
    def _borrow(self) -> Iterator[Any]:
        with self._slots:
            try:
                runner = self._idle.get_nowait()
            except queue.Empty:
                runner = self._new_runner()
            try:
                yield runner
            finally:
                self._idle.put(runner)

    def _new_runner(self) -> Any:  # noqa: ANN401 - a type of LiteRT's that it does not export
        interpreter_class = _interpreter_class()
        try:
            interpreter = interpreter_class(model_content=self._model, num_threads=self._num_threads)
            interpreter.allocate_tensors()  # now, so that the first prediction is as fast as the others
            return interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise ReleaseError(f"LiteRT cannot read the model: {error}") from error


def _shape(details: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape of an input or output, without the batch dimension."""
    return tuple(int(length) for length in details["shape"][1:])


def _interpreter_class() -> Any:  # noqa: ANN401
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        # There is not a LiteRT wheel for every platform; TensorFlow carries the same interpreter.
        try:
            from tensorflow.lite import Interpreter
        except ImportError as error:
            raise MissingDependencyError(
                "Prediction needs LiteRT: pip install ai-edge-litert. "
                "Where it has no wheel for your platform, install tensorflow instead."
            ) from error
    return Interpreter
