"""Connection tracking, as of linux/netfilter/nfnetlink_conntrack.h: forgetting all of it at once."""

from __future__ import annotations

import socket

from ltk.kernel.messages import Request
from ltk.kernel.netlink import Netlink
from ltk.kernel.nftables import HEADER, NETLINK_NETFILTER

DELETE = 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE; without a tuple it means all


def flush(scope: str) -> None:
    """Forget every flow of the namespace, and with it every mapping of its NAT. Raises NetlinkError."""
    with Netlink.open(scope, NETLINK_NETFILTER) as netlink:
        whole = HEADER.pack(socket.AF_UNSPEC, 0, 0)
        netlink.run([Request("flushing connection tracking", whole, DELETE)])
