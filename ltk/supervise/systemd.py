"""Where systemd runs, it keeps the daemon of a real host up, over boots too: the unit, and asking for it.

One template for all topologies (systemd.unit(5)): its instance is the topology's name. Before the daemon
starts, the unit has ltk make what a boot has taken away; that is one `ltk apply`, as by hand.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from ltk.errors import LtkError
from ltk.kernel import paths

RUNNING = Path("/run/systemd/system")  # sd_booted(3)
UNIT = Path("/etc/systemd/system/ltk@.service")
WANTS = Path("/etc/systemd/system/multi-user.target.wants")
DEADLINE = 60.0  # seconds for systemctl, which waits until the daemon is ready
ERROR = "error: "  # with which ltk begins to tell why it ends
PRIVATE = (Path("/tmp"), Path("/var/tmp"))  # of which PrivateTmp gives the daemon its own
CODE = (Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[2])

# ReadOnlyPaths: beside ProtectProc, systemd 252 was seen to leave /run out of what is strictly protected.
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
ReadOnlyPaths=/run
ReadWritePaths=-{run}{seen}
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


def text(python: str = sys.executable, code: Iterable[Path] = CODE) -> str:
    """The unit, for daemons that this interpreter runs; `code`: where it and what it runs lie.

    What of it lies where others have their temporary files is seen by the daemon all the same.
    """
    hidden = [path for path in code if any(path.is_relative_to(folder) for folder in PRIVATE)]
    seen = "".join(f'\nBindReadOnlyPaths="{_specified(str(path))}"' for path in sorted(set(hidden)))
    here, run = paths.config_here("%i"), paths.run_folder("%i")
    return TEMPLATE.format(python=_quoted(python), here=here, run=run, seen=seen)


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
    begin = time.time()
    try:
        _systemctl("restart", name(topology))
    except LtkError as error:
        said = _last_words(name(topology), begin) or error.problem
        raise LtkError(f"starting {name(topology)}", said, hint=error.hint) from error


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


def _last_words(unit: str, begin: float) -> str:
    """Why it did not come up, in its own words or systemd's since `begin` (seconds, wall clock), or ""."""
    words = ["--quiet", "--no-pager", "--output=cat", f"--since=@{begin:.3f}", f"--unit={unit}"]
    lines: list[str] = []
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        for command in (["journalctl", "--sync"], ["journalctl", *words]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
            lines = done.stdout.splitlines()
    errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
    return errors[-1] if errors else "; ".join(lines[-3:])


def _specified(word: str) -> str:
    """A word in which systemd is to find no specifiers, and no end of its quotes (systemd.unit(5))."""
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _quoted(word: str) -> str:
    """A word of a command line of systemd's, whatever is in it (systemd.service(5), systemd.unit(5))."""
    escaped = _specified(word).replace("$", "$$")
    return f'"{escaped}"' if any(each in word for each in " \t'\";") else escaped
