"""Where ltk keeps its files on a machine: the one place that names the folders."""

from __future__ import annotations

import stat
from pathlib import Path

RUN = Path("/run/ltk")  # sockets, locks, logs, configurations in force; empty after a boot
STATE = Path("/var/lib/ltk")  # keys; kept over a boot
WIRES = "wires"  # the process that carries a lab's wires; no node has its name


def run_folder(topology: str) -> Path:
    """The folder of what belongs to `topology` while it is up; mode 0700."""
    return RUN / topology


def state_folder(topology: str) -> Path:
    """The folder of the keys of `topology`; mode 0700."""
    return STATE / topology


def key_file(topology: str, node: str) -> Path:
    """The private key of `node`."""
    return state_folder(topology) / f"{node}.key"


def control_socket(topology: str, node: str) -> Path:
    """The socket on which the daemon of `node` takes requests."""
    return run_folder(topology) / f"{node}.sock"


def node_config(topology: str, node: str) -> Path:
    """The configuration that the daemon of `node` starts from."""
    return run_folder(topology) / f"{node}.json"


def node_log(topology: str, node: str) -> Path:
    """What the daemon of `node` says."""
    return run_folder(topology) / f"{node}.log"


def program_log(topology: str, node: str) -> Path:
    """What the program of `node` says."""
    return run_folder(topology) / f"{node}.run.log"


def wires_config(topology: str) -> Path:
    """What the process of the wires starts from."""
    return run_folder(topology) / f"{WIRES}.json"


def wires_socket(topology: str) -> Path:
    """The socket on which the process of the wires takes requests."""
    return run_folder(topology) / f"{WIRES}.sock"


def wires_log(topology: str) -> Path:
    """What the process of the wires says."""
    return run_folder(topology) / f"{WIRES}.log"


def node_configs(topology: str) -> list[Path]:
    """The configurations of all daemons, in the order of the nodes' names."""
    return sorted(path for path in run_folder(topology).glob("*.json") if path.stem != WIRES)


def supervisor_socket(topology: str) -> Path:
    """The socket on which the supervisor of `topology` takes requests."""
    return run_folder(topology) / "supervisor.sock"


def supervisor_lock(topology: str) -> Path:
    """The file that the supervisor of `topology` keeps locked while it lives."""
    return run_folder(topology) / "supervisor.lock"


def supervisor_log(topology: str) -> Path:
    """What the supervisor of `topology` says, and the repairs that it runs."""
    return run_folder(topology) / "supervisor.log"


def make_private_folder(folder: Path) -> None:
    """Make `folder` where it is missing, and let nobody but its owner into it (0700)."""
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) != 0o700:  # on a disk that is read-only it may be right already
        folder.chmod(0o700)


def expanded(topology: str) -> Path:
    """What the applied topology expanded to, of which `ltk.reconcile.remembered` is in charge."""
    return run_folder(topology) / "topology.expanded"


def applied(topology: str) -> Path:
    """The topology as it was applied last: what is wanted, never what is."""
    return run_folder(topology) / "topology.yaml"


def kept_faults(topology: str) -> Path:
    """The faults that change what is wanted, of which `ltk.reconcile.kept_faults` is in charge."""
    return run_folder(topology) / "topology.faults"


def here(topology: str) -> Path:
    """Which node of `topology` this machine is: its name. Only on a machine that is one, over a boot too."""
    return state_folder(topology) / "node"


def wanted_here(topology: str) -> Path:
    """The topology as it was applied last to this machine as a node of it, kept over a boot."""
    return state_folder(topology) / "topology.yaml"


def settings_before(topology: str) -> Path:
    """What this machine's own settings were before `topology` wanted others."""
    return state_folder(topology) / "settings.json"


def config_here(topology: str) -> Path:
    """A name for the configuration of the one daemon on this machine, whichever node that is."""
    return run_folder(topology) / "here"


def journal(topology: str) -> Path:
    """What a run is changing, for as long as it does, of which `ltk.reconcile.journal` is in charge."""
    return run_folder(topology) / "journal"


def unconfirmed(topology: str) -> Path:
    """The journal of a change that awaits its confirmation."""
    return run_folder(topology) / "unconfirmed"


def guard_pipe(topology: str) -> Path:
    """The named pipe by which the guard of an unconfirmed change is woken."""
    return run_folder(topology) / "guard"


def guard_log(topology: str) -> Path:
    """What the guard of an unconfirmed change says. No node has its name, since that has no dot."""
    return run_folder(topology) / "topology.guard.log"
