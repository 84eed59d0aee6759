"""A stand-in for YARN's ResourceManager on loopback, for tests: what it answers; see yarn.py."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from yarn_node import Node

ADDRESS = "127.0.0.1"
CORES, MEMORY_MB = 8, 16384
PROTOCOLS = "org.apache.hadoop.yarn.api."
RECORDS = PROTOCOLS + "records."
RESPONSES = PROTOCOLS + "protocolrecords."


class Records:
    """Makes YARN's messages."""

    def __init__(self, jvm: Any) -> None:
        self._jvm = jvm
        self.types = jvm.org.apache.hadoop.yarn.api.records

    def new(self, name: str, package: str = RESPONSES, **values: Any) -> Any:
        """A message, empty but for these fields (setName=value)."""
        kind = self._jvm.java.lang.Class.forName(package + name)
        record = self._jvm.org.apache.hadoop.yarn.util.Records.newRecord(kind)
        for setter, value in values.items():
            getattr(record, setter)(value)
        return record

    def resource(self, memory_mb: int, cores: int) -> Any:
        """An amount of memory and cores."""
        return self.types.Resource.newInstance(memory_mb, cores)

    def token(self, text: str, kind: str, place: str) -> Any:
        """What stands where YARN proves something; nobody asks it here."""
        return self.types.Token.newInstance(bytearray(text.encode()), kind, bytearray(b"x"), place)


@dataclass
class Application:
    """What was submitted, and how far it is."""

    id: Any
    attempt: Any
    name: str = ""
    state: str = "NEW"
    outcome: str = "UNDEFINED"
    diagnostics: str = ""
    host: str = "N/A"
    rpc_port: int = -1
    containers: list[str] = field(default_factory=list)
    wanted: dict[tuple[Any, ...], list[Any]] = field(default_factory=dict)
    ended: list[Any] = field(default_factory=list)

    @property
    def goes_on(self) -> bool:
        """Whether it may still run something."""
        return self.state in ("ACCEPTED", "RUNNING")


class Cluster:
    """The applications and the node that all services share."""

    def __init__(self, records: Records, node: Node) -> None:
        self.records = records
        self.node = node
        self.node_id: Any = None
        self.lock = threading.RLock()
        self.applications: dict[str, Application] = {}
        self._started = int(time.time() * 1000)

    def new_application(self) -> Application:
        """One more."""
        types = self.records.types
        number = types.ApplicationId.newInstance(self._started, len(self.applications) + 1)
        one = Application(number, types.ApplicationAttemptId.newInstance(number, 1))
        self.applications[number.toString()] = one
        return one

    def current(self) -> Application:
        """The one whose ApplicationMaster calls: one runs at a time."""
        return [one for one in self.applications.values() if one.goes_on][-1]

    def new_container(self, one: Application) -> Any:
        """The id of the next container; the first is the ApplicationMaster's."""
        number = self.records.types.ContainerId.newContainerId(one.attempt, len(one.containers) + 1)
        one.containers.append(number.toString())
        return number

    def launch(self, one: Application, container: str, context: Any) -> None:
        """Start a container, and note its end."""
        is_master = container == one.containers[0]

        def ended(code: int) -> None:
            types = self.records.types
            status = types.ContainerStatus.newInstance(
                types.ContainerId.fromString(container),
                types.ContainerState.COMPLETE,
                f"exit {code}",
                code,
            )
            with self.lock:
                one.ended.append(status)
                if is_master and one.goes_on:
                    self.end(one, "FAILED", f"the ApplicationMaster ended with {code}")

        self.node.start(one.id.toString(), container, context, ended)

    def end(self, one: Application, state: str, diagnostics: str) -> None:
        """An application ends by itself or by others."""
        one.state, one.outcome, one.diagnostics = state, state, diagnostics
        self.node.stop(one.containers)


class ClientService:
    """What Spark's client talks to."""

    class Java:
        implements = (PROTOCOLS + "ApplicationClientProtocol",)

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._records = cluster.records

    def getNewApplication(self, _request: Any) -> Any:
        return self._records.new(
            "GetNewApplicationResponse",
            setApplicationId=self._cluster.new_application().id,
            setMaximumResourceCapability=self._records.resource(MEMORY_MB, CORES),
        )

    def submitApplication(self, request: Any) -> Any:
        context = request.getApplicationSubmissionContext()
        one = self._cluster.applications[context.getApplicationId().toString()]
        one.name, one.state = context.getApplicationName(), "ACCEPTED"
        master = self._cluster.new_container(one).toString()
        self._cluster.launch(one, master, context.getAMContainerSpec())
        return self._records.new("SubmitApplicationResponse")

    def getApplicationReport(self, request: Any) -> Any:
        one = self._cluster.applications[request.getApplicationId().toString()]
        records, types = self._records, self._records.types
        nothing = records.resource(0, 0)
        usage = records.new(
            "ApplicationResourceUsageReport",
            RECORDS,
            setNumUsedContainers=len(one.containers),
            setNumReservedContainers=0,
            setUsedResources=nothing,
            setReservedResources=nothing,
            setNeededResources=nothing,
        )
        report = records.new(
            "ApplicationReport",
            RECORDS,
            setApplicationId=one.id,
            setCurrentApplicationAttemptId=one.attempt,
            setUser=os.environ.get("USER", "root"),
            setQueue="default",
            setName=one.name,
            setHost=one.host,
            setRpcPort=one.rpc_port,
            setYarnApplicationState=getattr(types.YarnApplicationState, one.state),
            setFinalApplicationStatus=getattr(types.FinalApplicationStatus, one.outcome),
            setDiagnostics=one.diagnostics,
            setTrackingUrl="",
            setApplicationResourceUsageReport=usage,
        )
        return records.new("GetApplicationReportResponse", setApplicationReport=report)

    def getClusterMetrics(self, _request: Any) -> Any:
        metrics = self._records.new("YarnClusterMetrics", RECORDS, setNumNodeManagers=1)
        return self._records.new("GetClusterMetricsResponse", setClusterMetrics=metrics)

    def getQueueInfo(self, _request: Any) -> Any:
        return self._records.new("GetQueueInfoResponse")

    def forceKillApplication(self, request: Any) -> Any:
        one = self._cluster.applications[request.getApplicationId().toString()]
        self._cluster.end(one, "KILLED", "")
        return self._records.new("KillApplicationResponse", setIsKillCompleted=True)


