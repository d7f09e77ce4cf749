"""Twenty sites with everything that can be in a lab, another topology of the same name, and a look at it all.

The look is that of `ip`, `nft` and the files: what a run that failed has left is not asked of ltk.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from harness import Lab

from ltk.kernel.messages import GROUP
from ltk.supervise import client as supervisor

TWENTY = """
name: twenty
network: {subnet: 10.90.0.0/24, psk: {command: "yes A | head -n 43 | tr -d '\\\\n'; echo ="}}
nodes:
  hub: {role: server, address: 10.90.0.1}
  client: {count: 14}
  olga: {address: 10.90.0.101}
  fay: {address: 10.90.0.102}
  carl: {address: 10.90.0.103}
  gus: {address: 10.90.0.104, routes: [192.168.90.0/24]}
  web: {role: host, run: "exec sleep 1000000"}
lab:
  internet: 198.18.0.0/16
  sites:
    cloud: {hosts: [hub, web]}
    home: {count: 14, nat: port-restricted, hosts: [client]}
    office: {nat: symmetric, hosts: [olga]}
    far: {nat: port-restricted, link: {delay: 5ms, loss: 0.1%}, hosts: [fay]}
    carrier: {nat: cgnat, lan: 100.64.0.0/24}
    flat: {nat: home, behind: carrier, hosts: [carl]}
    farm: {nat: port-restricted, link: {delay: 2ms}, hosts: [gus]}
  faults: ["block carl gus", "kill gus"]
"""
# a NAT, an address, a link, a program and the faults become others; a site goes with its node, one comes
OTHER = (
    TWENTY.replace("office: {nat: symmetric", "office: {nat: port-restricted")
    .replace("10.90.0.102}", "10.90.0.202, routes: [192.168.91.0/24]}")
    .replace("delay: 5ms", "delay: 9ms")
    .replace("sleep 1000000", "sleep 2000000")
    .replace("  gus: {address: 10.90.0.104, routes: [192.168.90.0/24]}", "  sue: {address: 10.90.0.105}")
    .replace("    farm: {nat: port-restricted, link: {delay: 2ms}, hosts: [gus]}", "    shop: {hosts: [sue]}")
    .replace('["block carl gus", "kill gus"]', '["block carl olga", "address flat", "stop sue"]')
)
SETTINGS = "net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv4.conf.all.promote_secondaries"
LOOK = f"""
ip -o -d link; ip -o address; ip route; ip -6 route; ip rule; sysctl {SETTINGS}; nft -s list ruleset
"""
# what is another one each time that a device is made, and what only passes by
PASSING = (
    r"^\d+: |link/ether \S+|@\S+|link-netnsid \d+|(bridge|designated)_(id|root) \S+|_timer +\S+"
    r"| linkdown\b|NO-CARRIER,|,LOWER_UP"  # told up to a second after a TUN device has lost its daemon
    r"|(valid|preferred)_lft \w+|state \w+|root_port \S+|port_(id|no) \S+|expires \S+"
)
KEPT_FILES = {".key", ".psk", ".yaml", ".expanded", ".faults"}


def looks(lab: Lab, script: str) -> dict[str, str]:
    """What a shell script says in each namespace of the lab."""
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    scopes = sorted(line.split()[0] for line in names.splitlines() if line.startswith(lab.scope("")))
    running = {
        scope: subprocess.Popen(
            ["ip", "netns", "exec", scope, "sh", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # `ip -6` where there is no IPv6
            text=True,
        )
        for scope in scopes
    }
    return {scope: look.communicate(timeout=60)[0] for scope, look in running.items()}


def unmarked(lab: Lab) -> list[str]:
    """Devices in the lab's namespaces without ltk's group, and loopbacks without its name for the lab."""
    found = []
    for scope, said in looks(lab, "ip -o link").items():
        for line in said.splitlines():
            marked = f"altname ltk.{lab.name}" if "LOOPBACK" in line else f"group {GROUP}"
            if marked not in line:
                found.append(f"{scope}: {line}")
    return found


def everything(lab: Lab) -> dict[str, str]:
    """All that there is of the lab, by where it is: namespaces, the supervisor's word, files."""
    found = {scope: _lasting(said) for scope, said in looks(lab, LOOK).items()}
    for folder in (Path("/run/ltk", lab.name), Path("/var/lib/ltk", lab.name)):
        for path in sorted(folder.rglob("*")):
            if path.suffix != ".log":
                found[str(path)] = _content(path)
    if supervisor.is_running(lab.name):
        kept_up = [*supervisor.nodes(lab.name), *supervisor.programs(lab.name)]
        found["supervisor"] = "\n".join(
            f"{each.command if isinstance(each, supervisor.ProgramProcess) else each.name}"
            f" {each.state} {getattr(each, 'fault', None)}"
            for each in kept_up
        )
    return found


def _content(path: Path) -> str:
    """What a file says; of a JSON document, a key a line."""
    if path.suffix == ".json":
        return json.dumps(json.loads(path.read_text()), sort_keys=True, indent=1)
    return path.read_text() if path.suffix in KEPT_FILES else ""


def _lasting(text: str) -> str:
    """The lines of a look, in an order of their own, without what differs from look to look."""
    text = re.sub(r"elements = \{[^}]*\}", "", text)  # what a router has learned, on several lines
    lines = (re.sub(PASSING, "", line).strip() for line in text.splitlines())
    return "\n".join(sorted(lines))


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is not as it was, line by line, with where it is."""
    found = []
    for place in sorted(before.keys() | after.keys()):
        old, new = (set(each.get(place, "(absent)").splitlines()) for each in (before, after))
        found += [f"{place}: gone: {line}" for line in sorted(old - new)]
        found += [f"{place}: new: {line}" for line in sorted(new - old)]
    return found
