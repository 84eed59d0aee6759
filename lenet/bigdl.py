"""The bridge to BigDL's JVM side, for what its Python API lacks or does slowly.

Through the Python API, 60000 Samples are pickled one by one, which takes a quarter of a minute.
Here the JVM reads them from raw IDX files and makes batches with BigDL's own transformers.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
from bigdl.dllib.utils.common import init_engine
from bigdl.dllib.utils.engine import get_bigdl_jars
from pyspark import SparkContext

from lenet import network
from lenet.idx import IMAGE_SIZE, Digits, write_images, write_labels

DLLIB = "com.intel.analytics.bigdl.dllib"


def class_path() -> list[str]:
    """BigDL's jars, which driver and executors need."""
    return sorted(get_bigdl_jars())


def spark_properties(cores: int) -> dict[str, str]:
    """What BigDL needs of Spark, for executors of `cores` cores."""
    return {
        # DistriOptimizer runs one task an executor, which uses all its cores by threads. Asking
        # for all of them keeps Spark from giving two tasks to one executor and none to another.
        "spark.task.cpus": str(cores),
        "spark.shuffle.reduceLocality.enabled": "false",
        "spark.speculation": "false",
        "spark.serializer": "org.apache.spark.serializer.JavaSerializer",
    }


def start_engine(context: SparkContext) -> None:
    """Tell BigDL how many executors and cores there are; once a session."""
    context._jvm.System.setProperty("bigdl.check.singleton", "false")
    init_engine()


def singleton(context: SparkContext, name: str) -> Any:
    """The Scala object NAME below BigDL's package (py4j cannot name one with a $)."""
    loader = context._jvm.Thread.currentThread().getContextClassLoader()
    java_class = context._jvm.java.lang.Class.forName(f"{DLLIB}.{name}$", True, loader)
    return java_class.getField("MODULE$").get(None)


def class_tag(context: SparkContext, name: str) -> Any:
    """Scala's ClassTag of a class below BigDL's package."""
    loader = context._jvm.Thread.currentThread().getContextClassLoader()
    java_class = context._jvm.java.lang.Class.forName(f"{DLLIB}.{name}", True, loader)
    return context._jvm.scala.reflect.ClassTag.apply(java_class)


def float_evidence(context: SparkContext) -> tuple[Any, Any]:
    """The two implicit arguments of Scala methods on float tensors."""
    return (
        context._jvm.scala.reflect.ClassTag.Float(),
        singleton(context, "tensor.TensorNumericMath$TensorNumeric$NumericFloat"),
    )


def batches(context: SparkContext, digits: Digits, batch_size: int, shift: int = 0) -> Any:
    """A DistributedDataSet of normalised mini-batches, one partition an executor.

    Args:
        context: a session in which `start_engine` has run.
        digits: the records; they are kept in the executors' memory as bytes.
        batch_size: records over all executors.
        shift: pixels by which each image is moved about at random, every time it is used.
    """
    images = context._jvm.com.intel.analytics.bigdl.dllib.feature.dataset.image
    size = IMAGE_SIZE
    if shift:
        # GreyImgCropper never takes the last position, hence one more pixel at that end.
        margin = (shift, shift + 1)
        digits = Digits(np.pad(digits.images, ((0, 0), margin, margin)), digits.labels)
        size = digits.images.shape[1]
    pipeline = images.BytesToGreyImg(size, size)
    if shift:
        pipeline = _then(pipeline, images.GreyImgCropper(IMAGE_SIZE, IMAGE_SIZE))
    pipeline = _then(pipeline, images.GreyImgNormalizer(network.MEAN, network.DEVIATION))
    pipeline = _then(pipeline, images.GreyImgToBatch(batch_size))
    records = context._jvm.com.intel.analytics.bigdl.dllib.feature.dataset.DataSet.array(
        _records(context, digits),
        context._jsc.sc(),
        class_tag(context, "feature.dataset.ByteRecord"),
    )
    return records.transform(pipeline, class_tag(context, "feature.dataset.MiniBatch"))


def _then(first: Any, second: Any) -> Any:
    # Scala spells the composition of two transformers "first -> second".
    return getattr(first, "$minus$greater")(second)


def _records(context: SparkContext, digits: Digits) -> Any:
    with tempfile.TemporaryDirectory(prefix="lenet-") as folder:
        images, labels = os.path.join(folder, "images"), os.path.join(folder, "labels")
        write_images(images, digits.images)
        write_labels(labels, digits.labels)
        return singleton(context, "models.lenet.Utils").load(images, labels)
