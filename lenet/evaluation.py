"""What a trained network says about digits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bigdl.dllib.nn.layer import Layer
from numpy.typing import NDArray

from lenet.idx import CLASSES, Digits
from lenet.network import DEVIATION, MEAN
from lenet.tensors import to_numpy, to_tensor

CHUNK = 100
"""Images at a time: their intermediate results fit the processor's cache."""


@dataclass(frozen=True)
class Evaluation:
    """A network's answers on labelled digits."""

    probabilities: NDArray[np.float32]
    """float32, shape (count, 10)."""
    labels: NDArray[np.uint8]
    """uint8, shape (count,), the right answers."""

    @property
    def answers(self) -> NDArray[np.int64]:
        """The most probable digits, shape (count,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> int:
        """How many answers are right."""
        return int((self.answers == self.labels).sum())

    @property
    def top1_accuracy(self) -> float:
        """The share of right answers, 0 to 1."""
        return self.correct / len(self.labels)

    @property
    def loss(self) -> float:
        """Mean negative logarithm of the right answer's probability."""
        right = self.probabilities[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean())

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts, shape (10, 10): row = the digit it is, column = the answer."""
        cells = self.labels.astype(np.int64) * CLASSES + self.answers
        return np.bincount(cells, minlength=CLASSES**2).reshape(CLASSES, CLASSES)

    def worst_mistakes(self, count: int) -> NDArray[np.int64]:
        """Indexes of the wrong answers that were given with the most confidence."""
        wrong = np.flatnonzero(self.answers != self.labels)
        confidence = self.probabilities[wrong].max(axis=1)
        return wrong[np.argsort(-confidence, kind="stable")][:count]


def evaluate(network: Layer, digits: Digits) -> Evaluation:
    """Put every image to the network, on the driver."""
    return Evaluation(predict(network, digits.images), digits.labels)


def predict(network: Layer, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Class probabilities, shape (count, 10), of images, uint8 of shape (count, 28, 28)."""
    network.value.evaluate()
    scaled = ((images.astype(np.float32) / 255.0 - MEAN) / DEVIATION).astype(np.float32)
    found = []
    for start in range(0, len(scaled), CHUNK):
        chunk = scaled[start : start + CHUNK]
        scores = network.value.forward(to_tensor(chunk))
        found.append(to_numpy(scores).reshape(len(chunk), CLASSES))
    return np.exp(np.concatenate(found))
