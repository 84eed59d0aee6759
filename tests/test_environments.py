"""Jobs run where little is as it should be: cron, containers, machines without a name."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, StandaloneCluster, submit_command
from srgan_samples import write_samples

UI_PORTS = range(4040, 4057)
SECONDS = 180

# A user who may look at everything, as where a checkout is for all, but owns none of it. Who asks
# beforehand whether he may, as Hadoop does of folders, is still told no where others may not.
STRANGER = (
    *(
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all,+dac_read_search",
    ),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)


def run_poorly(
    script: str, *, words: tuple[object, ...], user: tuple[str, ...] = (), locale: str = "C"
) -> subprocess.CompletedProcess[str]:
    """Run bash with nothing but a PATH and a poor locale, under a host name that nobody knows, in
    a folder that nobody can write to, without a terminal."""
    nameless = 'echo no-such-host >/proc/sys/kernel/hostname; cd /proc/sys; exec "$@"'
    done = subprocess.run(
        [
            *("unshare", "--uts", "bash", "-euc", nameless, "bash", *user),
            *("bash", "-euc", script, "bash", *map(str, words)),
        ],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": locale},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
        start_new_session=True,
        check=False,
    )
    if "unshare" in done.stderr or "setpriv" in done.stderr:
        pytest.skip(f"no host name or user of its own here: {done.stderr.strip()}")
    return done


@pytest.fixture
def strangers_folder() -> Iterator[Path]:
    """One that everybody may reach, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="für mich ") as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


def test_a_poor_environment(small_mnist: Path, strangers_folder: Path) -> None:
    """Nor does the user own anything: no home, no place in the checkout to write to."""
    data, run_dir = strangers_folder / "手書き 数字", strangers_folder / "実行 'eins'"
    shutil.copytree(small_mnist, data)
    script = 'export TMPDIR="$1/tmp"; mkdir "$TMPDIR"; source "$2/bin/activate"; shift 2; exec "$@"'
    done = run_poorly(
        script,
        user=STRANGER,
        locale="de_XX.UTF-8",
        words=(
            *(strangers_folder, ROOT / ".venv", "spark-submit"),
            *("--properties-file", ROOT / "conf" / "local.conf"),
            *("--master", "local[2]", ROOT / "jobs" / "train_lenet.py", "--data", data),
            *("--epochs", 1, "--batch-size", 64, "--run-dir", run_dir),
        ),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
    assert result["status"] == "ok"
    assert result["options"]["data"] == str(data)
    assert (run_dir / "snapshots" / "epoch-0001" / "model.bigdl").stat().st_uid == 65534
    assert (run_dir / "learning-curves.png").exists()
    # Neither matplotlib nor the JVM has anything to say to cron; bash itself has, of the locale.
    assert [line for line in done.stderr.splitlines() if "setlocale" not in line] == []


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


@pytest.mark.cluster
@pytest.mark.slow
def test_a_machine_whose_localhost_has_no_ipv4(cluster: StandaloneCluster, tmp_path: Path) -> None:
    data = write_samples(tmp_path / "data", 2, side=64)
    hosts = tmp_path / "hosts"
    hosts.write_text(f"::1 localhost {socket.gethostname()}\n")
    show = 'mount --bind "$1" /etc/hosts && getent ahosts localhost; shift; exec "$@"'
    job = submit_command(
        *("train_srgan", "--data", data, "--phase", "srresnet", "--srresnet-steps", 2),
        *("--residual-blocks", 1, "--channels", 8, "--crop-size", 32, "--batch-size", 4),
        *("--run-dir", tmp_path / "run"),
        profile="lab-2pc",
        spark=(
            *("--master", cluster.master, "--executor-cores", "1", "--executor-memory", "900m"),
            *("--total-executor-cores", "2"),
        ),
    )
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", show, "bash", hosts, *job],
        env={**os.environ, **cluster.environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no file system of its own here: {done.stderr.strip()}")
    assert "::1" in done.stdout and "127.0.0.1" not in done.stdout.partition("train_srgan")[0]
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]["steps"] == 2
