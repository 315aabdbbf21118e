"""The notebook's own code for the four stages, trimmed to what takes time. `benchmarks/run.py` times it.

It is run as the notebook runs it: TensorFlow as it comes, JPEGs decoded anew in every epoch, the frozen trunk run on
every picture in every epoch. Prints one JSON object: stage -> seconds of each epoch.
"""

import argparse
import json
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers, utils

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--base-weights", required=True)
parser.add_argument("--stage", required=True)
parser.add_argument("--epochs", type=int, default=2)
arguments = parser.parse_args()

BATCH_SIZE = 32
IMG_SIZE = (160, 160)
AUTOTUNE = tf.data.AUTOTUNE


def load(folder: str) -> tf.data.Dataset:
    return utils.image_dataset_from_directory(
        f"{arguments.data}/{folder}", shuffle=True, batch_size=BATCH_SIZE, image_size=IMG_SIZE, verbose=False
    )


train_dataset = load("train")
validation_dataset = load("validation")
val_batches = tf.data.experimental.cardinality(validation_dataset)
validation_dataset = validation_dataset.skip(val_batches // 5).prefetch(buffer_size=AUTOTUNE)
train_dataset = train_dataset.prefetch(buffer_size=AUTOTUNE)


def preprocessor() -> keras.Model:
    i = keras.Input(shape=(160, 160, 3))
    return keras.Model(inputs=i, outputs=keras.applications.mobilenet_v2.preprocess_input(i))


def base_model_layer() -> keras.Model:
    base_model = keras.applications.MobileNetV2(input_shape=(160, 160, 3), include_top=False, weights=None)
    base_model.load_weights(arguments.base_weights)
    base_model.trainable = False
    i = keras.Input(shape=(160, 160, 3))
    return keras.Model(inputs=i, outputs=base_model(i, training=False))


def build(stage: str) -> keras.Sequential:
    conv = lambda: layers.Conv2D(32, (3, 3), activation="relu")  # noqa: E731
    pool = lambda: layers.MaxPooling2D((2, 2))  # noqa: E731
    augmentation = [layers.RandomFlip(), layers.RandomRotation(0.2)]
    if stage == "baseline":
        return keras.Sequential(
            [conv(), pool(), conv(), pool(), layers.Flatten(), layers.Dropout(0.2), layers.Dense(2)]
        )
    if stage == "augmented":
        tail = [layers.Dropout(0.2), layers.Dense(64), layers.Flatten(), layers.Dense(2)]
        return keras.Sequential([*augmentation, conv(), pool(), conv(), pool(), *tail])
    if stage == "preprocessed":
        tail = [conv(), layers.AveragePooling2D((2, 2)), layers.Dropout(0.2), layers.Flatten(), layers.Dense(2)]
        return keras.Sequential([preprocessor(), *augmentation, conv(), pool(), conv(), pool(), *tail])
    tail = [layers.GlobalMaxPooling2D(), layers.Dropout(0.2), layers.Flatten(), layers.Dense(2)]
    return keras.Sequential([preprocessor(), *augmentation, base_model_layer(), *tail])


class Clock(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.seconds.append(time.perf_counter() - self.started)


model = build(arguments.stage)
model.compile(
    optimizer="adam", loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
)
clock = Clock()
model.fit(train_dataset, epochs=arguments.epochs, validation_data=validation_dataset, callbacks=[clock], verbose=0)
print(json.dumps({arguments.stage: clock.seconds}))
