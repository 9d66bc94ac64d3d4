"""One row of the table of bad documents: how to make the document, and the error it must get."""

import copy
from typing import Any, NamedTuple

from runjail.errors import InvalidConfig
from runjail.spec.parse import parse
from runjail.spec.process import parse_process
from runjail.spec.resources import parse_resources

ABSENT = object()

CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "process": {
        "args": ["/bin/sh"],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}],
    },
    "mounts": [{"destination": "/dev", "type": "devfs", "source": "devfs", "options": ["ruleset=4"]}],
    "hooks": {"poststop": [{"path": "/bin/true"}]},
    "annotations": {},
    "freebsd": {"devices": [{"path": "pf"}], "jail": {"allow": {}}},
    "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}], "resources": {"memory": {}, "cpu": {}, "pids": {}}},
}


class Bad(NamedTuple):
    """name; what is changed, by slash-separated place; the error after its prefix; operating system; document kind."""

    name: str
    changes: dict[str, Any]
    error: str
    os: str = "freebsd"
    kind: str = "config.json"

    def document(self) -> Any:
        """Return the changed document."""
        whole = copy.deepcopy(CONFIG)
        base = {
            "config.json": whole,
            "process document": whole["process"],
            "resources document": whole["linux"]["resources"],
        }
        document = base[self.kind]
        for where, value in self.changes.items():
            *parents, last = (int(step) if step.isdecimal() else step for step in where.split("/"))
            target = document
            for step in parents:
                target = target[step]
            if value is ABSENT:
                del target[last]
            elif isinstance(target, list) and last == len(target):
                target.append(value)
            else:
                target[last] = value
        return document

    def judge(self) -> str:
        """Return the error that the document gets, "" when it is accepted."""
        document = self.document()
        try:
            if self.kind == "config.json":
                parse(document, self.os)
            elif self.kind == "process document":
                parse_process(document, self.os)
            else:
                parse_resources(document)
        except InvalidConfig as error:
            return str(error)
        return ""
