"""A topology written in Python: the keys are those of the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


class Topology:
    """Collects nodes, sites and checks; each method returns the topology, so that calls can be chained.

    With `subnet` there is a tunnel, and nodes are clients unless they say otherwise; without, they are hosts.
    """

    def __init__(self, name: str = "lab", *, subnet: str | None = None, **network: object) -> None:
        """`network` are more keys of the file's `network`."""
        self._file: dict[str, Any] = {"name": name, "nodes": {}, "lab": {"sites": {}}}
        self._role = "host" if subnet is None else "client"
        if subnet is not None:
            self._file["network"] = {"subnet": subnet, **network}

    def node(self, name: str, **keys: object) -> Topology:
        """A node with the keys of the file, such as role="server" or run="python3 server.py"."""
        self._file["nodes"][name] = {"role": self._role, **keys}
        return self

    def site(
        self,
        name: str,
        nat: str | Mapping[str, object] = "none",
        *,
        hosts: Sequence[str] = (),
        **keys: object,
    ) -> Topology:
        """A site with a router of that kind. Hosts that are no nodes yet become nodes."""
        for host in hosts:
            if host not in self._file["nodes"]:
                self.node(host)
        self._file["lab"]["sites"][name] = {"nat": nat, "hosts": [*hosts], **keys}
        return self

    def check(self, **keys: object) -> Topology:
        """Something that has to hold, such as reach=["alice", "bob"]; `Lab.verify` finds out."""
        self._file.setdefault("checks", []).append(keys)
        return self

    def text(self) -> str:
        """The topology as a file. (JSON is YAML.)"""
        return json.dumps(self._file, indent=2)
