"""Where systemd runs, it keeps the daemon of a real host up, over boots too: the unit, and asking for it.

One template for all topologies (systemd.unit(5)): its instance is the topology's name. Before the daemon
starts, the unit has ltk make what a boot has taken away; that is one `ltk apply`, as by hand.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ltk.errors import LtkError
from ltk.kernel import paths

RUNNING = Path("/run/systemd/system")  # sd_booted(3)
UNIT = Path("/etc/systemd/system/ltk@.service")
WANTS = Path("/etc/systemd/system/multi-user.target.wants")
DEADLINE = 60.0  # seconds for systemctl, which waits until the daemon is ready

TEMPLATE = """\
# Made by ltk. `ltk apply` makes it, and `ltk destroy` of the last topology removes it.
[Unit]
Description=ltk: this machine's node of the private network %i
Wants=network-online.target
After=network-online.target nss-lookup.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStartPre=-+{python} -P -m ltk apply %i --no-start --yes
ExecStart={python} -P -m ltk node --needs-device {here}
Restart=always
RestartSec=1
UMask=0077
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=-{run}
ProtectHome=read-only
PrivateTmp=yes
DevicePolicy=closed
DeviceAllow=/dev/net/tun rw
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def is_in_charge() -> bool:
    """Whether this machine was booted with systemd."""
    return RUNNING.is_dir()


def text(python: str = sys.executable) -> str:
    """The unit, for daemons that this interpreter runs."""
    return TEMPLATE.format(python=_quoted(python), here=paths.config_here("%i"), run=paths.run_folder("%i"))


def name(topology: str) -> str:
    """The unit of one topology."""
    return f"ltk@{topology}.service"


def start(topology: str) -> None:
    """Have the daemon run, now and after each boot; anew where it does. Returns when it is ready.

    Raises LtkError with the end of its log where it does not come up.
    """
    if not UNIT.is_file() or UNIT.read_text() != text():
        _write(text())
        _systemctl("daemon-reload")
    _systemctl("enable", name(topology))
    _systemctl("restart", name(topology))


def stop(topology: str) -> None:
    """Stop it, and have it start no more. The template goes with the last topology that it served."""
    if not UNIT.is_file():
        return
    _systemctl("disable", "--now", name(topology))
    if not list(WANTS.glob(name("*"))):
        UNIT.unlink(missing_ok=True)
        _systemctl("daemon-reload")


def _write(unit: str) -> None:
    try:
        UNIT.parent.mkdir(parents=True, exist_ok=True)
        UNIT.write_text(unit)
    except OSError as error:
        raise LtkError(f"writing {UNIT}", str(error.strerror)) from error


def _systemctl(*words: str) -> None:
    doing = f"running systemctl {' '.join(words)}"
    try:
        done = subprocess.run(
            ["systemctl", "--quiet", "--no-ask-password", *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    except FileNotFoundError:
        raise LtkError(doing, "there is no systemctl, although systemd runs") from None
    except subprocess.TimeoutExpired:
        raise LtkError(doing, f"it did not end within {DEADLINE:g} s") from None
    if done.returncode != 0:
        hint = f"Its log: journalctl -u {words[-1]}" if words[-1].startswith("ltk@") else None
        raise LtkError(doing, done.stderr.strip() or f"it failed with status {done.returncode}", hint=hint)


def _quoted(word: str) -> str:
    """A word of a command line of systemd's, whatever is in it (systemd.service(5), systemd.unit(5))."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(each in word for each in " \t'\";") else escaped
