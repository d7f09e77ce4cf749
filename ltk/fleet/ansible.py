"""A topology as Ansible takes it to its machines: an inventory, a playbook and a role.

The role (`ltk/fleet/role`) needs no collection, and does on each machine what its owner would do there by
hand: it installs ltk where it is missing and a package is given, copies the topology, and runs
`ltk apply FILE --node NAME`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ltk.errors import InvalidInputError, LtkError
from ltk.topology.expanded import Node, Role, Topology
from ltk.topology.ssh import split_ssh
from ltk.topology.values import split_endpoint

GROUP = "ltk"
ROLE = Path(__file__).with_name("role")
INVENTORY, PLAYBOOK, TOPOLOGY = "inventory.yaml", "site.yaml", "roles/ltk/files/topology.yaml"
HEAD = "# Made by `ltk render -o ansible`; made anew by the next.\n"


def folder_of(topology: Topology, text: bytes) -> dict[str, bytes]:
    """The files of the folder, by their paths in it. `text` is the file that the topology was read from.

    Raises InvalidInputError where the topology has no machine of ltk's.
    """
    files = {
        INVENTORY: _yaml(_inventory(topology)),
        PLAYBOOK: _yaml(_playbook(topology)),
        TOPOLOGY: text,
    }
    for path in sorted(ROLE.rglob("*.yaml")):
        files[f"roles/ltk/{path.relative_to(ROLE)}"] = path.read_bytes()
    return files


def write(files: dict[str, bytes], folder: Path) -> None:
    """Write the files below `folder`, which is made where it is missing; others in it stay."""
    for name, content in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise LtkError(f"writing {path}", str(error.strerror)) from error


def machines_of(topology: Topology) -> list[Node]:
    """The nodes that ltk runs on a machine; a stock WireGuard peer is somebody else's."""
    return [node for node in topology.nodes if node.role in (Role.SERVER, Role.CLIENT)]


def _inventory(topology: Topology) -> dict[str, Any]:
    machines = machines_of(topology)
    if not machines:
        hint = "A server and its clients are, see docs/topology.md."
        raise InvalidInputError(
            f"rendering {topology.name}", "no node of it is a machine of ltk's", hint=hint
        )
    in_a_lab = topology.lab is not None  # then endpoints are the lab's
    places = {node.name: _place(node, in_a_lab) for node in machines}
    return {GROUP: {"hosts": places, "vars": {"ansible_pipelining": True}}}  # half the round trips


def _place(node: Node, in_a_lab: bool) -> dict[str, Any]:
    """How Ansible reaches it: by `ssh`, else where its endpoint is, else by its own name."""
    if node.ssh is not None:
        place = split_ssh(node.ssh)
        told = {"ansible_host": place.host, "ansible_user": place.user, "ansible_port": place.port}
        return {key: value for key, value in told.items() if value is not None}
    if node.endpoint is not None and not in_a_lab:
        return {"ansible_host": split_endpoint(node.endpoint)[0].strip("[]")}
    return {}


def _playbook(topology: Topology) -> list[dict[str, Any]]:
    return [
        {
            "name": f"Each machine of {topology.name} as the topology says",
            "hosts": GROUP,
            "gather_facts": False,
            "vars": {"ltk_topology": topology.name},
            "roles": ["ltk"],
        }
    ]


def _yaml(data: object) -> bytes:
    text = yaml.safe_dump(data, sort_keys=False, default_flow_style=False)
    return (HEAD + text).encode()
