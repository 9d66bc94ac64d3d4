"""The examples of help texts, by verb: lines as people type them.

Placeholders are named `web`, `alpine` and `registry.example`; bundles lie in /bundles.
"""

from __future__ import annotations

from collections.abc import Sequence

EXAMPLES: dict[str, Sequence[str]] = {
    "attach": ("runjail attach web", "runjail attach --detach-keys ctrl-q web"),
    "check": ("runjail check", "runjail check --format json"),
    "commit": ("runjail commit web web:2", "runjail commit --recipient jwe:key.pub web web:encrypted"),
    "completion": ("runjail completion bash",),
    "cp": ("runjail cp web:/etc/hosts .", "runjail cp index.html web:/srv/www/"),
    "create": ("runjail create web", "runjail create -b /bundles/web --pid-file /run/web.pid web"),
    "delete": ("runjail delete web", "runjail delete -f web"),
    "diff": ("runjail diff web",),
    "events": ("runjail events web", "runjail events --stats web"),
    "exec": (
        "runjail exec -it web sh",
        "runjail exec -u 1000:1000 -e DEBUG=1 web id",
        "runjail exec -d -p process.json web",
    ),
    "features": ("runjail features",),
    "inspect": ("runjail inspect web", "runjail inspect --format '{{.State.Status}}' web"),
    "kill": ("runjail kill web", "runjail kill -s HUP web"),
    "list": ("runjail list", "runjail list -q"),
    "logs": ("runjail logs -f --tail 20 web", "runjail logs --since 10m -t web"),
    "nri": ("runjail nri ls",),
    "pause": ("runjail pause web",),
    "plan": ("runjail plan -b /bundles/web web", "runjail plan -b /bundles/web --os freebsd web"),
    "ps": ("runjail ps web", "runjail ps web -ef"),
    "resume": ("runjail resume web",),
    "run": (
        "runjail run --image alpine web",
        "runjail run -it --image alpine web sh",
        "runjail run -d --image nginx -p 8080:80 --restart on-failure:3 web",
        "runjail run --image alpine -v data:/data -e DEBUG=1 -m 256m web -- ls /data",
        "runjail run --key key.pem --image web:encrypted web",
        "runjail run -b /bundles/web web",
    ),
    "spec": ("runjail spec -b /bundles/web",),
    "start": ("runjail start web",),
    "state": ("runjail state web",),
    "stats": ("runjail stats", "runjail stats --no-stream --format '{{.Name}} {{.PIDs}}' web"),
    "top": ("runjail top web", "runjail top web user pid args"),
    "update": ("runjail update --memory 512m --pids-limit 200 web", "runjail update -r limits.json web"),
    "validate": ("runjail validate -b /bundles/web",),
    "wait": ("runjail wait web",),
    "image bundle": ("runjail image bundle alpine /bundles/web", "runjail image bundle alpine /bundles/web sleep 60"),
    "image decrypt": ("runjail image decrypt --key key.pem web:encrypted web:1",),
    "image encrypt": (
        "runjail image encrypt --recipient jwe:key.pub web:1 web:encrypted",
        "runjail image encrypt --recipient pgp:alice@example.org --layer 0 web:1 web:encrypted",
    ),
    "image export": ("runjail image export web:1 oci-archive:web.tar",),
    "image import": (
        "runjail image import oci-archive:web.tar web:1",
        "runjail image import --cmd /bin/sh rootfs:/bundles/web/rootfs web:1",
    ),
    "image inspect": ("runjail image inspect web:1", "runjail image inspect registry.example/web:1"),
    "image layerinfo": ("runjail image layerinfo web:encrypted",),
    "image login": (
        "runjail image login registry.example",
        "runjail image login -u alice --password-stdin registry.example",
    ),
    "image logout": ("runjail image logout registry.example", "runjail image logout --all"),
    "image ls": ("runjail image ls", "runjail image ls -q"),
    "image prune": ("runjail image prune", "runjail image prune --all"),
    "image pull": (
        "runjail image pull alpine",
        "runjail image pull --platform linux/arm64 registry.example/web:1",
        "runjail image pull registry.example/web:1 web:1",
    ),
    "image push": (
        "runjail image push web:1 registry.example/web:1",
        "runjail image push --compression zstd web:1 registry.example/web:1",
    ),
    "image rm": ("runjail image rm web:1",),
    "image tag": ("runjail image tag web:1 web:stable",),
    "image unpack": ("runjail image unpack web:1", "runjail image unpack --key key.pem web:encrypted"),
    "network check": ("runjail network check web",),
    "network create": ("runjail network create web", "runjail network create --subnet 10.88.1.0/24 --internal inner"),
    "network gc": ("runjail network gc web",),
    "network inspect": ("runjail network inspect web",),
    "network ls": ("runjail network ls",),
    "network rm": ("runjail network rm web",),
    "volume create": ("runjail volume create data",),
    "volume inspect": ("runjail volume inspect data",),
    "volume ls": ("runjail volume ls",),
    "volume rm": ("runjail volume rm data",),
}


def lines(verb: str) -> list[str]:
    """Return the examples of a verb, `run` or `image pull`, as a block of a page; nothing for a verb without."""
    found = EXAMPLES.get(verb, ())
    return ["Examples:", *(f"  {line}" for line in found)] if found else []
