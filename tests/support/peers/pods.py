"""Pods: their documents, and cases of what becomes of them."""

from typing import Any

from tests.support.peers.shims import IMAGE

FAILED = ("CreateContainerError", "RunContainerError", "StartError", "CreateContainerConfigError", "CrashLoopBackOff")
Case = tuple[dict[str, Any], dict[str, Any]]  # what a container has, and what its pod has


def shell(text: str) -> dict[str, Any]:
    """Return the part of a container that makes a shell do something."""
    return {"command": ["sh", "-c", f"exec 2>&1; {text}"]}


def pod(name: str, container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return a pod with one container, which is started once."""
    metadata = {"name": name, "namespace": "default", "labels": {"app": "test"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(container, **spec)}


def pod_spec(container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return what a Deployment's template has, too."""
    whole = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", **container}
    return {"containers": [whole], "restartPolicy": "Never", "terminationGracePeriodSeconds": 5, **spec}


LIMITED = {"resources": {"limits": {"memory": "24Mi", "cpu": "500m"}}}
CONFINED = {
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
SEEN = "id; grep -E 'Cap|NoNew|Seccomp:|Groups' /proc/self/status; touch /x; ulimit -a; cat /proc/self/oom_score_adj"
MOUNTS = (  # but for those that mask, which are ours in another way
    "cut -d' ' -f2-4 /proc/mounts | grep -v -e overlay -e '^/proc/.* tmpfs' -e ^/sys/firmware |"
    " sed 's/size=[0-9]*k//' | sort; ls -l /dev | awk '{print $1, $NF}'"
)
PORTS = "net.ipv4.ip_unprivileged_port_start"
VOLUME = [{"name": "data", "mountPath": "/data"}]
MEMORY = [{"name": "data", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]
CASES: dict[str, Case] = {
    "ends-well": (shell("echo out"), {}),
    "fails": (shell("echo why > /dev/termination-log; echo err >&2; exit 3"), {}),
    "missing-program": ({"command": ["nope"]}, {}),
    "missing-path": ({"command": ["/nope"]}, {}),
    "no-program": ({"command": ["/etc/passwd"]}, {}),
    "directory": ({**shell("pwd"), "workingDir": "/new/one"}, {}),
    "environment": ({**shell("env | grep -v '^HOSTNAME' | sort; wc -l < /etc/hosts"), **LIMITED}, {}),
    "seen": (shell(SEEN), {}),
    "mounts": (shell(MOUNTS), {}),
    "privileged": ({**shell(SEEN), "securityContext": {"privileged": True}}, {}),
    "confined": ({**shell(SEEN), "securityContext": CONFINED}, {"securityContext": {"supplementalGroups": [3000]}}),
    "volume": (
        {
            **shell("touch /data/x; ls -ln /data | awk '{print $1, $3, $4, $9}'; df -k /data | tail -n 1"),
            "volumeMounts": VOLUME,
        },
        {"volumes": MEMORY, "securityContext": {"fsGroup": 2000}},
    ),
    "out-of-memory": ({**shell("sleep 0.5; exec tail /dev/zero"), **LIMITED}, {}),
    "child-out-of-memory": ({**shell("sleep 0.5; tail /dev/zero; echo child $?; exit 7"), **LIMITED}, {}),
    "one-pid-namespace": (shell("ps -o comm > /tmp/list; sort -u /tmp/list"), {"shareProcessNamespace": True}),
    "of-the-node": (shell("hostname; ip -o link show node | wc -l"), {"hostNetwork": True, "hostPID": True}),
    "sysctls": (
        shell(f"cat /proc/sys/{PORTS.replace('.', '/')}"),
        {"securityContext": {"sysctls": [{"name": PORTS, "value": "80"}]}},
    ),
    "terminal": ({**shell("tty; test -t 0"), "tty": True, "stdin": True}, {}),
    "init-container": (
        {**shell("cat /data/text"), "volumeMounts": VOLUME},
        {
            "volumes": [{"name": "data", "emptyDir": {}}],
            "initContainers": [
                pod_spec({**shell("echo text > /data/text"), "name": "first", "volumeMounts": VOLUME})["containers"][0]
            ],
        },
    ),
}
