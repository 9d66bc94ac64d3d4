"""create: from a bundle to a container whose init waits for `start` (runtime-spec, Create)."""

from __future__ import annotations

import os
import time

from runjail import jsonio, log, signals
from runjail.container import init
from runjail.container.files import write_pid
from runjail.container.joining import Joining
from runjail.container.status import document as state_document
from runjail.container.sync import pair
from runjail.errors import ContainerExists, InvalidConfig, UsageError
from runjail.files import require_replaceable
from runjail.plan.plan import check_allowed, make_plan
from runjail.record import Record, to_data
from runjail.spec.parse import parse, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from runjail.container.state import Container, Runtime
    from runjail.host.base import Host
    from runjail.spec.model import Hooks, Spec
    from runjail.steps import Plan


class Request(Record):
    """What `create` was asked for; paths are absolute.

    preserve: how many descriptors from 3 on the program inherits; listen: how many of them are systemd's. keyring:
    whether processes inside get session keyrings of their own. systemd: whether a Linux container is to lie in a scope
    of systemd's.
    """

    id: str
    bundle: str
    pid_file: str = ""
    console_socket: str = ""
    preserve: int = 0
    listen: int = 0
    keyring: bool = True
    systemd: bool = False


def create(
    request: Request,
    host: Host,
    runtime: Runtime,
    terminal: _socket.socket | None = None,
    document: object = None,
) -> Container:
    """Create a container, or fail and leave nothing behind. When it returns, signals are held: the caller has it now.

    terminal: a connected socket for the terminal's master, instead of request.console_socket. document: the parsed
    config.json where the caller has read it already.
    """
    container = runtime.container(request.id)
    raw = document or read(f"{request.bundle}/config.json")
    spec = parse(raw, host.os)
    _check(request, spec, terminal)
    plan = make_plan(
        spec,
        container_id=request.id,
        bundle=request.bundle,
        state=container.path,
        os=host.os,
        systemd=request.systemd,
    )
    if spec.freebsd.jail.needs_grant and host.os == "freebsd":
        check_allowed(spec, *runtime.allowed_params())
    if not os.path.isdir(plan.source):
        raise InvalidConfig([f"root.path: {plan.source} is not a directory"])
    if request.console_socket:
        from runjail.container import console

        terminal = console.connect(request.console_socket)
    signals.hold()
    container = _reserve(request.id, host, runtime)
    try:
        signals.release()
        _record(container, request, spec, plan, host)
        container.write("config.json", jsonio.dumps(raw).encode())
        _build(container, request, spec, plan, host, terminal)
        signals.hold()
    except BaseException as error:  # also an interrupt: a half-made container is of no use to anybody
        from runjail.container.delete import roll_back

        roll_back(container, host, error)
        raise
    finally:
        if terminal:
            terminal.close()
    return container


def _reserve(container_id: str, host: Host, runtime: Runtime) -> Container:
    """Take the id. A container from before the machine was last started holds it no longer: nothing of it lives."""
    try:
        return runtime.reserve(container_id)
    except ContainerExists:
        from runjail.container.delete import delete_stale

        if not delete_stale(runtime.container(container_id), host):
            raise
        return runtime.reserve(container_id)


def _check(request: Request, spec: Spec, terminal: object) -> None:
    if spec.process is None:
        raise InvalidConfig(["process: is required to create a container"])
    if spec.process.terminal and not (request.console_socket or terminal):
        raise UsageError("cannot allocate a terminal for a detached container: --console-socket is missing")
    if request.console_socket and not spec.process.terminal:
        raise UsageError("--console-socket is of no use: process.terminal is not true")
    if request.pid_file:
        require_replaceable(request.pid_file)
    if spec.process.capabilities:
        from runjail.spec.capabilities import unknown

        if names := unknown(spec.process.capabilities):
            log.warning(f"not granted: unknown capabilities {', '.join(names)}")


def _record(container: Container, request: Request, spec: Spec, plan: Plan, host: Host) -> None:
    """Write down what is known before anything is done."""
    host_state = container.host_state
    host_state.name, host_state.source, host_state.root, host_state.keyring = (
        plan.name,
        plan.source,
        plan.root,
        request.keyring,
    )
    hooks_later = {
        "startContainer": spec.hooks.start_container,
        "poststart": spec.hooks.poststart,
        "poststop": spec.hooks.poststop,
    }
    container.data = {
        "ociVersion": spec.oci_version,
        "bundle": request.bundle,
        "created": log.timestamp(time.time_ns()),
        "owner": str(os.geteuid()),
        "annotations": dict(spec.annotations),
        "hooks": {kind: to_data(listed) for kind, listed in hooks_later.items() if listed},
        "boot": host.boot_id(),
        "creator": [os.getpid(), host.start_time(os.getpid())],
    }
    container.save()


def _build(
    container: Container,
    request: Request,
    spec: Spec,
    plan: Plan,
    host: Host,
    terminal: _socket.socket | None,
) -> None:
    host_state = container.host_state
    for step in plan.steps if log.debugging() else ():
        log.debug(f"container {container.id}: {step!r}")
    for step in plan.steps:
        if not (step.inside or step.with_init):
            host.apply(step, host_state, container.note)
    gate = init.listen_at_gate(container)
    link, theirs = pair()
    process, inner = spec.process, spec.hooks.create_container
    assert process, "_check has seen to it"
    signals.hold()
    joined = Joining(host.fork_init(host_state, plan), link)
    host_state.pid = joined.pid
    if not host_state.pid:
        link.close()
        preserve, listen = request.preserve, request.listen
        init.run(init.InitConfig(host, container, plan, process, inner, theirs, gate, terminal, preserve, listen))
    theirs.close()
    gate.close()
    _know(container, host)
    signals.release()
    if process.oom_score_adj is not None:
        host.set_oom_score(host_state.pid, process.oom_score_adj)
    for step in plan.steps:
        if step.with_init:
            host.apply(step, host_state, container.note)
    _sync_with_init(container, spec.hooks, host, joined)
    if request.pid_file:
        write_pid(container, request.pid_file, host_state.pid)
    container.data["creator"] = None
    container.save()
    container.unlock()


def _know(container: Container, host: Host) -> None:
    """Write down which process init is."""
    host_state = container.host_state
    host_state.started = host.start_time(host_state.pid)
    container.note(
        {"undo": "init", "pid": host_state.pid, "started": host_state.started, "boot": container.data["boot"]}
    )
    container.save()


def _sync_with_init(container: Container, listed: Hooks, host: Host, joined: Joining) -> None:
    """Let init go to its place before the gate; hooks run on its way, without our lock."""
    link = joined.link
    state = state_document(container, host, "creating")
    hooked = listed.prestart or listed.create_runtime or listed.create_container
    link.send(go=[container.host_state.cgroup, container.host_state.devices])  # a scope has them since init was forked
    if not hooked:
        link.send(confine=state)  # it need not wait for us
    link.expect("isolated")  # so far nobody inside can stop it, and mounts may take their time
    host.record_namespaces(container.host_state)
    if hooked:
        from runjail.container import hooks

        container.save()
        container.unlock()
        hooks.run("prestart", listed.prestart, state, container.data["bundle"])
        hooks.run("createRuntime", listed.create_runtime, state, container.data["bundle"])
        link.send(confine=state)
    if listed.create_container:
        link.expect("hooked")

    def known(pid: int) -> None:
        """Init appears in a pid namespace of others: it is another process from now on."""
        if hooked:
            container.lock()
        container.host_state.pid = pid
        _know(container, host)
        host.record_namespaces(container.host_state)

    joined.expect("parked", known)
    if hooked:
        container.lock()
