"""A stand-in for YARN's ResourceManager on loopback, for tests.

yarn_services.py has its answers, yarn_node.py its NodeManager.

No package carries Hadoop's own servers, but Spark's jars hold the server side of the RPC that they
speak, and that is what answers here: Spark's own client, ApplicationMaster and executors run
unchanged. It gives whoever asks whatever it asks for: there are no queues, no tokens of YARN's, no
Kerberos, no second node, no second attempt.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyspark
from py4j.java_gateway import (
    CallbackServerParameters,
    GatewayParameters,
    JavaGateway,
    launch_gateway,
)
from yarn_node import Node
from yarn_services import (
    ADDRESS,
    ClientService,
    Cluster,
    MasterService,
    NodeService,
    Records,
)

THREADS = 4


@contextlib.contextmanager
def running_yarn(folder: Path) -> Iterator[Path]:
    """Start the stand-in, yield the folder that HADOOP_CONF_DIR must name, and stop it."""
    jars = Path(pyspark.__file__).parent / "jars"
    port, token, process = launch_gateway(
        classpath=f"{jars}/*",
        jarpath=str(next(jars.glob("py4j-*.jar"))),
        java_path=f"{os.environ['JAVA_HOME']}/bin/java",
        javaopts=["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
        enable_auth=True,
        return_proc=True,
        die_on_exit=True,
    )
    gateway = JavaGateway(
        gateway_parameters=GatewayParameters(port=port, auth_token=token, auto_convert=True),
        callback_server_parameters=CallbackServerParameters(port=0),
    )
    called = gateway.get_callback_server()
    client = gateway.java_gateway_server.getCallbackClient()
    gateway.java_gateway_server.resetCallbackClient(
        client.getAddress(), called.get_listening_port()
    )
    conf_dir = folder / "hadoop-conf"
    cluster = Cluster(Records(gateway.jvm), Node(folder, conf_dir))
    try:
        _serve(gateway.jvm, cluster, conf_dir)
        yield conf_dir
    finally:
        cluster.node.stop_all()
        gateway.shutdown()
        process.stdin.close()
        process.kill()
        process.wait()


def _serve(jvm: Any, cluster: Cluster, conf_dir: Path) -> None:
    conf = jvm.org.apache.hadoop.yarn.conf.YarnConfiguration()
    conf.set("fs.defaultFS", "file:///")
    rpc = jvm.org.apache.hadoop.yarn.ipc.YarnRPC.create(conf)
    ports = []
    for service in (ClientService(cluster), MasterService(cluster), NodeService(cluster, jvm)):
        protocol = jvm.java.lang.Class.forName(service.Java.implements[0])
        anywhere = jvm.java.net.InetSocketAddress(ADDRESS, 0)
        server = rpc.getServer(protocol, service, anywhere, conf, None, THREADS)
        server.start()
        ports.append(server.getListenerAddress().getPort())
    cluster.node_id = cluster.records.types.NodeId.newInstance(ADDRESS, ports[2])
    conf_dir.mkdir(parents=True)
    _write(conf_dir / "core-site.xml", {"fs.defaultFS": "file:///"})
    _write(
        conf_dir / "yarn-site.xml",
        {
            "yarn.resourcemanager.hostname": ADDRESS,
            "yarn.resourcemanager.address": f"{ADDRESS}:{ports[0]}",
            "yarn.resourcemanager.scheduler.address": f"{ADDRESS}:{ports[1]}",
            "yarn.timeline-service.enabled": "false",
        },
    )


def _write(path: Path, values: dict[str, str]) -> None:
    lines = [
        f"<property><name>{name}</name><value>{value}</value></property>"
        for name, value in values.items()
    ]
    path.write_text(f'<?xml version="1.0"?><configuration>{"".join(lines)}</configuration>')
