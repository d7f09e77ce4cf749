"""A node of a network of one shared secret, without a topology: `ltk serve` and `ltk join`.

It makes its own device, which goes with it, keeps no file, and knows nobody but, as a client, the server: the
others turn up (see protocol.directory). All else is as in a daemon that the reconciler has set up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_address

from ltk.errors import InvalidInputError, LtkError
from ltk.node import own_device
from ltk.node.addresses import AddressWatch, own_addresses
from ltk.node.config import split_endpoint
from ltk.node.daemon import OFFLOADS, install_mutant
from ltk.node.loop import Loop
from ltk.node.poller import Backoff, Poller, Signals
from ltk.node.resolve import Resolver
from ltk.node.story import ClientsStory, ServersStory
from ltk.node.tun import DeviceGoneError, Tun
from ltk.node.udp import Udp
from ltk.protocol.config import IPAddress
from ltk.protocol.directory import SubnetDirectory
from ltk.protocol.engine import Endpoint, Engine, EngineConfig, P2p, PeerConfig, PeerKind
from ltk.protocol.events import Event, PeerStatus
from ltk.protocol.messages import STUN_SOCKET
from ltk.protocol.primitives import public_key_of
from ltk.protocol.shared_secret import SharedSecret

KEEPALIVE = 20.0  # seconds; a NAT may forget a UDP flow after 30 (RFC 4787, REQ-5, and less in practice)
FIRST_REMAKE, LAST_REMAKE = 0.1, 5.0  # seconds until a deleted device is made again, and at most
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Server:
    """Where a client finds its server: "host:port" or "[v6]:port", and the server's tunnel address."""

    endpoint: str
    address: IPAddress


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a node is told. `server` is None for the server itself.

    `listen` is a UDP port, 0 for any, at `listen_host`; `mtu` is the tunnel's, in bytes; `device` None is the
    next one that is free.
    """

    secret: bytes = field(repr=False)
    address: IPv4Interface | IPv6Interface
    listen: int
    listen_host: str
    mtu: int
    device: str | None = None
    server: Server | None = None
    p2p: P2p = P2p.ON_DEMAND


def run(settings: Settings, say: Callable[[str], None]) -> None:
    """Be that node until SIGINT, SIGTERM or SIGHUP, and `say` what happens, a line at a time.

    Raises LtkError when it cannot start; returns after a clean stop, with nothing left. Main thread only.
    """
    install_mutant()
    node = Node(settings, say)
    try:
        node.run()
    finally:
        node.close()


class Node:
    """A node at work. What can fail is done in the constructor, which leaves nothing open when it does."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._drops: Counter[str] = Counter()
        self._offloads = os.environ.get(OFFLOADS) != "off"
        self._remake = Backoff(FIRST_REMAKE, LAST_REMAKE)
        secret = SharedSecret(settings.secret, settings.address.network)
        self._private_key = secret.private_key(settings.address.ip)
        self._preshared_key = secret.preshared_key
        self._servers_key = (
            b"" if settings.server is None else public_key_of(secret.private_key(settings.server.address))
        )
        with contextlib.ExitStack() as undo:
            udp = Udp.open(settings.listen, self._drops, offloads=self._offloads, host=settings.listen_host)
            undo.callback(udp.close)
            stun = None
            if settings.server is None:
                stun = Udp.open(0, self._drops, number=STUN_SOCKET, host=settings.listen_host)
                undo.callback(stun.close)
            self._stun_port = 0 if stun is None else stun.port
            tun = self._make_device()
            undo.callback(tun.close)
            self._poller = Poller()
            undo.callback(self._poller.close)
            self._resolver = Resolver(self._poller, self._resolved)
            undo.callback(self._resolver.close)
            self._engine = self._make_engine(secret)
            undo.pop_all()
        self._story = self._make_story()
        self._loop = Loop(
            self._poller,
            self._engine,
            udp,
            self._drops,
            on_event=self._tell,
            on_device_gone=self._device_gone,
            stun=stun,
        )
        self._loop.use_tun(tun)
        self._addresses = AddressWatch(self._poller, self._tell_endpoints)
        self._signals = Signals(self._poller, STOPS, self._stop_for)

    def _make_device(self) -> Tun:
        settings = self._settings
        return own_device.make(
            settings.device, settings.address, settings.mtu, self._drops, with_headers=self._offloads
        )

    def _make_engine(self, secret: SharedSecret) -> Engine:
        settings = self._settings
        known = {settings.address.ip} | ({settings.server.address} if settings.server else set())
        everybody = PeerConfig("", b"", kind=PeerKind.CLIENT, p2p=settings.p2p)
        return Engine(
            self._engine_config(),
            now=time.monotonic(),
            wall_clock=time.time(),
            random=os.urandom,
            directory=SubnetDirectory(secret, everybody, but=known),
        )

    def _make_story(self) -> ServersStory | ClientsStory:
        server = self._settings.server
        if server is None:
            return ServersStory(self._look)
        return ClientsStory(self._look, str(server.address), server.endpoint)

    def _look(self, peer: str) -> PeerStatus | None:
        return self._engine.status_of(peer, time.monotonic())

    def _engine_config(self) -> EngineConfig:
        settings = self._settings
        server = settings.server
        return EngineConfig(
            private_key=self._private_key,
            mtu=settings.mtu,
            forward=server is None,
            isolation=False,
            addresses=(settings.address.ip,),
            peers=() if server is None else (self._as_peer(server),),
            stun_port=self._stun_port,
            offloads=self._offloads,
        )

    def _as_peer(self, server: Server) -> PeerConfig:
        return PeerConfig(
            name=str(server.address),
            public_key=self._servers_key,
            preshared_key=self._preshared_key,
            endpoint=self._endpoint(server.endpoint),
            allowed_ips=(self._settings.address.network,),
            keepalive=KEEPALIVE,
            kind=PeerKind.SERVER,
        )

    def _endpoint(self, text: str) -> Endpoint | None:
        host, port = split_endpoint(text)
        self._resolver.want([host])
        address = self._resolver.address(host)
        if address is None:
            return None
        if ip_address(address.partition("%")[0]) in self._settings.address.network:
            raise InvalidInputError(
                f"looking for the server at {text}",
                f"{address} lies in {self._settings.address.network}, to which only the tunnel leads",
                hint="Give the address outside of the tunnel, or choose another subnet for the tunnel.",
            )
        return Endpoint(address, port)

    def run(self) -> None:
        """Work until told to stop."""
        settings, udp = self._settings, self._loop.udp
        device = "" if self._loop.tun is None else self._loop.tun.name
        self._say(f"{device} is up: {settings.address}, UDP port {udp.port}")
        if settings.server is None:
            self._say("waiting for clients")
        else:
            self._say(f"looking for the server at {settings.server.endpoint}")
        self._tell_endpoints()
        self._loop.run()
        self._engine.shutdown(time.monotonic())
        self._loop.drain()
        self._say(f"stopped; {device} is gone")

    def close(self) -> None:
        """Give everything back; the device goes."""
        self._signals.close()
        self._resolver.close()
        self._addresses.close()
        self._loop.close()
        self._poller.close()

    def _tell(self, event: Event) -> None:
        for line in self._story.tell(event, time.monotonic()):
            self._say(line)

    def _tell_endpoints(self) -> None:
        """Tell the engine where this machine is, now that it may be elsewhere."""
        device = "" if self._loop.tun is None else self._loop.tun.name
        endpoints = (Endpoint(each, self._loop.udp.port) for each in own_addresses(without_device=device))
        self._engine.set_local_endpoints(endpoints, time.monotonic())
        self._loop.drain()

    def _resolved(self, host: str, address: str | None) -> None:
        if address is None:
            self._say(f"the name {host} has no address, or nobody can be asked; trying on")
            return
        self._say(f"{host} is {address}")
        self._engine.configure(self._engine_config(), time.monotonic())
        self._loop.drain()

    def _device_gone(self, error: DeviceGoneError) -> None:
        self._say(f"{error.doing}: {error.problem}; making it again")
        self._poller.later(self._remake.next(), self._make_device_again)

    def _make_device_again(self) -> None:
        try:
            self._loop.use_tun(self._make_device())
        except LtkError as error:
            self._say(str(error))
            self._poller.later(self._remake.next(), self._make_device_again)
            return
        self._remake.reset()
        self._say(f"{'' if self._loop.tun is None else self._loop.tun.name} is up again")

    def _stop_for(self, number: int) -> None:
        self._say(f"stopping for {signal.Signals(number).name}")
        self._loop.stop()
