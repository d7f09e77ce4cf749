"""A machine of the tests whose first process is systemd itself, with a journal and nothing else to start.

It sees a cgroup of its own as the root of all (cgroup_namespaces(7)), and of the units of the system those
that a boot needs. What they would change is the machine's own, too: its host name, /run, /var/log and
/etc/systemd/system; the settings of the kernel that are not a network's are read-only.
"""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

from harness import REPOSITORY, wait_for
from real_machines import Machine

SYSTEMD = Path("/usr/lib/systemd/systemd")
UNITS = "/run/units"
NAME_SERVER = "203.0.113.1"  # of machines that ask one

IN_A_CGROUP = """
mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
mkdir -p /sys/fs/cgroup/$0 && echo 0 > /sys/fs/cgroup/$0/cgroup.procs && umount /sys/fs/cgroup &&
exec unshare --cgroup "$@"
"""
OWN_CGROUPS = "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
# What lies under a mount would be mounted for units as well, and be in the way of what they are to see.
OWN_TREES = """
for tree in /run /run/netns /sys; do
    while mountpoint -q $tree; do umount --lazy --recursive $tree || exit 1; done
done
mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/lock && mount -t sysfs sysfs /sys
"""
OWN_SETTINGS = """
for tree in fs kernel vm; do
    mount --bind /proc/sys/$tree /proc/sys/$tree && mount -o remount,bind,ro /proc/sys/$tree || exit 1
done
"""
OWN_FILES = """
mount -t tmpfs tmpfs /var/log && mkdir -p /run/own /run/systemd/system.conf.d /run/systemd/journald.conf.d &&
hostname > /run/own/hostname &&
tr -d - < /proc/sys/kernel/random/uuid > /run/own/machine-id &&
echo nameserver $0 > /run/own/resolv.conf &&
for file in hostname machine-id resolv.conf; do
    place=$(readlink -m /etc/$file) &&
    { [ -e $place ] || { mkdir -p ${place%/*} && touch $place; }; } &&
    mount --bind /run/own/$file $place || exit 1
done
"""
OWN_UNITS = """
mkdir -p $1/sysinit.target.wants &&
ln -s /usr/lib/systemd/system/*.target /usr/lib/systemd/system/systemd-journald.service \
    /usr/lib/systemd/system/systemd-journald.socket /usr/lib/systemd/system/systemd-poweroff.service $1 &&
ln -s $1/systemd-journald.service $1/sysinit.target.wants &&
printf '[Manager]\\nDefaultEnvironment=PYTHONPATH=%s\\n' $2 > /run/systemd/system.conf.d/tests.conf &&
printf '[Journal]\\nReadKMsg=no\\n' > /run/systemd/journald.conf.d/tests.conf
"""
BECOME_SYSTEMD = """
echo up && exec env -i PATH="$PATH" container=ltk SYSTEMD_UNIT_PATH=/etc/systemd/system:$1 \
    SYSTEMD_GENERATOR_PATH=/run/none SYSTEMD_LOG_TARGET=journal $3 --system --unit=multi-user.target
"""
AS_DAEMON = ("--bounding-set", "-all,+net_admin,+net_bind_service", "--inh-caps", "-all")
BOOT = " && ".join(f"{{\n{part}\n}}" for part in (OWN_TREES, OWN_CGROUPS, OWN_SETTINGS, OWN_FILES, OWN_UNITS))
CLEAR = """
mount -t cgroup2 cgroup2 /sys/fs/cgroup && cd /sys/fs/cgroup || exit 1
[ ! -d $0 ] || { echo 1 > $0/cgroup.kill; find $0 -depth -type d -exec rmdir {} +; }
"""


def why_not() -> str | None:
    """Why systemd cannot be the first process of a machine of the tests here; None where it can."""
    if not SYSTEMD.is_file():
        return "systemd is not installed"
    own = ["unshare", "--mount", "--net", "--cgroup", "--propagation", "private", "sh", "-c"]
    tried = f"mount -t sysfs sysfs /sys && {OWN_CGROUPS}"
    done = subprocess.run([*own, tried], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"there are no cgroups for it: {done.stderr.strip()}"


class SystemdMachine(Machine):
    """A machine that boots as a real one does. `halt` shuts it down in good order."""

    def __init__(self, name: str) -> None:
        self._group = f"ltk-tests-{uuid.uuid4().hex}"  # cgroups are one tree for all namespaces of processes
        super().__init__(name)

    def first_process(self) -> list[str]:
        """systemd, once its surroundings are those of a machine."""
        script = f"{BOOT} && {{\n{BECOME_SYSTEMD}\n}}"
        shell = ["sh", "-c", script, NAME_SERVER, UNITS, str(REPOSITORY), str(SYSTEMD)]
        return ["sh", "-c", IN_A_CGROUP, self._group, *shell]

    def boot(self) -> None:
        """Boot, until there is nothing left to start."""
        super().boot()
        wait_for(lambda: self.run("systemctl", "is-system-running", status=None) == "running\n", "a boot")

    def halt(self) -> None:
        """Power it off."""
        if self._init is not None:
            self.run("systemctl", "poweroff", status=None)  # which may take its own shell with it
            self._init.wait(60)
            self._init = None
        super().halt()

    def end(self) -> None:
        """Away with it, and with its cgroup; what its units had in /tmp goes as they are stopped."""
        try:
            self.halt()
        finally:
            super().end()
            self._clear()

    def _clear(self) -> None:
        own = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c"]
        clear = f"mount -t sysfs sysfs /sys && {{\n{CLEAR}\n}}"
        command = [*own, clear, self._group]
        wait_for(
            lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0,
            "the cgroup of a machine is empty",
        )

    def unit(self, name: str) -> dict[str, str]:
        """What systemd knows of a unit, by the names of its properties."""
        lines = self.run("systemctl", "show", name).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def journal(self, name: str) -> str:
        """What the journal has of a unit: what it said, and systemd about it, and what is known of each."""
        return self.run("journalctl", "-o", "verbose", "--all", "-u", name)

    def try_as(self, name: str, script: str) -> str:
        """Run a script where a unit's process is: in its cgroup, its view of the files and its privileges."""
        unit = self.unit(name)
        enter = f'echo 0 > /sys/fs/cgroup{unit["ControlGroup"]}/cgroup.procs && exec "$@"'
        inside = ["nsenter", "-t", unit["MainPID"], "-m", "setpriv", "--no-new-privs", *AS_DAEMON]
        return self.run("sh", "-c", enter, "sh", *inside, "sh", "-c", script, status=None)
