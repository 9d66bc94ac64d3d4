"""The configuration of Kubernetes' programs, and their command lines; containerd's is that of docs/kubernetes.md."""

import json
from pathlib import Path

from tests.support.peers.commands import RUNJAIL
from tests.support.peers.decrypting import DECODER, Node
from tests.support.peers.shims import IMAGE, snapshotter

ADDRESS, PORT = "10.77.0.1", 6443  # of the machine, in its own network namespace
PODS = "10.78.0.0/16"
TOKEN = "of-the-tests"  # who knows it may do everything, in a network that nobody else is in
PLUGINS = "/var/lib/kubelet/volume-plugins"  # a directory that is made at the start
REGISTRY = "127.0.0.1:5000"  # in that namespace, too
DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE, ENCRYPTED_PAGE = DOCS / "kubernetes.md", DOCS / "encrypted-images-containerd.md"
CONTAINERD_2 = """\

[grpc]
  address = "{0}/containerd.sock"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "{snapshotter}"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{image}"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{0}/cni"
"""
CONTAINERD_1 = """\

[grpc]
  address = "{0}/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{0}/cni"
"""
KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},
    "cgroupDriver": "cgroupfs",
    "evictionHard": {"memory.available": "1Mi"},  # a disk that is nearly full is no matter here
    "failCgroupV1": False,
    "failSwapOn": False,
    "makeIPTablesUtilChains": False,
    "nodeStatusUpdateFrequency": "2s",
    "resolvConf": "",
    "fileCheckFrequency": "1s",
    "syncFrequency": "5s",
    "maxPods": 60,
    "volumePluginDir": PLUGINS,
}
KUBELET_OPTIONS = [f"--node-ip={ADDRESS}", "--hostname-override=node", "--root-dir=/var/lib/kubelet"]
BRIDGE = {
    "type": "bridge",
    "bridge": "cni0",
    "isGateway": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
}


def settings(directory: Path, group: str, engine: str) -> dict[str, str]:
    """Return the files of a cluster by their names below its directory. engine: `containerd` or `crio`."""
    endpoint = f"unix://{directory}/{engine}.sock"
    kubelet = {**KUBELET, "cgroupRoot": f"/{group}", "containerRuntimeEndpoint": endpoint}
    network = {"cniVersion": "1.0.0", "name": "pods", "plugins": [BRIDGE]}
    storage = {"filesystem": {"rootdirectory": f"{directory}/registry"}}
    return {
        "kubelet.json": json.dumps(kubelet),
        "kubelet-alone.json": json.dumps({**kubelet, "staticPodPath": f"{directory}/manifests"}),
        "cni/pods.conflist": json.dumps(network),
        "tokens.csv": f'{TOKEN},admin,admin,"system:masters"\n',
        "kubeconfig": json.dumps(_kubeconfig()),
        "registry.yml": json.dumps({"version": "0.1", "storage": storage, "http": {"addr": REGISTRY}}),
    }


def block(heading: str, language: str, before: int = 0, page: Path = PAGE) -> str:
    """Return a block of a language below a heading of a page. before: how many come before it."""
    section = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    return section.partition("\n## ")[0].split(f"```{language}\n")[before + 1].partition("```")[0]


def replaced(text: str, places: dict[str, str]) -> str:
    """Return a configuration of the pages with a test's places."""
    for there, here in places.items():
        assert there in text, there
        text = text.replace(there, here)
    return text


def containerd_settings(directory: Path, node: Node, default: str, version: int) -> str:
    """Return containerd's configuration: that of the pages but for places, with ours. version: the major one."""
    if version == 1:
        text = block("Nodes with containerd 1.7", "toml") + block("Configure", "toml", page=ENCRYPTED_PAGE).replace(
            "version = 2\n", ""
        )
        heading, rest, number = '[plugins."io.containerd.grpc.v1.cri".containerd]\n', CONTAINERD_1, "version = 2\n"
    else:
        text = block("Nodes with containerd 2.x", "toml") + block("Encrypted images", "toml")
        heading, rest, number = "[plugins.'io.containerd.cri.v1.runtime'.containerd]\n", CONTAINERD_2, "version = 3\n"
    runc = f"{heading.rstrip()[:-1]}.runtimes.runc]\n  runtime_type = 'io.containerd.runc.v2'\n"
    used = f"  snapshotter = '{snapshotter(directory)}'\n" if version == 1 else ""
    places = {
        number: f'{number}root = "{directory}/containerd"\nstate = "{directory}/state"\n',
        heading: f"{heading}  default_runtime_name = '{default}'\n{used}{runc}",
        "/usr/local/bin/runjail": str(RUNJAIL),
        "/run/runjail": f"{directory}/runjail",
        "/usr/local/bin/ctd-decoder": str(DECODER),
        "/etc/containerd/ocicrypt/keys": str(node.keys),
        "/var/lib/containerd/": f"{directory}/containerd/",
    }
    return replaced(text, places) + rest.format(directory, snapshotter=snapshotter(directory), image=IMAGE)


def _kubeconfig() -> dict[str, object]:
    cluster = {"server": f"https://{ADDRESS}:{PORT}", "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "admin"}}],
        "current-context": "here",
    }


def words_of(name: str, directory: Path) -> list[str]:
    """Return the command line of one of a cluster's programs."""
    config = f"--kubeconfig={directory}/kubeconfig"
    words = {
        "etcd": [f"--data-dir={directory}/etcd", "--unsafe-no-fsync", "--log-level=warn"],
        "kube-apiserver": [
            "--etcd-servers=http://127.0.0.1:2379",
            f"--cert-dir={directory}/certificates",
            f"--bind-address={ADDRESS}",
            f"--secure-port={PORT}",
            f"--token-auth-file={directory}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.79.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={directory}/sa.pub",
            f"--service-account-signing-key-file={directory}/sa.key",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
        ],
        "kube-controller-manager": [
            config,
            f"--service-account-private-key-file={directory}/sa.key",
            f"--root-ca-file={directory}/certificates/apiserver.crt",
            "--leader-elect=false",
            f"--cert-dir={directory}/certificates",
            f"--flex-volume-plugin-dir={PLUGINS}",
        ],
        "kube-scheduler": [config, "--leader-elect=false", f"--cert-dir={directory}/certificates"],
        "containerd": ["--config", f"{directory}/containerd.toml"],
        "crio": [f"--config={directory}/crio.conf", "--config-dir="],
        "docker-registry": ["serve", f"{directory}/registry.yml"],
        "kubelet": [config, f"--config={directory}/kubelet.json", *KUBELET_OPTIONS],
        "kubelet-alone": [f"--config={directory}/kubelet-alone.json", *KUBELET_OPTIONS],
    }
    return [name.removesuffix("-alone"), *words[name]]
