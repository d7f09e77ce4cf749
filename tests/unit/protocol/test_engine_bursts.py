"""Engines with super-packets on a wire that loses, repeats, reorders and groups datagrams as it likes.

Each datagram that left stands for one packet. Whatever has arrived of it, once or twice, alone or in a burst,
by one way or by both, is delivered once; nothing else is.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import HUB, MTU, A, B, Node, World, networks
from twin import super_packet, twin

from ltk.protocol.config import P2p, PeerKind
from ltk.protocol.engine import Drop, Endpoint, PeerConfig
from ltk.protocol.outbox import MAX_DATAGRAMS, datagrams
from ltk.protocol.primitives import public_key_of
from ltk.protocol.segments import largest_super_packet
from ltk.protocol.vnet import VNET_SIZE, packet_of

A_NETWORKS = networks("10.0.0.2/32", "1:203:405:607:809:a0b:c0d:e0f/128")  # those of the twin's packets
B_NETWORKS = networks("10.0.0.3/32", "1011:1213:1415:1617:1819:1a1b:1c1d:1e1f/128")
LARGER = 200  # bytes, than any control frame in its datagram
WAYS = ("direct", "through the hub", "relayed", "mirrored")
SIDES = ((True, True), (True, False), (False, True))


class Net:
    """Client a, which sends, client b, which receives, and a hub; each with sessions, and nothing to say.

    Hub and clients are each other's stock peers, or the hub introduces and relays.
    """

    def __init__(self, way: str, offloads: tuple[bool, bool]) -> None:
        self.way = way
        world = self.world = World(seed=1)
        keys = {name: world.private_key() for name in ("hub", "a", "b")}
        public = {name: public_key_of(key) for name, key in keys.items()}
        p2p = P2p.OFF if way == "relayed" else P2p.ON_DEMAND
        is_server = way in ("relayed", "mirrored")
        client, server = (PeerKind.CLIENT, PeerKind.SERVER) if is_server else (PeerKind.STOCK,) * 2
        to_a = PeerConfig("a", public["a"], allowed_ips=A_NETWORKS, kind=client, p2p=p2p)
        to_b = PeerConfig("b", public["b"], allowed_ips=B_NETWORKS, kind=client, p2p=p2p)
        everything = networks("0.0.0.0/0", "::/0")
        to_hub = PeerConfig("hub", public["hub"], bytes(32), HUB, everything, 20, server)
        self.hub = world.add("hub", HUB, keys["hub"], to_a, to_b, addresses=[], forward=True, offloads=True)
        ends = {
            "direct": (
                (PeerConfig("b", public["b"], endpoint=B, allowed_ips=B_NETWORKS),),
                (PeerConfig("a", public["a"], endpoint=A, allowed_ips=A_NETWORKS),),
            ),
            "through the hub": ((to_hub,), (to_hub,)),
        }
        of_a, of_b = ends.get(way, ((to_hub, to_b), (to_hub, to_a)))
        self.b = world.add("b", B, keys["b"], *of_b, addresses=["10.0.0.3"], offloads=offloads[1])
        self.a = world.add("a", A, keys["a"], *of_a, addresses=["10.0.0.2"], offloads=offloads[0])
        for node in (self.a, self.b):
            node.engine.set_local_endpoints((node.endpoint,), world.now)
            node.drain()
        world.run(1.0)
        self.give(super_packet(b"the first", 1000))
        world.run(5.0)
        if way == "mirrored":
            self._doubt_the_direct_path()
        self.b.delivered.clear()

    def _doubt_the_direct_path(self) -> None:
        """Lose what goes straight, until the data goes both ways."""
        assert self.a.status("b").path == "direct"
        self.world.wire.lose = lambda sent: HUB not in (sent.source, sent.destination)
        self.give(super_packet(b"is anybody there?", 1000))
        self.world.run_until(lambda: len(self.a.peer("b").places) == 2, 5.0, "the direct path to be doubted")

    def give(self, framed: bytes) -> None:
        """Hand a packet to a, as its kernel would; what is to be sent is on the wire."""
        self._hand(framed)
        self.a.drain()

    def _hand(self, framed: bytes) -> int:
        now, engine = self.world.now, self.a.engine
        if self.a.config.offloads:
            assert engine.handle_vnet_packet(packet_of(framed), now) is None
            return len(twin(framed))
        for packet in twin(framed):
            assert engine.handle_packet(memoryview(packet), now) is None
        return len(twin(framed))

    def send(self, framed: bytes) -> dict[Endpoint, list[bytes]]:
        """Hand a packet to a; return the datagrams of data that leave, by where they go, in order."""
        count = self._hand(framed)
        left: dict[Endpoint, list[bytes]] = {}
        for to, datagram in sent_by(self.a):
            if len(datagram) > LARGER:
                left.setdefault(to, []).append(datagram)
        assert [len(each) for each in left.values()] == [count] * (2 if self.way == "mirrored" else 1)
        return left

    def arrive(
        self, datagrams: list[bytes], source: Endpoint, target: Endpoint, chance: random.Random
    ) -> None:
        """Let datagrams arrive at one of the nodes, and whatever it sends on where that goes."""
        node = self.hub if target == HUB else self.b
        for burst in grouped(datagrams, chance):
            size = len(burst[0])
            if len(burst) > 1 or chance.random() < 0.5:
                node.engine.handle_burst(memoryview(b"".join(burst)), size, source, self.world.now)
            else:
                node.engine.handle_datagram(memoryview(burst[0]), source, self.world.now)
            if node is self.b:
                self.b.drain()
            else:
                passed_on = [datagram for to, datagram in sent_by(node) if to == B]
                self.arrive(passed_on, HUB, B, chance)

    def delivered(self) -> list[bytes]:
        """The complete packets that b's kernel has got since the last look."""
        found, self.b.delivered = self.b.delivered, []
        if not self.b.config.offloads:
            return found
        return [packet for framed in found for packet in twin(framed)]


