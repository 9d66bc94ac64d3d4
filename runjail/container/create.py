"""create: from a bundle to a container whose init waits for `start` (runtime-spec, Create)."""

from __future__ import annotations

import os
import time

from runjail import jsonio, log, signals
from runjail.container import gate, init
from runjail.container.container import Container, Runtime
from runjail.container.joining import Joining
from runjail.container.pid_file import write_pid
from runjail.container.reserve import reserve
from runjail.container.state import ProcessId
from runjail.container.status import document as state_document
from runjail.container.sync import pair
from runjail.errors import ContainerExists, DiedEarly, HostError, InvalidConfig, UsageError
from runjail.files import require_replaceable
from runjail.plan.paths import absolute
from runjail.plan.plan import check_allowed, make_plan
from runjail.record import Record, to_data
from runjail.spec.document import read
from runjail.spec.model import Hook, Spec
from runjail.spec.parse import parse
from runjail.steps import Plan, Step
from runjail.target import TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from runjail.container.network import Networks
    from runjail.network.usermode import UserNetwork


class Request(Record):
    """What `create` was asked for; paths are absolute.

    preserve: how many descriptors from 3 on the program inherits; listen: how many of them are systemd's. keyring:
    whether processes inside get session keyrings of their own. systemd: whether a Linux container is to lie in a scope
    of systemd's. networks: what the container is attached to by CNI; user_network: which program is its network
    instead. pidfd_socket: who gets a pidfd of init.
    """

    id: str
    bundle: str
    pid_file: str = ""
    console_socket: str = ""
    preserve: int = 0
    listen: int = 0
    keyring: bool = True
    systemd: bool = False
    networks: Networks | None = None
    pidfd_socket: str = ""
    user_network: UserNetwork | None = None


def create(
    request: Request,
    runtime: Runtime,
    terminal: _socket.socket | None = None,
    document: object = None,
    prepare: Callable[[Container], None] | None = None,
) -> Container:
    """Create a container, or fail and leave nothing behind. When it returns, signals are held: the caller has it now.

    terminal: a connected socket for the terminal's master, instead of request.console_socket. document: the parsed
    config.json where the caller has read it already. prepare: is called once the container has its directory, before
    anything else is made.
    """
    container = runtime.container(request.id)  # first: whatever else is wrong, an invalid id is the error to report
    raw = read(f"{request.bundle}/config.json") if document is None else document
    spec, plan = _plan(request, raw, container, terminal)
    if request.console_socket:
        from runjail.container import console

        terminal = console.connect(request.console_socket)
    signals.hold()
    container = _take_id(request.id, runtime)
    try:
        signals.release()
        _record(container, request, spec, plan, log.timestamp(time.time_ns()))
        container.write("config.json", jsonio.dumps(raw).encode())
        _prepare(container, request, prepare)
        _build(container, request, spec, plan, terminal)
        signals.hold()
    except BaseException as error:  # also an interrupt: a half-made container is of no use to anybody
        from runjail.container.delete import roll_back

        roll_back(container, error)
        raise
    finally:
        if terminal:
            terminal.close()
    return container


def create_again(
    container: Container, request: Request, terminal: _socket.socket | None, prepare: Callable[[Container], None]
) -> None:
    """Make a container that was taken back (delete.take_back) from the config.json that it has. The caller locks it.

    When it returns, signals are held and the container is not locked. What fails is for the caller to take back.
    """
    try:
        spec, plan = _plan(request, jsonio.loads(container.config()), container, terminal)
        created, container.state = container.state.created, container.no_facts()
        _record(container, request, spec, plan, created)
        signals.release()
        prepare(container)
        _build(container, request, spec, plan, terminal)
        signals.hold()
    finally:
        if terminal:
            terminal.close()


def _prepare(container: Container, request: Request, prepare: Callable[[Container], None] | None) -> None:
    """Do what comes before the plan's steps."""
    if request.networks:
        from runjail.container import network

        network.attach(container, request.networks)
    if prepare:
        prepare(container)


