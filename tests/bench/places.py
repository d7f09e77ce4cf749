"""Where everything of the benchmark runs: namespaces of its own, joined by cables, removed by name.

left  198.51.100.1 ─ eth0 ────────── eth0 ─ 198.51.100.2  right
      203.0.113.1  ─ hub0 ── hub ── hub0 ─ 203.0.113.5         (only where a tool wants a server)
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ltk.errors import LtkError
from ltk.kernel import netns

PREFIX = "ltkb-"  # of all namespaces made here
MTU = 1380  # bytes; that of every tunnel, whatever the tool's own default is
DEADLINE = 30.0  # seconds; generous, since it says only when to give up
LEFT_INSIDE, RIGHT_INSIDE, HUB_INSIDE = "10.60.0.1", "10.60.0.2", "10.60.0.254"  # tunnel addresses
LOG_LINES = 12  # of a program that failed, in what is told of it

T = TypeVar("T")


def wait_for(condition: Callable[[], T | None], awaited: str, deadline: float = DEADLINE) -> T:
    """Look until `condition` is true and return what it gave; raises LtkError with what was awaited."""
    end = time.monotonic() + deadline
    while not (found := condition()):
        if time.monotonic() > end:
            raise LtkError("waiting", f"{deadline:g} s were not enough for {awaited}")
        time.sleep(0.01)  # between two looks; the condition decides, not the time
    return found


def run(*words: str, timeout: float = DEADLINE, check: bool = True) -> str:
    """Run a command and return what it printed; raises LtkError where it fails or takes too long."""
    doing = f"running {' '.join(words)}"
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise LtkError(doing, f"it has not ended in {timeout:g} s") from None
    except OSError as error:
        raise LtkError(doing, error.strerror or str(error)) from None
    if check and done.returncode:
        raise LtkError(doing, f"status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Place:
    """One network namespace, and its address on the cable between the two sides."""

    namespace: str
    address: str = ""

    def command(self, *words: str) -> list[str]:
        """The command `words`, to be run inside; `ip` becomes the program, and its process is the same."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def run(self, *words: str, timeout: float = DEADLINE, check: bool = True) -> str:
        """Run a command inside and return what it printed."""
        return run(*self.command(*words), timeout=timeout, check=check)

    def ip(self, words: str) -> None:
        """Run `ip` inside."""
        run("ip", "-n", self.namespace, *words.split())

    @contextmanager
    def running(
        self, *words: str, log: Path, environment: dict[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A program inside while the body goes on, then SIGTERM. What it says goes to `log`.

        Where the body fails, the end of the log is part of the error.
        """
        with (
            log.open("wb") as output,
            subprocess.Popen(
                self.command(*words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | (environment or {}),
            ) as process,
        ):
            try:
                yield process
            except LtkError as error:
                said = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
                raise LtkError(error.doing, "\n  ".join((error.problem, *said))) from error
            finally:
                stop(process)

    def adopt_device(self, device: str, address: str) -> None:
        """Wait until a program has made its tunnel's device, and give that its address."""
        wait_for(lambda: self.has_device(device), f"the device {device} in {self.namespace}")
        self.ip(f"address add {address}/24 dev {device}")
        self.ip(f"link set {device} mtu {MTU} up")

    def has_device(self, device: str) -> bool:
        """Whether there is a device of that name."""
        return bool(run("ip", "-n", self.namespace, "-o", "link", "show", "dev", device, check=False))

    def bytes_sent(self, device: str) -> int:
        """What the kernel has counted at a device."""
        return int(self.run("cat", f"/sys/class/net/{device}/statistics/tx_bytes"))


@dataclass(frozen=True, slots=True)
class Underlay:
    """Both sides, and the server's place where there is one."""

    left: Place
    right: Place
    hub: Place | None


@contextmanager
def underlay(*, hub: bool = False) -> Iterator[Underlay]:
    """Make the namespaces and cables; all goes with the body, and leftovers of the same name before it."""
    remove_all()
    try:
        left, right = _made("left", "198.51.100.1"), _made("right", "198.51.100.2")
        _cable(left, "eth0", "198.51.100.1/24", right, "eth0", "198.51.100.2/24")
        server = None
        if hub:
            server = _made("hub", "203.0.113.2")
            _cable(left, "hub0", "203.0.113.1/30", server, "left", "203.0.113.2/30")
            _cable(right, "hub0", "203.0.113.5/30", server, "right", "203.0.113.6/30")
            right.ip("route add 203.0.113.0/30 via 203.0.113.6")
        yield Underlay(left, right, server)
    finally:
        remove_all()


@contextmanager
def lone_place(name: str) -> Iterator[Place]:
    """One namespace without a cable."""
    remove_all()
    try:
        yield _made(name, "")
    finally:
        remove_all()


def remove_all() -> None:
    """Remove all namespaces of the benchmark, and what runs in them: of a run that was killed, too."""
    for name in netns.names():
        if name.startswith(PREFIX):
            for pid in run("ip", "netns", "pids", name).split():
                _kill(int(pid))
            netns.remove(name)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process, by force where it does not go."""
    process.terminate()
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5.0)


def processes(roots: Sequence[int]) -> list[int]:
    """These processes and all that descend from them."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    found = list(roots)
    for pid in found:  # grows while it is read
        found += [child for child, parent in parents.items() if parent == pid and child not in found]
    return found


def cpu_seconds(roots: Sequence[int]) -> float:
    """What the processes and their descendants have used so far, in user space and in the kernel for them."""
    ticks = 0
    for pid in processes(roots):
        if fields := _stat(pid):
            ticks += int(fields[11]) + int(fields[12])
            if pid in roots:  # of children that have ended; those that live are counted themselves
                ticks += int(fields[13]) + int(fields[14])
    return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in bytes: resident; and with shared pages divided among those who share them."""

    rss: int
    pss: int


def memory(roots: Sequence[int]) -> Memory:
    """The memory of a program with all of its processes."""
    rss = pss = 0
    for pid in processes(roots):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        rss += sizes["Rss"]
        pss += sizes["Pss"]
    return Memory(rss, pss)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on (proc(5) numbers it 3); None of one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _made(name: str, address: str) -> Place:
    place = Place(PREFIX + name, address)
    netns.create(place.namespace, lambda: None)
    place.ip("link set lo up")
    return place


def _cable(a: Place, a_device: str, a_address: str, b: Place, b_device: str, b_address: str) -> None:
    a.ip(f"link add {a_device} type veth peer name {b_device} netns {b.namespace}")
    for place, device, address in ((a, a_device, a_address), (b, b_device, b_address)):
        place.ip(f"address add {address} dev {device}")
        place.ip(f"link set {device} up")
