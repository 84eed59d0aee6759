"""The bridge to BigDL's JVM side, for what its Python API lacks or does slowly.

Through the Python API, 60000 Samples are pickled one by one, which takes a quarter of a minute.
Here the JVM reads them from raw IDX files and makes batches with BigDL's own transformers.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bigdl.dllib.utils.common import init_engine
from bigdl.dllib.utils.engine import get_bigdl_jars
from pyspark import SparkContext

from lenet import network
from lenet.idx import IMAGE_SIZE, Digits, write_images, write_labels

DLLIB = "com.intel.analytics.bigdl.dllib"
JAR = Path(__file__).resolve().parent / "jvm" / "lenet.jar"
"""Our own classes, which scripts/build_jar.py compiles."""


def class_path() -> list[str]:
    """BigDL's jars and ours, which driver and executors need."""
    return [*sorted(get_bigdl_jars()), str(JAR)]


def spark_properties(cores: int) -> dict[str, str]:
    """What BigDL needs of Spark, for executors of `cores` cores."""
    return {
        # DistriOptimizer runs one task per executor, which uses all its cores by threads. Asking
        # for all of them keeps Spark from giving two tasks to one executor and none to another.
        "spark.task.cpus": str(cores),
        "spark.shuffle.reduceLocality.enabled": "false",
        "spark.speculation": "false",
        "spark.serializer": "org.apache.spark.serializer.JavaSerializer",
        # An iteration's closures and models are small: to compress and check them takes longer.
        "spark.broadcast.compress": "false",
        "spark.broadcast.checksum": "false",
    }


def start_engine(context: SparkContext) -> None:
    """Tell BigDL how many executors and cores there are; once a session."""
    context._jvm.System.setProperty("bigdl.check.singleton", "false")
    init_engine()


def cores_per_executor() -> int:
    """As BigDL knows it."""
    return int(singleton("utils.Engine").coreNumber())


def executors() -> int:
    """As BigDL knows it."""
    return int(singleton("utils.Engine").nodeNumber())


def use_executors(count: int) -> None:
    """Tell BigDL how many executors there are from now on."""
    singleton("utils.Engine").setNodeNumber(count)


def use_replicas(count: int) -> None:
    """Let an executor have so many replicas of a network; BigDL takes one for each core."""
    singleton("utils.Engine").setCoreNumber(count)


@dataclass(frozen=True)
class Records:
    """Images and labels in the driver's JVM."""

    java: Any
    """Array[ByteRecord]."""
    side: int
    """Rows and columns of an image; larger than IMAGE_SIZE where it is to be cropped."""
    count: int


def load_records(digits: Digits, shift: int = 0) -> Records:
    """Hand images and labels to the JVM; needs BigDL's class path, but no session yet.

    Args:
        digits: the records.
        shift: pixels by which each image is to be moved about at random, every time it is used.
    """
    images = digits.images
    if shift:
        # GreyImgCropper never takes the last position, hence one more pixel at that end.
        margin = (shift, shift + 1)
        images = np.pad(images, ((0, 0), margin, margin))
    with tempfile.TemporaryDirectory(prefix="lenet-") as folder:
        images_file, labels_file = os.path.join(folder, "images"), os.path.join(folder, "labels")
        write_images(images_file, images)
        write_labels(labels_file, digits.labels)
        loaded = singleton("models.lenet.Utils").load(images_file, labels_file)
    return Records(loaded, images.shape[1], len(images))


def batches(context: SparkContext, records: Records, transformer: Any) -> Any:
    """A DistributedDataSet of mini-batches, one partition an executor.

    Args:
        context: a session in which `start_engine` has run.
        records: what to cut into batches; the executors keep it in memory as bytes.
        transformer: from records to mini-batches.
    """
    data_set = context._jvm.com.intel.analytics.bigdl.dllib.feature.dataset.DataSet.array(
        records.java, context._jsc.sc(), _class_tag("feature.dataset.ByteRecord")
    )
    return data_set.transform(transformer, _class_tag("feature.dataset.MiniBatch"))


def batcher(records: Records, batch_size: int) -> Any:
    """BigDL's own transformers from records to normalised mini-batches.

    Args:
        records: whose side they are to expect.
        batch_size: records over all executors.
    """
    images = _jvm().com.intel.analytics.bigdl.dllib.feature.dataset.image
    pipeline = images.BytesToGreyImg(records.side, records.side)
    if records.side != IMAGE_SIZE:
        pipeline = _then(pipeline, images.GreyImgCropper(IMAGE_SIZE, IMAGE_SIZE))
    pipeline = _then(pipeline, images.GreyImgNormalizer(network.MEAN, network.DEVIATION))
    return _then(pipeline, images.GreyImgToBatch(batch_size))


def float_evidence() -> tuple[Any, Any]:
    """The two implicit arguments of Scala methods on float tensors."""
    return (
        _jvm().scala.reflect.ClassTag.Float(),
        singleton("tensor.TensorNumericMath$TensorNumeric$NumericFloat"),
    )


def java_class(name: str) -> Any:
    """The java.lang.Class of one of BigDL's classes, named within DLLIB."""
    loader = _jvm().Thread.currentThread().getContextClassLoader()
    return _jvm().java.lang.Class.forName(f"{DLLIB}.{name}", True, loader)


def singleton(name: str) -> Any:
    """One of BigDL's Scala objects, named within DLLIB."""
    # py4j cannot name a Scala object, whose class ends with a $.
    return java_class(f"{name}$").getField("MODULE$").get(None)


def _jvm() -> Any:
    return SparkContext._jvm


def _class_tag(name: str) -> Any:
    return _jvm().scala.reflect.ClassTag.apply(java_class(name))


def _then(first: Any, second: Any) -> Any:
    # Scala spells the composition of two transformers "first -> second".
    return getattr(first, "$minus$greater")(second)
