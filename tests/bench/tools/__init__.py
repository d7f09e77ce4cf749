"""The tools that are measured: a file for each, which says how to bring up a pair of it."""

from tools import bare_python, fastd, ltk_nodes, n2n, nebula, openvpn, tinc, veth, wireguard_go
from tools.tool import Pair, Tool

TOOLS: tuple[Tool, ...] = (
    veth.TOOL,
    ltk_nodes.DIRECT,
    ltk_nodes.RELAYED,
    bare_python.TOOL,
    *wireguard_go.TOOLS,
    openvpn.TOOL,
    fastd.TOOL,
    nebula.TOOL,
    tinc.TOOL,
    n2n.TOOL,
)

__all__ = ["TOOLS", "Pair", "Tool"]