def sent_by(node: Node) -> list[tuple[Endpoint, bytes]]:
    found = []
    while (transmit := node.engine.poll_transmit()) is not None:
        found += [(transmit.to, bytes(each)) for each in datagrams(transmit)]
    assert node.engine.poll_deliver() is None
    return found


def grouped(sent: list[bytes], chance: random.Random) -> Iterable[list[bytes]]:
    """As the kernel may join them: of one size, but the last may be shorter."""
    burst: list[bytes] = []
    for datagram in sent:
        fits = burst and len(burst[-1]) == len(burst[0]) >= len(datagram) and len(burst) < MAX_DATAGRAMS
        if burst and (not fits or chance.random() < 0.1):
            yield burst
            burst = []
        burst.append(datagram)
    if burst:
        yield burst


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Super-packets whose segments and packets fit the tunnel, each with bytes of its own."""
    udp = draw(st.booleans())
    size = draw(st.integers(200, MTU - 120))
    # the last slice is large enough for its datagram not to be taken for a control frame
    length = draw(st.sampled_from((0, 1, 3, 10, 39))) * size + draw(st.integers(LARGER, size))
    return super_packet(
        random.Random(draw(st.integers(0, 1 << 32))).randbytes(length),
        size,
        version=draw(st.sampled_from((4, 6))),
        udp=udp,
        options=draw(st.sampled_from((0, 12))),
        flags=draw(st.sampled_from((0x10, 0x18, 0x11))),
    )


_nets: dict[tuple[str, tuple[bool, bool]], Net] = {}


def net_of(way: str, sides: tuple[bool, bool]) -> Net:
    """One network serves all examples: sessions and windows go on from one to the next."""
    if (way, sides) not in _nets:
        _nets[way, sides] = Net(way, sides)
    return _nets[way, sides]


@pytest.mark.parametrize("sides", SIDES, ids=["both", "sender only", "receiver only"])
@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=15)
@given(st.lists(packets(), min_size=1, max_size=3), st.integers(0, 1 << 32), st.booleans())
def test_each_packet_that_has_arrived_is_delivered_once(way, sides, many, seed, orderly):
    net, chance = net_of(way, sides), random.Random(seed)
    arrived: set[int] = set()
    wires: dict[Endpoint, list[tuple[int, bytes]]] = {}
    whole: list[bytes] = []
    for framed in many:
        for to, sent in net.send(framed).items():
            wires.setdefault(to, []).extend(enumerate(sent, len(whole)))
        whole += twin(framed)
    drops = Counter(net.b.engine.drops) + Counter(net.hub.engine.drops)
    ways = list(wires.items())
    chance.shuffle(ways)
    for to, sent in ways:
        kept = [each for each in sent if chance.random() >= 0.1]
        if not orderly:
            kept += [each for each in sent if chance.random() < 0.1]
            kept.sort(key=lambda each: each[0] + chance.random() * chance.choice((0, 3, 30)))
        arrived |= {number for number, _ in kept}
        net.arrive([datagram for _, datagram in kept], A, to, chance)
    found = net.delivered()
    expected = [whole[number] for number in sorted(arrived)]
    if orderly and len(wires) == 1:
        assert found == expected
    assert sorted(found) == sorted(expected)
    now = Counter(net.b.engine.drops) + Counter(net.hub.engine.drops)
    assert {reason for reason, count in now.items() if count != drops[reason]} <= {Drop.REPLAYED}


@pytest.mark.parametrize("way", WAYS[:2])
def test_what_a_stock_peer_sends_in_order_reaches_the_kernel_as_one(way: str) -> None:
    net = Net(way, (False, True))
    framed = super_packet(bytes(number % 251 for number in range(26000)), 1300, options=12, flags=0x10)
    for to, sent in net.send(framed).items():
        net.arrive(sent, A, to, random.Random(1))
    assert net.b.delivered == [] or all(len(each) > VNET_SIZE for each in net.b.delivered)
    assert len(net.b.delivered) < 10
    assert net.delivered() == twin(framed)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("way", ["direct", "relayed"])
def test_the_largest_super_packet_that_is_asked_for_leaves_in_one_send(way: str, version: int) -> None:
    net = Net(way, (True, True))
    headers = {4: 52, 6: 72}[version]
    size = MTU - headers
    framed = super_packet(bytes(largest_super_packet(MTU) - headers), size, options=12, version=version)
    assert net.a.engine.handle_vnet_packet(packet_of(framed), net.world.now) is None
    sent = [net.a.engine.poll_transmit(), net.a.engine.poll_transmit()]
    assert sent[0] is not None
    assert len(list(datagrams(sent[0]))) > 40
    assert sent[1] is None


def sent_once(net: Net) -> tuple[bytes, int, list[bytes]]:
    """A burst of eight that has left a: its bytes, the size of each, and the packets that went in."""
    framed = super_packet(random.Random(1).randbytes(9600), 1200, options=12)
    (sent,) = net.send(framed).values()
    return b"".join(sent), len(sent[0]), twin(framed)


def test_a_burst_that_comes_again_is_delivered_once() -> None:
    net = Net("direct", (True, True))
    data, size, whole = sent_once(net)
    for _ in range(2):
        net.b.engine.handle_burst(memoryview(data), size, A, net.world.now)
        net.b.drain()
    assert net.delivered() == whole, "something was delivered again"
    assert net.b.engine.drops[Drop.REPLAYED] == len(whole)


def test_a_datagram_that_was_overtaken_within_a_burst_is_delivered_later() -> None:
    net = Net("direct", (True, True))
    data, size, whole = sent_once(net)
    one, two, three, four, *others = (data[at : at + size] for at in range(0, len(data), size))
    for burst in ((one, four, three), (two, *others)):  # the first from its ends looks like one, two, three
        net.b.engine.handle_burst(memoryview(b"".join(burst)), size, A, net.world.now)
        net.b.drain()
    assert sorted(net.delivered()) == sorted(whole)


def test_a_super_packet_from_an_address_that_is_not_the_senders_is_dropped() -> None:
    net = Net("direct", (True, True))
    net.b.configure_peer("a", allowed_ips=networks("10.0.0.99/32"))
    data, size, _ = sent_once(net)
    net.b.engine.handle_burst(memoryview(data), size, A, net.world.now)
    net.b.drain()
    assert net.b.delivered == []
    assert net.b.engine.drops[Drop.SOURCE_NOT_ALLOWED] == 1
