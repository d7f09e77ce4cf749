"""One node's daemon: puts the device, the socket, the engine and the control socket together."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ltk.errors import InvalidInputError, LtkError
from ltk.kernel import offloads
from ltk.node import config as configuration
from ltk.node import privileges
from ltk.node.addresses import AddressWatch, own_addresses
from ltk.node.config import DaemonConfig, Reader, Role, Told
from ltk.node.control import Answer, ControlServer, Request
from ltk.node.digest import Digester, digest
from ltk.node.disclosure import GUARDED, disclosed
from ltk.node.log import say
from ltk.node.loop import Loop
from ltk.node.notify import DEVICE_GONE, READY, STOPPING, Notifier
from ltk.node.poller import Poller, Signals
from ltk.node.report import describe, status, why
from ltk.node.resolve import Resolver
from ltk.node.scrape import PageServer
from ltk.node.streams import open_listener
from ltk.node.tun import DeviceGoneError, Tun
from ltk.node.udp import Udp
from ltk.protocol.engine import Endpoint, Engine, EngineConfig, PeerConfig, PeerKind
from ltk.protocol.events import Event
from ltk.protocol.messages import STUN_SOCKET

OFFLOADS = "LTK_OFFLOADS"  # set to "off", everything is done packet by packet
FLUSH_TIME = 0.2  # seconds that the last answers get at the end


def run(told: Path | Told, notifier: Notifier | None = None, *, needs_device: bool = False) -> None:
    """Run the daemon from the configuration file, or what that says, until SIGTERM, SIGINT or `stop`.

    Tells `notifier` (without one: whoever NOTIFY_SOCKET names) when it is ready and when its device has
    gone; with `needs_device` it ends then, for whoever makes the device again and starts it. From here on
    the process has no privileges but those of `ltk.node.privileges`. Raises LtkError when it cannot start,
    and where it ended for its device; returns after a clean stop. Main thread only.
    """
    install_mutant()
    told = told if isinstance(told, Told) else Reader().read(told)
    privileges.drop()  # before the first thread: what one has is its own, and a resolver's would be left
    daemon = Daemon(told, notifier or Notifier.from_environment(os.environ), needs_device=needs_device)
    try:
        daemon.run()
    finally:
        daemon.close()


def install_mutant() -> None:
    """Break this process as LTK_MUTANT says, where a test asks for it."""
    if "LTK_MUTANT" in os.environ:
        importlib.import_module("ltk.testing.mutants").install(os.environ["LTK_MUTANT"])


@dataclass(frozen=True, slots=True)
class Secrets:
    """The keys that a configuration names; `preshared_keys` by the peer's name."""

    private_key: bytes = field(repr=False)
    preshared_keys: dict[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, config: DaemonConfig) -> Secrets:
        """Read the files; raises InvalidInputError for the first that is missing, no key or not private."""
        shared = {peer.name: peer.preshared_key_file for peer in config.peers}
        files = {path for path in shared.values() if path is not None}  # for all peers it is mostly the same
        keys = {path: configuration.read_key_file(path) for path in files}
        return cls(
            configuration.read_key_file(config.private_key_file),
            {name: keys[path] for name, path in shared.items() if path is not None},
        )

    def psk_ids(self, config: DaemonConfig) -> dict[str, str | None]:
        """What tells the peers' pre-shared keys apart, by name; None for those that have none."""
        ids = {name: configuration.fingerprint(key) for name, key in self.preshared_keys.items()}
        return {peer.name: ids.get(peer.name) for peer in config.peers}


