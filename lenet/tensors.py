"""Arrays of numpy and tensors of the JVM, exchanged as bytes.

BigDL's Python API does it by pickled objects, which takes seconds for MNIST's test images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark import SparkContext

from lenet import bigdl


def to_numpy(tensor: Any) -> NDArray[np.float32]:
    """The values of a contiguous tensor of the JVM, shape (count,)."""
    count = tensor.nElement()
    nio = SparkContext._jvm.java.nio
    buffer = nio.ByteBuffer.allocate(4 * count).order(nio.ByteOrder.LITTLE_ENDIAN)
    buffer.asFloatBuffer().put(tensor.storage().array(), tensor.storageOffset() - 1, count)
    return np.frombuffer(buffer.array(), "<f4")


def to_tensor(values: NDArray[np.float32]) -> Any:
    """A new tensor of the JVM with these values and this shape."""
    nio = SparkContext._jvm.java.nio
    evidence = bigdl.float_evidence()
    tensor = bigdl.singleton("tensor.Tensor").apply(values.size, *evidence)
    data = bytes(values.astype("<f4").tobytes())
    buffer = nio.ByteBuffer.wrap(data).order(nio.ByteOrder.LITTLE_ENDIAN)
    buffer.asFloatBuffer().get(tensor.storage().array())
    sizes = SparkContext._gateway.new_array(SparkContext._jvm.int, values.ndim)
    for axis, size in enumerate(values.shape):
        sizes[axis] = size
    return tensor.view(sizes)
