"""Requests say on the wire what they were asked to say, and bear the mark; answers are read as they are."""

from __future__ import annotations

import errno
import os
import socket
import struct
from ipaddress import ip_interface, ip_network
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ltk.errors import MissingError
from ltk.kernel import messages, netlink
from ltk.kernel.messages import GROUP, PROTOCOL, Request
from ltk.kernel.netlink import HEADER, NLM_F_CAPPED, NLMSG_ERROR, Netlink, NetlinkError

MESSAGE_OF = {16: ifinfmsg, 17: ifinfmsg, 19: ifinfmsg, 108: ifinfmsg, 20: ifaddrmsg, 21: ifaddrmsg}


def sent(request: Request) -> Any:
    """The message as the kernel gets it, read by a library that knows all of the kernel's messages."""
    data = request.encode(7, 0x5)
    assert len(data) % 4 == 0
    message = MESSAGE_OF.get(request.kind, rtmsg)(data)
    message.decode()
    assert message["header"]["type"] == request.kind
    assert message["header"]["sequence_number"] == 7
    assert message["header"]["flags"] == request.flags | 0x5
    return message


def test_a_cable_is_marked_and_in_its_two_places_from_the_first_moment() -> None:
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        message = sent(messages.create_veth("eth0", "alice", descriptor, 1400))
    finally:
        os.close(descriptor)
    assert message.get_attr("IFLA_IFNAME") == "eth0"
    assert (message.get_attr("IFLA_GROUP"), message.get_attr("IFLA_MTU")) == (GROUP, 1400)
    info = message.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert peer.get_attr("IFLA_IFNAME") == "alice"
    assert (peer.get_attr("IFLA_GROUP"), peer.get_attr("IFLA_MTU")) == (GROUP, 1400)
    assert peer.get_attr("IFLA_NET_NS_FD") == descriptor


def test_what_is_created_must_not_exist_yet() -> None:
    """Without it, a request would swallow what somebody else has made."""
    interface, network = ip_interface("10.0.0.1/24"), ip_network("10.0.0.0/24")
    for request in (
        messages.create_veth("a", "b", 3, 1500),
        messages.create_bridge("lan", 1500),
        messages.add_address(1, "lan", interface),
        messages.add_route(network, 1, "lan", None),
    ):
        assert request.flags & messages.NLM_F_EXCL
        assert request.flags & messages.NLM_F_CREATE
        assert errno.EEXIST not in request.tolerated


def test_a_device_gets_what_is_given_and_keeps_the_rest() -> None:
    message = sent(messages.set_link("lan", up=True, mtu=1400))
    assert (message["flags"], message["change"]) == (messages.IFF_UP, messages.IFF_UP)
    assert message.get_attr("IFLA_MTU") == 1400
    assert message.get_attr("IFLA_MASTER") is None
    message = sent(messages.set_link("lan", master=0))
    assert message["change"] == 0
    assert message.get_attr("IFLA_MASTER") == 0
    assert sent(messages.set_link("lan", up=False))["flags"] == 0


def test_a_mark_is_an_alternative_name() -> None:
    properties = sent(messages.add_altname("lo", "ltk.t")).get_attr("IFLA_PROP_LIST")
    assert properties.get_attrs("IFLA_ALT_IFNAME") == ["ltk.t"]


@pytest.mark.parametrize("text", ["10.0.0.1/24", "203.0.113.3/32", "fd00::1/64"])
def test_an_address_goes_out_and_comes_back_as_the_same(text: str) -> None:
    interface = ip_interface(text)
    request = messages.add_address(5, "lan", interface)
    assert messages.read_address(request.body) == messages.Address(5, interface, PROTOCOL)
    message = sent(request)
    assert ip_interface(f"{message.get_attr('IFA_LOCAL')}/{message['prefixlen']}") == interface
    assert (message["index"], message.get_attr("IFA_PROTO")) == (5, PROTOCOL)


