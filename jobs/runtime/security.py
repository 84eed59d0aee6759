"""How Master, Workers, drivers and executors of a standalone cluster prove themselves."""

from __future__ import annotations

from jobs.runtime.cluster.workers_file import is_loopback

ENCRYPTION = {
    "spark.network.crypto.enabled": "true",
    # Spark's own choice, AES/CTR, hides what is sent, but lets it be changed on the way unnoticed
    # (CVE-2025-55039).
    "spark.network.crypto.cipher": "AES/GCM/NoPadding",
    # Or who is in between would only have to break the better protocol off.
    "spark.network.crypto.saslFallback": "false",
    "spark.network.crypto.authEngineVersion": "2",
}


def security_properties(secret: str | None, address: str) -> dict[str, str]:
    """The Spark properties of whoever listens on an address.

    Args:
        secret: that of the cluster; None where authentication is switched off.
        address: between machines the traffic is encrypted; nobody can listen to, or change, what
            stays on one.
    """
    if secret is None:
        return {}
    encryption = {} if is_loopback(address) else ENCRYPTION
    return {"spark.authenticate": "true", "spark.authenticate.secret": secret, **encryption}
