"""Run by Debian's Python, which has mininet: brings a network of so many hosts up, says so, takes it down.

Each host stands behind a router of its own, which translates its addresses; the core routes between those.
"""

import sys

from mininet.net import Mininet
from mininet.node import Node

CORE = "198.18.0.1"


class Router(Node):
    """A host that forwards."""

    def config(self, **parameters):
        super().config(**parameters)
        self.cmd("sysctl -q -w net.ipv4.ip_forward=1")


def build(net, hosts):
    """Add the core, the routers and the hosts; returns what each is to be told once it is up."""
    core = net.addHost("core", cls=Router, ip=f"{CORE}/32")
    told = [(core, f"ip address add {CORE}/32 dev lo")]
    for number in range(1, hosts + 1):
        inner, outer = divmod(2 * number, 250)
        wan = f"198.19.{inner}.{outer + 2}"
        host = net.addHost(f"h{number:03}", ip=None)
        router = net.addHost(f"r{number:03}", cls=Router, ip=None)
        net.addLink(host, router, intfName1="eth0", intfName2="lan", params2={"ip": "192.168.1.1/24"})
        net.addLink(router, core, intfName1="wan", intfName2=f"c{number:03}", params1={"ip": f"{wan}/32"})
        told += [
            (host, "ip address replace 192.168.1.2/24 dev eth0; ip route replace default via 192.168.1.1"),
            (router, f"ip route replace {CORE} dev wan; ip route replace default via {CORE} dev wan"),
            (router, "iptables -t nat -A POSTROUTING -o wan -j MASQUERADE"),
            (core, f"ip route replace {wan} dev c{number:03}"),
        ]
    return told


def main():
    hosts = int(sys.argv[1])
    Mininet.inited = True  # else it raises limits of the whole machine, and leaves them so
    net = Mininet(controller=None, autoSetMacs=True)
    try:
        told = build(net, hosts)
        net.build()
        for node, command in told:
            said = node.cmd(command)
            if said.strip():
                sys.exit(f"{node.name}: {command}: {said}")
        answer = net[f"h{hosts:03}"].cmd(f"ping -n -q -c 1 -W 5 {CORE}")
        if "1 received" not in answer:
            sys.exit(f"the last host does not reach the core: {answer}")
        print("up", flush=True)
        sys.stdin.readline()
    finally:
        net.stop()


if __name__ == "__main__":
    main()