def _plan(request: Request, document: object, container: Container, terminal: object) -> tuple[Spec, Plan]:
    """Parse, check and plan, before anything is touched. Raises InvalidConfig or UsageError for what cannot be done."""
    os_name = container.host.os
    spec = _without_link(parse(document, os_name), request.bundle)
    _check(request, spec, terminal)
    plan = make_plan(
        spec,
        container_id=request.id,
        bundle=request.bundle,
        state=container.path,
        os=os_name,
        systemd=request.systemd,
    )
    if spec.freebsd.jail.needs_grant and TARGETS[os_name].jails:
        check_allowed(spec, *container.runtime.allowed_params())
    if not os.path.isdir(plan.source):
        raise InvalidConfig([f"root.path: {plan.source} is not a directory"])
    return spec, plan


def _without_link(spec: Spec, bundle: str) -> Spec:
    """Return the document with the directory that root.path leads to, should it be a link: links may change later."""
    root = absolute(spec.root.path, bundle)
    return spec.replace(root=spec.root.replace(path=os.path.realpath(root))) if os.path.islink(root) else spec


def _take_id(container_id: str, runtime: Runtime) -> Container:
    """Take the id. A container from before the machine was last started holds it no longer: nothing of it lives."""
    try:
        return reserve(runtime, container_id)
    except ContainerExists:
        from runjail.container.delete import delete_stale

        if not delete_stale(runtime.container(container_id)):
            raise
        return reserve(runtime, container_id)


def _check(request: Request, spec: Spec, terminal: object) -> None:
    if spec.unused:
        log.warning(f"without effect here: {', '.join(spec.unused)}")
    if spec.process is None:
        raise InvalidConfig(["process: is required to create a container"])
    if spec.process.terminal and not (request.console_socket or terminal):
        raise UsageError("cannot allocate a terminal for a detached container: --console-socket is missing")
    if request.console_socket and not spec.process.terminal:
        raise UsageError("--console-socket is of no use: process.terminal is not true")
    if request.pid_file:
        require_replaceable(request.pid_file)
    if spec.process.capabilities:
        from runjail.spec.capabilities import not_ambient, unknown

        if names := unknown(spec.process.capabilities):
            log.warning(f"not granted: unknown capabilities {', '.join(names)}")
        if names := not_ambient(spec.process.capabilities):  # buildah and runc's spec send such ones each time
            log.info(f"can't raise ambient capability {', '.join(names)}: not permitted and inheritable")


def _record(container: Container, request: Request, spec: Spec, plan: Plan, created: str) -> None:
    """Write down what is known before anything is done. created: when the container was made for the first time."""
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
    state = container.state
    state.oci_version, state.bundle, state.annotations = spec.oci_version, request.bundle, dict(spec.annotations)
    state.created, state.owner = created, str(os.geteuid())
    state.hooks = {kind: to_data(listed) for kind, listed in hooks_later.items() if listed}  # type: ignore[misc]
    state.boot_id, state.creator = container.host.boot_id(), ProcessId.own(container.host)
    container.save()


def _build(
    container: Container,
    request: Request,
    spec: Spec,
    plan: Plan,
    terminal: _socket.socket | None,
) -> None:
    host_state = container.host_state
    for step in plan.steps if log.debugging() else ():
        log.debug(f"container {container.id}: {step!r}")
    for step in plan.steps:
        if not (step.inside or step.with_init or step.between):
            container.host.apply(step, host_state, container.note)
    joined = _fork_init(container, request, spec, plan, terminal)
    assert spec.process, "_check has seen to it"
    if spec.process.oom_score_adj is not None:
        container.host.set_oom_score(host_state.pid, spec.process.oom_score_adj)
    for step in plan.steps:
        if step.with_init:
            container.host.apply(step, host_state, container.note)
    try:
        _sync_with_init(container, spec, joined, [step for step in plan.steps if step.between])
    except DiedEarly:
        if container.host.shim().oom_kills(host_state):
            raise HostError("container init was OOM-killed (memory limit too low?)") from None  # in runc's words
        raise
    if spec.process.is_scheduled():
        container.host.schedule(host_state.pid, spec.process)
    _finish(container, request)
    container.state.creator = None
    container.save()
    container.unlock()


