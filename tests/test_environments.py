"""Jobs run where little is as it should be: cron, containers, machines without a name."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, StandaloneCluster
from srgan_samples import write_samples

UI_PORTS = range(4040, 4057)
SECONDS = 180


def run_poorly(script: str, *, words: tuple[object, ...]) -> subprocess.CompletedProcess[str]:
    """Run bash with nothing but a PATH and the C locale, under a host name that nobody knows, in
    a folder that nobody can write to, without a terminal."""
    nameless = "echo no-such-host >/proc/sys/kernel/hostname; cd /proc/sys; " + script
    done = subprocess.run(
        ["unshare", "--uts", "bash", "-euc", nameless, "bash", *map(str, words)],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
        start_new_session=True,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip(f"no host name of its own here: {done.stderr.strip()}")
    return done


def test_a_poor_environment(small_mnist: Path, tmp_path: Path) -> None:
    data, run_dir = tmp_path / "手書き 数字", tmp_path / "実行 'eins'"
    shutil.copytree(small_mnist, data)
    done = run_poorly(
        'source "$1/bin/activate"; shift; exec spark-submit "$@"',
        words=(
            *(ROOT / ".venv", "--properties-file", ROOT / "conf" / "local.conf"),
            *("--master", "local[2]", ROOT / "jobs" / "train_lenet.py", "--data", data),
            *("--epochs", 1, "--batch-size", 64, "--run-dir", run_dir),
        ),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
    assert result["status"] == "ok"
    assert result["options"]["data"] == str(data)
    assert (run_dir / "snapshots" / "epoch-0001" / "model.bigdl").exists()


@pytest.mark.cluster
@pytest.mark.slow
def test_a_poor_environment_on_a_cluster(cluster: StandaloneCluster, tmp_path: Path) -> None:
    data = write_samples(tmp_path / "写真", 2, side=64)
    with contextlib.ExitStack() as stack:
        for port in UI_PORTS:
            # Whoever has a port already leaves it as taken as we would.
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("", port)))
        done = run_poorly(
            'export SPARK_CLUSTER_FOLDER="$1"; shift; exec bash "$@"',
            words=(
                *(cluster.environment["SPARK_CLUSTER_FOLDER"], ROOT / "scripts" / "submit.sh"),
                *("train_srgan", "--profile", "lab-2pc", "--master", cluster.master),
                *("--executor-cores", 1, "--executor-memory", "900m"),
                *("--total-executor-cores", 2, "--conf", "spark.ui.enabled=true", "--"),
                *("--data", data, "--phase", "srresnet", "--srresnet-steps", 2),
                *("--residual-blocks", 1, "--channels", 8, "--crop-size", 32, "--batch-size", 4),
                *("--run-dir", tmp_path / "run"),
            ),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]["steps"] == 2
