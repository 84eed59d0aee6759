"""The cluster that the profile of this process promises (conf/*.conf)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from pyspark import SparkConf

from jobs.runtime.errors import UsageError
from jobs.runtime.jvm import driver_jvm, submit_options
from jobs.runtime.properties import MASTER, read_profile


@dataclass(frozen=True)
class Cluster:
    """The executors that a profile promises."""

    master: str
    """Spark's master URL; `local[*]` is resolved to the number of cores."""
    executors: int
    """Number of executor processes (1 in local mode: the driver itself)."""
    cores: int
    """Cores of one executor."""
    memory: str
    """Memory of one executor as in the profile, such as "2g"."""
    gpus: int = 0
    """GPUs of one executor."""

    @property
    def is_local(self) -> bool:
        """Whether the driver is the only executor."""
        return self.master.startswith("local")

    @property
    def executor(self) -> str:
        """What an executor has, in words."""
        gpus = {0: "", 1: " and 1 GPU"}.get(self.gpus, f" and {self.gpus} GPUs")
        return f"{self.cores} cores{',' if gpus else ' and'} {self.memory}{gpus}"

    def as_dict(self) -> dict[str, Any]:
        """For result.json."""
        return asdict(self)


def read_cluster() -> Cluster:
    """The cluster of the profile that this process was submitted with.

    Raises:
        UsageError: the profile contradicts itself, or names no master; the message names the key.
    """
    driver_jvm()
    _check_profile(submit_options())
    conf = SparkConf()
    master = conf.get(MASTER, "local[*]") or "local[*]"
    if master.startswith("local"):
        memory = conf.get("spark.driver.memory", "1g")
        return Cluster(f"local[{_local_cores(master)}]", 1, _local_cores(master), memory or "1g")
    cores = _positive_int(conf, "spark.executor.cores")
    if master.startswith("spark://"):
        total = _positive_int(conf, "spark.cores.max")
        if total % cores:
            raise UsageError(
                f"profile: spark.cores.max = {total} is no multiple of "
                f"spark.executor.cores = {cores}"
            )
        executors = total // cores
    else:
        executors = _positive_int(conf, "spark.executor.instances")
    memory = conf.get("spark.executor.memory", "1g") or "1g"
    gpus_key = "spark.executor.resource.gpu.amount"
    gpus = _positive_int(conf, gpus_key) if conf.get(gpus_key, "0") != "0" else 0
    return Cluster(master=master, executors=executors, cores=cores, memory=memory, gpus=gpus)


def mebibytes(memory: str) -> int:
    """Spark's way to write memory, such as "2g" or "900m"; a number alone means MiB.

    Raises:
        UsageError: it is something else, or less than one MiB.
    """
    match = re.fullmatch(r"(\d+)([mgt]?)b?", memory.strip().lower())
    if match is None or int(match[1]) == 0:
        raise UsageError(f"profile: memory {memory!r}: expected a size such as 2g or 900m")
    return int(match[1]) << {"g": 10, "t": 20}.get(match[2], 0)


def _check_profile(options: Sequence[str]) -> None:
    """Refuse a profile of which Spark would pass over something, and take a default instead."""
    files = [value for name, value in pairwise(options) if name == "--properties-file"]
    has_master = "--master" in options or any(one.startswith(f"{MASTER}=") for one in options)
    if files:
        read_profile(files[-1], has_master=has_master)


def _local_cores(master: str) -> int:
    match = re.fullmatch(r"local(?:\[(\d+|\*)(?:,\s*\d+)?\])?", master)
    if match is None or match[1] == "0":
        raise UsageError(f"master {master}: expected local[N] or local[*]")
    return len(os.sched_getaffinity(0)) if match[1] == "*" else int(match[1] or 1)


def _positive_int(conf: SparkConf, key: str) -> int:
    value = conf.get(key, "") or ""
    if not value.isdigit() or int(value) == 0:
        raise UsageError(
            f"profile: {key} = {value or 'nothing'}: this master needs a positive whole number"
        )
    return int(value)