def _finish(container: Container, request: Request) -> None:
    """Do what takes an init that is parked."""
    pid = container.host_state.pid
    if request.user_network:
        from runjail.container import user_network

        user_network.start(container, request.user_network)
    if request.pidfd_socket:
        from runjail.container import pidfd

        pidfd.send(request.pidfd_socket, pid, pidfd.OF_INIT)
    if request.pid_file:
        write_pid(container.directory(), request.pid_file, pid)


def _fork_init(
    container: Container, request: Request, spec: Spec, plan: Plan, terminal: _socket.socket | None
) -> Joining:
    """Fork init, which waits for us to say go, and write down who it is."""
    host_state = container.host_state
    at_gate = gate.listen(container)
    parent, child = pair()
    process, inner = spec.process, spec.hooks.create_container
    assert process, "_check has seen to it"
    if any(namespace.type == "user" for namespace in spec.linux.namespaces or ()):
        _prepare_for_namespace(container, inner)
    signals.hold()
    joined = Joining(container.host.fork_init(host_state, plan, process), parent, container, "creating")
    host_state.pid = joined.pid
    if not host_state.pid:
        parent.close()
        preserve, listen = request.preserve, request.listen
        init.run(init.InitConfig(container, plan, process, inner, child, at_gate, terminal, preserve, listen))
    child.close()
    at_gate.close()
    _record_init(container)
    signals.release()
    return joined


def _prepare_for_namespace(container: Container, inner: tuple[Hook, ...]) -> None:
    """Open and load what init cannot reach in a user namespace: the state directory, and perhaps Python's modules."""
    container.keep_notes()
    if inner:
        from runjail.container import hooks  # noqa: F401


def _record_init(container: Container) -> None:
    """Record init's pid and start time, with the note that lets `delete` kill it without the facts."""
    host_state = container.host_state
    host_state.started = container.host.start_time(host_state.pid)
    container.note(
        {"undo": "init", "pid": host_state.pid, "started": host_state.started, "boot": container.state.boot_id}
    )
    container.save()


def _sync_with_init(container: Container, spec: Spec, joined: Joining, between: list[Step]) -> None:
    """Let init go to its place before the gate; hooks run on its way, while the container is not locked.

    Nor is it locked while init may wait for who listens to its seccomp filter.

    between: what we do for it when it asks for that.
    """
    link, listed = joined.link, spec.hooks
    state = state_document(container, "creating")
    listened = spec.linux.seccomp is not None and spec.linux.seccomp.listener
    hooked = listened or listed.prestart or listed.create_runtime or listed.create_container
    link.send(go=[container.host_state.cgroup, container.host_state.devices])  # a scope has them since init was forked
    for step in between:
        link.expect("waiting")
        container.host.apply(step, container.host_state, container.note)
        link.send(done=True)
    if not hooked:
        link.send(confine=state)  # it need not wait for us
    isolated = link.expect("isolated")  # so far nobody inside can stop it, and mounts may take their time
    container.host_state.namespaces = isolated["isolated"]
    if not hooked:
        joined.expect("parked", lambda pid: _change_init(container, pid))
        return
    from runjail.container import hooks

    container.save()
    with container.unlocked():
        hooks.run("prestart", listed.prestart, state, container.state.bundle)
        hooks.run("createRuntime", listed.create_runtime, state, container.state.bundle)
        link.send(confine=state)
        if listed.create_container:
            link.expect("hooked")
        joined.expect("parked", lambda pid: _change_unlocked(container, pid))


def _change_init(container: Container, pid: int) -> None:
    """Init has appeared in a pid namespace of others: it is another process from now on."""
    container.host_state.pid = pid
    container.host.record_namespaces(container.host_state)
    _record_init(container)


def _change_unlocked(container: Container, pid: int) -> None:
    with container:
        _change_init(container, pid)
