"""A cluster of one machine: etcd, the control plane and a kubelet, and kubectl to talk to it."""

import json
from typing import Any

from tests.support.peers.commands import Finished, eventually
from tests.support.peers.decrypting import key_pair
from tests.support.peers.kubernetes import RUNTIMES, Machine
from tests.support.peers.kubernetes_settings import block
from tests.support.peers.shims import IMAGE

PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


class Cluster(Machine):
    """A machine with a control plane, and a RuntimeClass for each of its runtimes."""

    def begin(self) -> None:
        """Start everything, and wait until pods can be made."""
        super().begin()
        public, private = key_pair()  # what service accounts' tokens are signed with
        (self.directory / "sa.pub").write_bytes(public)
        (self.directory / "sa.key").write_bytes(private)
        self.start("etcd")
        self.start(PLANE[0])
        eventually(lambda: self.kubectl("get", "--raw", "/readyz").code == 0, "the API server is ready", 300)
        for name in (*PLANE[1:], "kubelet"):
            self.start(name)
        eventually(lambda: self.ready() == "True", "the node is ready", 300)
        eventually(lambda: self.kubectl("get", "serviceaccount", "default").code == 0, "pods can be made", 300)
        for name in RUNTIMES:
            text = block("A RuntimeClass", "yaml")
            assert "name: runjail\nhandler: runjail\n" in text
            self.ok("apply", "-f", "-", stdin=text.replace(": runjail\n", f": {name}\n"))

    def kubectl(self, *words: str, **more: Any) -> Finished:
        """Run kubectl."""
        return self.run("kubectl", f"--kubeconfig={self.directory}/kubeconfig", *words, **more)

    def ok(self, *words: str, **more: Any) -> Finished:
        """Run kubectl and insist on success."""
        done = self.kubectl(*words, **more)
        assert done.code == 0, done
        return done

    def ready(self) -> str:
        """Return the node's condition Ready, "" without a node."""
        path = "-o=jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        return self.kubectl("get", "node", "node", path).out

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change objects."""
        self.ok("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def deployment(self, runtime: str, replicas: int) -> dict[str, Any]:
        """Return the Deployment of the page, for our image and a runtime."""
        text = block("A RuntimeClass", "yaml", 1)
        found: dict[str, Any] = json.loads(self.ok("create", "--dry-run=client", "-o=json", "-f", "-", stdin=text).out)
        spec = found["spec"]["template"]["spec"]
        assert (found["spec"]["replicas"], spec["runtimeClassName"]) == (20, "runjail")
        found["spec"]["replicas"], spec["runtimeClassName"] = replicas, runtime
        spec["containers"][0].update(image=IMAGE, imagePullPolicy="Never")
        spec["terminationGracePeriodSeconds"] = 2
        return found

    def pods(self) -> dict[str, dict[str, Any]]:
        """Return all pods' statuses by their names."""
        items = json.loads(self.ok("get", "pods", "-o", "json").out)["items"]
        return {item["metadata"]["name"]: item["status"] for item in items}

    def state(self, name: str) -> dict[str, Any]:
        """Return the state of a pod's only container: one key, `waiting`, `running` or `terminated`."""
        found = (self.pods().get(name, {}).get("containerStatuses") or [{}])[0]
        return dict(found.get("state", {}))

    def events(self, name: str) -> str:
        """Return what the events of a pod say."""
        return self.ok("get", "events", f"--field-selector=involvedObject.name={name}", "-o", "json").out

    def remove_pods(self) -> None:
        """Delete all pods and what makes them, and wait until the last one has ended."""
        self.ok("delete", "deployments,pods", "--all", "--timeout=180s", seconds=200)
        eventually(lambda: not self.shims(), "the pods' shims end", 120)