class Daemon:
    """A node at work. What can fail is done in the constructor, which leaves nothing open when it does."""

    def __init__(self, told: Told, notifier: Notifier, *, needs_device: bool = False) -> None:
        self._config = config = told.config
        self._needs_device = needs_device
        self._ended_for: DeviceGoneError | None = None
        self._notifier = notifier
        self._secrets = Secrets.read(config)
        self._drops: Counter[str] = Counter()
        with contextlib.ExitStack() as undo:
            self._offloads = os.environ.get(OFFLOADS) != "off"
            tun = self._attach_at_start(config.device)
            undo.callback(tun.close)
            udp = Udp.open(config.listen, self._drops, offloads=self._offloads)
            undo.callback(udp.close)
            listener = open_listener(udp.port) if config.listens_on_tcp else None
            if listener is not None:
                undo.callback(listener.close)
            stun = None
            if config.role is Role.SERVER:
                stun = Udp.open(0, self._drops, number=STUN_SOCKET)
                undo.callback(stun.close)
            self._stun_port = 0 if stun is None else stun.port
            self._poller = Poller()
            undo.callback(self._poller.close)
            self._resolver = Resolver(self._poller, self._resolved)
            self._resolver.want(_hosts(config))
            self._engine = Engine(
                self._engine_config(config, self._secrets),
                now=time.monotonic(),
                wall_clock=time.time(),
                random=os.urandom,
            )
            self._digest = self._digest_of(told)
            self._metrics = self._serve_metrics(config.metrics)
            if self._metrics is not None:
                undo.callback(self._metrics.close)
            self._control = ControlServer(config.control, self._poller, self._handle, guarded=GUARDED)
            undo.pop_all()
        self._loop = Loop(
            self._poller,
            self._engine,
            udp,
            self._drops,
            on_event=self._log_event,
            on_device_gone=self._device_gone,
            stun=stun,
        )
        self._loop.use_mark(config.mark)
        self._loop.streams.listen_at(listener)
        self._loop.use_tun(tun)
        self._addresses = AddressWatch(self._poller, self._tell_endpoints)
        self._tell_endpoints()
        self._signals = Signals(self._poller, (signal.SIGTERM, signal.SIGINT), self._stop_for)

    def run(self) -> None:
        """Work until told to stop."""
        ports = _ports(self._loop)
        say("info", f"{self._config.node} is ready: {self._config.device}, {ports}")
        say("info", f"offloads: {self._describe_offloads()}")
        self._notifier.tell(READY)
        self._loop.run()
        self._notifier.tell(STOPPING)
        self._engine.shutdown(time.monotonic())
        self._loop.drain()
        say("info", f"{self._config.node} has stopped")
        if self._ended_for is not None:
            raise self._ended_for

    def _describe_offloads(self) -> str:
        if not self._offloads:
            return f"off, as {OFFLOADS} says"
        tun, udp = self._loop.tun, self._loop.udp
        kinds = {offloads.TCP_AND_UDP: "of TCP and UDP", offloads.TCP: "of TCP"}
        kind = "none" if tun is None else kinds.get(tun.offloads or 0, "none")
        return (
            f"super-packets {kind} at {self._config.device}; "
            f"datagrams sent {'in bursts' if udp.cuts else 'one by one'}, "
            f"received {'in bursts' if udp.joins else 'one by one'}"
        )

    def close(self) -> None:
        """Give everything back; the device stays, the control socket's file goes."""
        self._control.flush(time.monotonic() + FLUSH_TIME)
        self._control.close()
        if self._metrics is not None:
            self._metrics.close()
        self._signals.close()
        self._resolver.close()
        self._addresses.close()
        self._loop.close()
        self._poller.close()

    def _handle(self, request: Request, answer: Answer) -> None:
        match request:
            case {"do": "status"}:
                waiting = request.get("waiting") is not False
                told = status(self._config, self._engine, self._loop, self._drops, waiting=waiting)
                answer(told | {"public_key": configuration.encode_key(self._engine.public_key)})
            case {"do": "why", "peer": name}:
                answer(why(self._config, self._engine, name))
            case {"do": "config"}:
                answer(self._config_in_force(request.get("unless")))
            case {"do": "configure", "config": value}:
                self._configure(value)
                answer({})
            case {"do": "session-keys"}:
                answer(disclosed(self._engine.session_keys()))
            case {"do": "stop"}:
                self._loop.stop()
                answer({})
            case _:
                raise InvalidInputError(
                    "reading a request",
                    "it is none of status, why (with a peer), config, configure (with a config), "
                    "session-keys and stop",
                )

    def _configure(self, value: object) -> None:
        """Make `value` the configuration in force, or change nothing and raise LtkError."""
        doing = "configuring"
        config = DaemonConfig.from_json(value, doing=doing)
        old = self._config
        if (config.topology, config.node, config.control) != (old.topology, old.node, old.control):
            raise InvalidInputError(
                doing,
                f"this is {old.node} of {old.topology} at {old.control}",
                hint="Start another daemon for another node.",
            )
        secrets = Secrets.read(config)
        with contextlib.ExitStack() as undo:
            tun = udp = None
            if self._loop.tun is None or config.device != old.device:
                tun = Tun.attach(config.device, self._drops, with_headers=self._offloads)
                undo.callback(tun.close)
            if config.listen not in (0, self._loop.udp.port):
                udp = Udp.open(config.listen, self._drops, offloads=self._offloads)
                undo.callback(udp.close)
            listener = None
            port = self._loop.udp.port if udp is None else udp.port
            if config.listens_on_tcp and port != self._loop.streams.port:
                listener = open_listener(port)
                undo.callback(listener.close)
            if config.metrics != old.metrics:
                self._move_metrics(config.metrics)
                undo.callback(self._move_metrics, old.metrics)
            self._engine.configure(self._engine_config(config, secrets), time.monotonic())
            undo.pop_all()
        self._config, self._secrets = config, secrets
        self._digest = self._digest_of(Told(config, Digester().text(config.to_json())))
        self._resolver.want(_hosts(config))
        if udp is not None:
            self._loop.use_udp(udp)
        self._loop.use_mark(config.mark)
        if listener is not None or not config.listens_on_tcp:
            self._loop.streams.listen_at(listener)
        if tun is not None:
            self._loop.use_tun(tun)
        self._tell_endpoints()
        say("info", f"configured: {len(config.peers)} peers, {config.device}, {_ports(self._loop)}")

    def _serve_metrics(self, at: str | None) -> PageServer | None:
        if at is None:
            return None
        return PageServer(*configuration.split_endpoint(at), self._poller, self._metrics_text)

    def _move_metrics(self, at: str | None) -> None:
        """Serve metrics there from now on, or go on as before and raise LtkError."""
        old = self._config.metrics
        # First off the old place: the new one may be the same port on more addresses.
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        try:
            self._metrics = self._serve_metrics(at)
        except LtkError:
            self._metrics = self._serve_metrics(old)
            raise

    def _metrics_text(self) -> str:
        # Here and not above: what nobody asked for should cost no daemon memory.
        from ltk.node.metrics import Statuses, text

        told = status(self._config, self._engine, self._loop, self._drops)
        return text(Statuses({self._config.node: told}))

    def _config_in_force(self, unless: object) -> dict[str, object]:
        """The configuration and which keys go with it; only the digest where `unless` is that one."""
        common: dict[str, object] = {
            "version": configuration.VERSION,
            "pid": os.getpid(),
            "device_state": "gone" if self._loop.tun is None else "attached",
            "digest": self._digest,
        }
        if unless == self._digest:
            return common
        public_key = configuration.encode_key(self._engine.public_key)
        document, psk_ids = self._config.to_json(), self._secrets.psk_ids(self._config)
        return common | {"config": document, "public_key": public_key, "psk_ids": psk_ids}

    def _digest_of(self, told: Told) -> str:
        """The digest of what is in force; a lab's daemons are asked for it all at once, and in a hurry."""
        public_key = configuration.encode_key(self._engine.public_key)
        return digest(told.text, public_key, self._secrets.psk_ids(told.config))

    def _engine_config(self, config: DaemonConfig, secrets: Secrets) -> EngineConfig:
        return EngineConfig(
            private_key=secrets.private_key,
            mtu=config.mtu,
            forward=config.role is Role.SERVER,
            isolation=config.isolation,
            addresses=tuple(address.ip for address in config.addresses),
            peers=tuple(
                PeerConfig(
                    name=peer.name,
                    public_key=configuration.public_key_bytes(peer.public_key),
                    preshared_key=secrets.preshared_keys.get(peer.name, bytes(configuration.KEY_SIZE)),
                    endpoint=self._endpoint(peer.endpoint),
                    allowed_ips=peer.allowed_ips,
                    keepalive=float(peer.keepalive),
                    kind=PeerKind(peer.role.value),
                    p2p=peer.p2p,
                    hard_nat=peer.hard_nat,
                    path=peer.path,
                    transport=config.transport,
                )
                for peer in config.peers
            ),
            stun_port=self._stun_port,
            offloads=self._offloads,
        )

    def _endpoint(self, text: str | None) -> Endpoint | None:
        if text is None:
            return None
        host, port = configuration.split_endpoint(text)
        address = self._resolver.address(host)
        return None if address is None else Endpoint(address, port)

    def _tell_endpoints(self) -> None:
        """Tell the engine where this machine is, now that it may be elsewhere."""
        port = self._loop.udp.port
        addresses = own_addresses(without_device=self._config.device)
        self._engine.set_local_endpoints((Endpoint(each, port) for each in addresses), time.monotonic())
        self._loop.drain()

    def _resolved(self, host: str, address: str | None) -> None:
        if address is None:
            say("warning", f"resolving {host} failed; its peers have no endpoint until it succeeds")
            return
        say("info", f"resolved {host} to {address}")
        self._engine.configure(self._engine_config(self._config, self._secrets), time.monotonic())
        self._loop.drain()

    def _attach_at_start(self, device: str) -> Tun:
        try:
            return Tun.attach(device, self._drops, with_headers=self._offloads)
        except DeviceGoneError:
            self._notifier.tell(DEVICE_GONE)
            raise

    def _device_gone(self, error: DeviceGoneError) -> None:
        say("error", str(error))
        self._notifier.tell(DEVICE_GONE)
        if self._needs_device:
            self._ended_for = error
            self._loop.stop()

    def _log_event(self, event: Event) -> None:
        say("info", describe(event))

    def _stop_for(self, number: int) -> None:
        say("info", f"stopping for {signal.Signals(number).name}")
        self._loop.stop()


def _ports(loop: Loop) -> str:
    port = loop.udp.port
    return f"UDP port {port}" if loop.streams.port is None else f"UDP and TCP port {port}"


def _hosts(config: DaemonConfig) -> list[str]:
    return [
        configuration.split_endpoint(peer.endpoint)[0] for peer in config.peers if peer.endpoint is not None
    ]
