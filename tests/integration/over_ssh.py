"""Machines that somebody reaches by SSH, each by its own server, and the desk from which that is done.

The desk is a router too: it stands between the machines, and nothing else does. Ansible and SSH are the
real ones. All that they keep is in a folder of the test or in memory of the machine that they run on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness import REPOSITORY, wait_for
from real_machines import Machine, machines

ADDRESSES = {"hub": "203.0.113.2", "alice": "203.0.113.30", "bob": "203.0.113.40"}
PORTS = {"hub": 22, "alice": 22, "bob": 2222}
# What the machines know by themselves, in the place of a package index: no index, and where all that ltk
# depends on lies already. It may lie there too, and pip would take that for an ltk that is installed.
SURROUNDINGS = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_IGNORE_INSTALLED": "1",
    "PYTHONPATH": sysconfig.get_path("purelib"),
    "PATH": f"{sys.base_prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
SERVER = """
HostKey {key}
AuthorizedKeysFile /run/authorized
PidFile none
Subsystem sftp internal-sftp
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv {environment}
"""
# bob is known to it by his name alone. Who comes in there is no root, and has sudo; alice has none.
CLIENT = """
Host bob
  HostName 203.0.113.40
  Port 2222
  User operator
Host 203.0.113.30
  User root
Host *
  IdentityFile {identity}
  IdentitiesOnly yes
  UserKnownHostsFile {known}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  ConnectTimeout 5
"""


OWN = """
set -e
mkdir -p /etc/ltk /run/sshd
mount -t tmpfs tmpfs /etc/ltk
mount -t tmpfs tmpfs /opt
for file in "$HOME/.bashrc" "$1"; do [ ! -e "$file" ] || mount --bind /dev/null "$file"; done
"""
OPERATOR = """
set -e
mkdir -m 700 /run/operator /run/own
chown 1000 /run/operator
(echo 'operator:*:1000:1000::/run/operator:/bin/sh'; cat /etc/passwd) > /run/own/passwd
(umask 337; echo 'operator ALL=(ALL) NOPASSWD: ALL' > /run/own/sudoers)
for name in passwd sudoers; do mount --bind /run/own/$name /etc/$name; done
"""
INSTALLED = """
set -e
mkdir -p /opt/ltk/bin
printf '#!/bin/sh\\nexec env PYTHONPATH=%s %s -m ltk "$@"\\n' "$1" "$2" > /opt/ltk/bin/ltk
chmod 755 /opt/ltk/bin/ltk
"""


@dataclass(slots=True)
class Fleet:
    """Three machines with a server of SSH each, and the desk."""

    folder: Path
    at: dict[str, Machine]
    servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def desk(self) -> Machine:
        return self.at["desk"]

    def serve(self, name: str) -> None:
        """Start a machine's server of SSH."""
        machine, config, log = self.at[name], self.folder / f"{name}.conf", self.folder / f"{name}.log"
        environment = " ".join(f'{key}="{value}"' for key, value in SURROUNDINGS.items())
        config.write_text(SERVER.format(key=self.folder / f"{name}_key", environment=environment))
        machine.run("cp", str(self.folder / "desk_key.pub"), "/run/authorized")
        words = machine.command(program("sshd"), "-D", "-e", "-f", str(config), "-p", str(PORTS[name]))
        with log.open("wb") as file:
            self.servers[name] = subprocess.Popen(words, stderr=file)
        wait_for(lambda: "Server listening on" in log.read_text(), f"the server of SSH of {name}")

    def cut(self, name: str, state: str) -> None:
        """Take a machine's cable out (`down`) or put it in (`up`)."""
        self.desk.network(f"link set {name} {state}")
        if state == "up":
            self.desk.network(f"route replace {ADDRESSES[name]} dev {name}")

    def install(self, name: str) -> None:
        """Have ltk there, as somebody has installed it."""
        self.at[name].run("sh", "-c", INSTALLED, "sh", str(REPOSITORY), sys.executable)

    def run(self, *words: str, status: int = 0) -> str:
        """Run a command at the desk, in the test's folder; returns what it has said, both ways."""
        told = {
            "ANSIBLE_HOME": "/run/ansible",
            "ANSIBLE_LOCAL_TEMP": "/run/ansible/tmp",
            "ANSIBLE_REMOTE_TEMP": "/run/ansible",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": "/run/ansible/cp",  # of sockets, whose paths are short
            "ANSIBLE_SSH_COMMON_ARGS": f"-F {self.folder}/ssh_config",
            "ANSIBLE_NOCOLOR": "1",
        }
        variables = [f"{name}={value}" for name, value in told.items()]
        script = f'cd {self.folder} && exec "$@" 2>&1'
        said = self.desk.run("env", *variables, "sh", "-c", script, "sh", *words, status=status, timeout=300)
        assert "Traceback" not in said, said
        print(said)
        return said

    def ltk(self, *words: str, status: int = 0) -> str:
        """Run ltk at the desk, as a user does; returns what it has said, both ways."""
        return self.run(sys.executable, "-m", "ltk", *words, status=status)


def program(name: str) -> str:
    """Where a program is that stands where only root looks."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert found is not None, f"there is no {name} here; ci/test installs it"
    return found


@contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """The desk and its machines, cabled and served; hub and bob have ltk, and alice has not."""
    with machines(("desk", *ADDRESSES)) as at:
        found = Fleet(folder, at)
        found.desk.network("sysctl -qw net.ipv4.ip_forward=1")
        _keygen(folder / "desk_key")
        known = []
        for name, address in ADDRESSES.items():
            found.desk.wire(name, at[name], "eth0")
            found.desk.network(f"address add 203.0.113.1/32 dev {name}", f"route add {address} dev {name}")
            at[name].network(
                f"address add {address}/32 dev eth0",
                "route add 203.0.113.1 dev eth0",
                "route add default via 203.0.113.1 dev eth0",
            )
            at[name].run("sh", "-c", OWN, "sh", program("sudo") if name == "alice" else "")
            key = _keygen(folder / f"{name}_key")
            known.append(f"[{address}]:{PORTS[name]} {key}" if PORTS[name] != 22 else f"{address} {key}")
        at["bob"].run("sh", "-c", OPERATOR)
        for name in ("hub", "bob"):
            found.install(name)
        (folder / "known_hosts").write_text("".join(known))
        client = CLIENT.format(identity=folder / "desk_key", known=folder / "known_hosts")
        (folder / "ssh_config").write_text(client)
        try:
            for name in ADDRESSES:
                found.serve(name)
            yield found
        finally:
            for server in found.servers.values():
                server.kill()
                server.wait(10)


def _keygen(path: Path) -> str:
    """Make a key pair; returns the public one."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(words, check=True)
    return path.with_suffix(".pub").read_text()