class MasterService:
    """What an ApplicationMaster talks to."""

    class Java:
        implements = (PROTOCOLS + "ApplicationMasterProtocol",)

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._records = cluster.records

    def registerApplicationMaster(self, request: Any) -> Any:
        one = self._cluster.current()
        one.state, one.host, one.rpc_port = "RUNNING", request.getHost(), request.getRpcPort()
        return self._records.new(
            "RegisterApplicationMasterResponse",
            setMaximumResourceCapability=self._records.resource(MEMORY_MB, CORES),
            setQueue="default",
        )

    def allocate(self, request: Any) -> Any:
        cluster, one = self._cluster, self._cluster.current()
        for ask in request.getAskList():
            # The same is asked for by node and by rack as well.
            if ask.getResourceName() == "*":
                key = (ask.getPriority().getPriority(), ask.getAllocationRequestId())
                one.wanted[key] = [ask, ask.getNumContainers()]
        cluster.node.stop(number.toString() for number in request.getReleaseList())
        given = []
        for ask, count in one.wanted.values():
            given += [self._container(one, ask) for _ in range(count)]
        one.wanted.clear()
        with cluster.lock:
            ended, one.ended = one.ended, []
        place = f"{ADDRESS}:{cluster.node_id.getPort()}"
        token = self._records.token("node", "NMToken", place)
        tokens = [self._records.types.NMToken.newInstance(cluster.node_id, token)] if given else []
        return self._records.new(
            "AllocateResponse",
            setResponseId=request.getResponseId() + 1,
            setAllocatedContainers=given,
            setCompletedContainersStatuses=ended,
            setUpdatedNodes=[],
            setNMTokens=tokens,
            setAvailableResources=self._records.resource(MEMORY_MB, CORES),
            setNumClusterNodes=1,
        )

    def finishApplicationMaster(self, request: Any) -> Any:
        one = self._cluster.current()
        one.state, one.outcome = "FINISHED", request.getFinalApplicationStatus().toString()
        one.diagnostics = request.getDiagnostics() or ""
        return self._records.new("FinishApplicationMasterResponse", setIsUnregistered=True)

    def _container(self, one: Application, ask: Any) -> Any:
        number, node = self._cluster.new_container(one), self._cluster.node_id
        place = f"{ADDRESS}:{node.getPort()}"
        container = self._records.types.Container.newInstance(
            *(number, node, f"{ADDRESS}:0", ask.getCapability(), ask.getPriority()),
            self._records.token(number.toString(), "ContainerToken", place),
        )
        container.setAllocationRequestId(ask.getAllocationRequestId())
        return container


class NodeService:
    """What an ApplicationMaster starts its containers by."""

    class Java:
        implements = (PROTOCOLS + "ContainerManagementProtocol",)

    def __init__(self, cluster: Cluster, jvm: Any) -> None:
        self._cluster = cluster
        self._records = cluster.records
        self._jvm = jvm

    def startContainers(self, request: Any) -> Any:
        started = []
        for one in request.getStartContainerRequests():
            name = bytes(one.getContainerToken().getIdentifier().array()).decode()
            owner = self._cluster.current()
            self._cluster.launch(owner, name, one.getContainerLaunchContext())
            started.append(self._records.types.ContainerId.fromString(name))
        return self._records.new(
            "StartContainersResponse",
            setSuccessfullyStartedContainers=started,
            setFailedRequests=self._jvm.java.util.HashMap(),
            setAllServicesMetaData=self._jvm.java.util.HashMap(),
        )

    def stopContainers(self, request: Any) -> Any:
        numbers = list(request.getContainerIds())
        self._cluster.node.stop(number.toString() for number in numbers)
        return self._records.new(
            "StopContainersResponse",
            setSuccessfullyStoppedContainers=numbers,
            setFailedRequests=self._jvm.java.util.HashMap(),
        )
