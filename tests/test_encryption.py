"""What Spark does with a message that somebody changes on its way between two machines."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyspark
import pytest
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JJavaError

from jobs.runtime.cluster.state import new_secret
from jobs.runtime.security import ENCRYPTION, security_properties

JARS = Path(pyspark.__file__).parent / "jars"
LONGEST_WAIT_MS = 20_000
LOCAL = ("127.0.0.1", 0)


class Meddler:
    """Hands on what two sides send each other, and changes a bit of what the first one sends."""

    def __init__(self, port: int) -> None:
        self.meddle = False
        self._listener = socket.create_server(LOCAL)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, args=(port,), daemon=True).start()

    def _serve(self, port: int) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection((LOCAL[0], port))
        threading.Thread(target=self._hand_on, args=(far, near, False), daemon=True).start()
        self._hand_on(near, far, True)

    def _hand_on(self, source: socket.socket, target: socket.socket, may_meddle: bool) -> None:
        while chunk := source.recv(65536):
            if may_meddle and self.meddle:
                chunk = chunk[:-1] + bytes([chunk[-1] ^ 1])
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def jvm() -> Iterator[Any]:
    """A JVM with Spark's jars."""
    port, token, process = launch_gateway(
        classpath=f"{JARS}/*",
        jarpath=str(next(JARS.glob("py4j-*.jar"))),
        java_path=f"{os.environ['JAVA_HOME']}/bin/java",
        enable_auth=True,
        return_proc=True,
        die_on_exit=True,
    )
    parameters = GatewayParameters(port=port, auth_token=token, auto_convert=True)
    gateway = JavaGateway(gateway_parameters=parameters)
    yield gateway.jvm
    gateway.shutdown()
    process.stdin.close()
    process.wait()


def answer(jvm: Any, properties: dict[str, str], changed: bool) -> str:
    """Send a message, whole or changed, by Spark's own transport; what the sender is told.

    The receiver answers each message that it accepts with "Cannot handle messages".
    """
    network = jvm.org.apache.spark.network
    conf = network.util.TransportConf("rpc", network.util.MapConfigProvider(properties))
    secrets = network.sasl.ShuffleSecretManager()
    secrets.registerApp("app", properties["spark.authenticate.secret"])
    context = network.TransportContext(conf, network.server.NoOpRpcHandler())
    accepting = [network.crypto.AuthServerBootstrap(conf, secrets)]
    server = context.createServer(*LOCAL, accepting)
    meddler = Meddler(server.getPort())
    calling = [network.crypto.AuthClientBootstrap(conf, "app", secrets)]
    factory = context.createClientFactory(calling)
    try:
        client = factory.createClient(LOCAL[0], meddler.port)
        meddler.meddle = changed
        message = jvm.java.nio.ByteBuffer.wrap(b"weights")
        with pytest.raises(Py4JJavaError) as caught:
            client.sendRpcSync(message, LONGEST_WAIT_MS)
        return str(caught.value.java_exception.toString())
    finally:
        factory.close()
        server.close()
        context.close()


def test_a_changed_message_is_refused(jvm: Any) -> None:
    properties = security_properties(new_secret(), "192.0.2.1")
    assert properties.keys() > ENCRYPTION.keys()
    assert "Cannot handle messages" in answer(jvm, properties, changed=False)
    assert "closed" in answer(jvm, properties, changed=True)
    # Which cipher that is due to.
    by_itself = {**properties, "spark.network.crypto.cipher": "AES/CTR/NoPadding"}
    assert "Cannot handle messages" in answer(jvm, by_itself, changed=True)


def test_what_stays_on_a_machine_is_not_encrypted() -> None:
    assert security_properties("secret", "127.0.0.1").keys() == {
        "spark.authenticate",
        "spark.authenticate.secret",
    }
    assert security_properties(None, "192.0.2.1") == {}
