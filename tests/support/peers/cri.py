"""A small client of containerd's CRI socket: the calls that a kubelet makes for one pod (cri-api, runtime/v1)."""

from typing import Any

from runjail import protobuf

ID = {1: ("id", "s")}
NAMESPACES = {1: ("network", "u"), 2: ("pid", "u"), 3: ("ipc", "u")}
POD = {
    1: ("metadata", {1: ("name", "s"), 2: ("uid", "s"), 3: ("namespace", "s"), 4: ("attempt", "u")}),
    2: ("hostname", "s"),
    3: ("log_directory", "s"),
    6: ("labels", "m"),
    7: ("annotations", "m"),
    8: ("linux", {1: ("cgroup_parent", "s"), 2: ("security_context", {1: ("namespace_options", NAMESPACES)})}),
}
CONTAINER = {
    1: ("metadata", {1: ("name", "s"), 2: ("attempt", "u")}),
    2: ("image", {1: ("image", "s")}),
    3: ("command", ["s"]),
    6: ("envs", [{1: ("key", "s"), 2: ("value", "s")}]),
    11: ("log_path", "s"),
    15: ("linux", {2: ("security_context", {3: ("namespace_options", NAMESPACES)})}),
}
STATUS = {1: ("id", "s"), 3: ("state", "u"), 7: ("exit_code", "i"), 10: ("reason", "s")}
METHODS: dict[str, tuple[Any, Any]] = {
    "RunPodSandbox": ({1: ("config", POD), 2: ("runtime_handler", "s")}, ID),
    "ListPodSandbox": ({}, {1: ("items", [{1: ("id", "s")}])}),
    "StopPodSandbox": (ID, {}),
    "RemovePodSandbox": (ID, {}),
    "PodSandboxStatus": (ID, {1: ("status", {1: ("id", "s"), 3: ("state", "u")})}),
    "CreateContainer": ({1: ("id", "s"), 2: ("config", CONTAINER), 3: ("sandbox_config", POD)}, ID),
    "StartContainer": (ID, {}),
    "StopContainer": ({1: ("id", "s"), 2: ("timeout", "i")}, {}),
    "RemoveContainer": (ID, {}),
    "ContainerStatus": (ID, {1: ("status", STATUS)}),
    "ContainerStats": (ID, {1: ("stats", {2: ("cpu", {2: ("usage", {1: ("value", "u")})})})}),
    "UpdateContainerResources": (
        {
            1: ("id", "s"),
            2: ("linux", {1: ("cpu_period", "i"), 2: ("cpu_quota", "i"), 4: ("memory_limit_in_bytes", "i")}),
        },
        {},
    ),
    "ExecSync": (
        {1: ("id", "s"), 2: ("cmd", ["s"]), 3: ("timeout", "i")},
        {1: ("stdout", "y"), 2: ("stderr", "y"), 3: ("exit_code", "i")},
    ),
}
NODE = 2  # a namespace of the machine's
RUNNING, EXITED = 1, 2


class Cri:
    """Call it with a method's name and the fields of its request; it returns the response as a dict."""

    def __init__(self, socket: str) -> None:
        import grpc

        self._channel = grpc.insecure_channel(f"unix://{socket}")

    def __call__(self, method: str, **request: Any) -> dict[str, Any]:
        """Make one call. Raises grpc.RpcError."""
        wanted, given = METHODS[method]
        call = self._channel.unary_unary(
            f"/runtime.v1.RuntimeService/{method}",
            request_serializer=lambda message: protobuf.encode(wanted, message),
            response_deserializer=lambda data: protobuf.decode(given, data),
        )
        answer: dict[str, Any] = call(request, timeout=60)
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()