@pytest.mark.parametrize("gateway", [None, "gateway"])
@pytest.mark.parametrize("text", ["0.0.0.0/0", "10.0.0.0/24", "203.0.113.3/32", "::/0", "fd00::/64"])
def test_a_route_goes_out_and_comes_back_as_the_same(text: str, gateway: str | None) -> None:
    destination = ip_network(text)
    if gateway:
        gateway = "10.9.0.1" if destination.version == 4 else "fe80::1"
    request = messages.add_route(destination, 5, "lan", gateway)
    assert messages.read_route(request.body) == messages.Route(destination, gateway, 5, 0, PROTOCOL)
    message = sent(request)
    assert (message.get_attr("RTA_OIF"), message["proto"]) == (5, PROTOCOL)
    assert message["dst_len"] == destination.prefixlen
    assert message.get_attr("RTA_GATEWAY") == gateway
    assert message["table"] == messages.RT_TABLE_MAIN
    assert bool(message["flags"] & messages.RTNH_F_ONLINK) is bool(gateway)


def test_what_has_gone_already_is_as_good_as_removed() -> None:
    interface, network = ip_interface("10.0.0.1/24"), ip_network("10.0.0.0/24")
    assert errno.ENODEV in messages.delete_link("lan").tolerated
    assert errno.EADDRNOTAVAIL in messages.delete_address(1, "lan", interface).tolerated
    assert errno.ESRCH in messages.delete_route(network, 1, "lan", None).tolerated


class Script:
    """A socket that answers each request with the errno that the script has for it."""

    def __init__(self, codes: list[int], words: str = "") -> None:
        self.codes = codes
        self.words = words
        self.answers = b""

    def send(self, data: bytes) -> None:
        offset = 0
        while offset < len(data):
            length, kind, flags, sequence, port = HEADER.unpack_from(data, offset)
            code = self.codes.pop(0)
            body = struct.pack("=i", -code) + HEADER.pack(length, kind, flags, sequence, port)
            if code and self.words:
                text = self.words.encode() + b"\0"
                body += struct.pack("=HH", 4 + len(text), 1) + text + bytes(-len(text) % 4)
            self.answers += HEADER.pack(16 + len(body), NLMSG_ERROR, NLM_F_CAPPED, sequence, 0) + body
            offset += (length + 3) & ~3

    def recv(self, size: int) -> bytes:
        assert self.answers, "somebody waits for an answer that never comes"
        answers, self.answers = self.answers[:size], b""
        return answers


def run(codes: list[int], requests: list[Request], words: str = "") -> None:
    Netlink("ltk-t-home", Script(codes, words)).run(requests)  # type: ignore[arg-type]


def test_every_request_is_counted_as_a_write() -> None:
    before = netlink.writes
    run([0] * 130, [messages.delete_link("lan") for _ in range(130)])  # more than one batch
    assert netlink.writes - before == 130


def test_a_refusal_says_what_was_being_done_where_and_what_the_kernel_said() -> None:
    requests = [messages.create_bridge("lan", 1500), messages.set_link("lan", mtu=9)]
    with pytest.raises(NetlinkError) as caught:
        run([0, errno.EINVAL], requests, "mtu less than device minimum")
    assert str(caught.value) == "configuring the device lan in ltk-t-home: mtu less than device minimum"
    assert caught.value.code == errno.EINVAL


def test_without_words_of_the_kernel_the_error_has_those_of_the_library() -> None:
    with pytest.raises(NetlinkError, match="creating the bridge lan in ltk-t-home: File exists"):
        run([errno.EEXIST], [messages.create_bridge("lan", 1500)])


def test_the_first_of_several_refusals_is_told() -> None:
    requests = [messages.create_bridge(name, 1500) for name in ("one", "two", "three")]
    with pytest.raises(NetlinkError, match="the bridge two"):
        run([0, errno.EBUSY, errno.EINVAL], requests)


def test_what_is_so_already_is_no_error() -> None:
    run([errno.ENODEV], [messages.delete_link("lan")])


def test_a_missing_privilege_is_told_as_one() -> None:
    with pytest.raises(MissingError, match="creating the bridge lan") as caught:
        run([errno.EPERM], [messages.create_bridge("lan", 1500)])
    assert caught.value.exit_status == 6
    assert "root" in str(caught.value.hint)


def test_links_are_read_from_the_kernel() -> None:
    """Reading needs no privilege: every namespace has its loopback."""
    with Netlink.open() as opened:
        loopback = next(link for link in opened.links() if link.name == "lo")
        assert loopback.index == socket.if_nametoindex("lo")
        assert loopback.kind == ""
        assert loopback.master is None
        assert {address.index for address in opened.addresses()} <= {link.index for link in opened.links()}
