"""Profiles mean the same to scripts/submit.sh, to the jobs and to Spark, or are refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, spark_submit

from jobs.runtime.cluster.workers_file import read_workers
from jobs.runtime.errors import UsageError
from jobs.runtime.options import read_toml
from jobs.runtime.properties import parse_properties, read_profile

ODD = (
    "spark.master=yarn\n",
    "spark.master\tspark://a:7077\n",
    "  spark.master : local[2]  \r\nspark.driver.memory:3g\r\n",
    "# a comment\n! another\n\n spark.a.b\\\n   \\\n  =  c\\\n   d\\\\\nspark.next 1\n",
    "spark.master\n",
    "spark.a\\ b\\=c value # no comment\nspark.d=\\u00e9\\t=x\n",
    "spark.twice 1\rspark.twice=2\n=no key\n",
    "spark.last one\\",
    "\ufeff# comment\nspark.master yarn\n",
    "spark.ü ß\nspark.tab \t x \t\n",
)
READER = """
import json, sys
from jobs.runtime.jvm import driver_jvm
read = driver_jvm().org.apache.spark.util.Utils.getPropertiesFromFile
maps = [read(path) for path in sys.argv[1:]]
java = driver_jvm().scala.collection.JavaConverters
print(json.dumps([dict(java.mapAsJavaMapConverter(one).asJava()) for one in maps]))
"""


def test_profiles_are_read_as_spark_reads_them(tmp_path: Path) -> None:
    files = []
    for number, text in enumerate(ODD):
        files.append(tmp_path / f"{number}.conf")
        files[-1].write_bytes(text.encode())
    script = tmp_path / "read.py"
    script.write_text(READER)
    profile = ROOT / "conf" / "local.conf"
    done = subprocess.run(
        ["spark-submit", "--properties-file", profile, script, *files],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [parse_properties(text) for text in ODD] == json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("text", "master"),
    [(ODD[0], "yarn"), (ODD[1], "spark://a:7077"), (ODD[2], "local[2]"), (ODD[8], "yarn")],
)
def test_a_master_however_it_is_written(text: str, master: str, tmp_path: Path) -> None:
    profile, cluster = tmp_path / "odd.conf", tmp_path / "cluster"
    profile.write_bytes(text.encode())
    cluster.mkdir()
    (cluster / "master").write_text("spark://b:7077\n")
    assert read_profile(str(profile))["spark.master"] == master
    done = subprocess.run(
        ["bash", ROOT / "scripts" / "submit.sh", "train_lenet", "--profile", profile, "--dry-run"],
        env={"PATH": "/usr/bin:/bin", "SPARK_CLUSTER_FOLDER": str(cluster)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("--archives" in done.stdout) == (master == "yarn")
    assert ("--master spark://b:7077" in done.stdout) == master.startswith("spark://")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("spark.driver.memory 1g\n", "names no master"),
        ("spark.master =\n", "names no master"),
        ("\ufeffspark.master local[2]\n", "byte order mark"),
        ("sparc.master local[2]\n", "'sparc.master' is no property of Spark"),
        ("spark.master \\u00zz\n", "four hexadecimal digits"),
    ],
)
def test_what_spark_would_pass_over_is_refused(text: str, words: str, tmp_path: Path) -> None:
    profile = tmp_path / "odd.conf"
    profile.write_bytes(text.encode())
    with pytest.raises(UsageError, match=words):
        read_profile(str(profile))
    done = subprocess.run(
        ["bash", ROOT / "scripts" / "submit.sh", "train_lenet", "--profile", profile, "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_profile_without_master_is_no_local_run(tmp_path: Path) -> None:
    profile = tmp_path / "odd.conf"
    profile.write_text("spark.driver.memory 1g\n")
    # The last one counts, for Spark as well.
    spark = ("--properties-file", str(profile))
    done = spark_submit("train_lenet", "--data", tmp_path, run_dir=tmp_path / "run", spark=spark)
    assert done.code == 2, done.out + done.err
    assert done.error == (
        f"train_lenet: error: profile {profile}: names no master; add a line such as: "
        "spark.master local[*]"
    )
    named = ("--properties-file", str(profile), "--master", "local[1]")
    done = spark_submit("train_lenet", "--data", tmp_path, run_dir=tmp_path / "run", spark=named)
    assert done.code == 66, done.out + done.err


def test_other_files_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    recipe, workers = tmp_path / "recipe.toml", tmp_path / "workers"
    recipe.write_bytes(b"\xef\xbb\xbfepochs = 3\r\n")
    workers.write_bytes(b"\xef\xbb\xbflocalhost 2 2g\r\n")
    assert read_toml(str(recipe)) == {"epochs": 3}
    assert [worker.host for worker in read_workers(workers)] == ["localhost"]
