"""What the tests on real namespaces stand on: ltk as a user runs it, and the network's own word.

Nothing here asks ltk what a path is or what was delivered: counters, captures and the kernel do that.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
DEADLINE = 30.0  # seconds; generous, since machines are shared: no test passes or fails by the clock
# Of tcpdump: room for 8192 packets while it waits for its turn, and of super-packets the beginning alone.
CAPTURE_ALL = ("--immediate-mode", "-s", "2048", "-B", "16384")


def run_ltk(*arguments: str, status: int | None = 0, **keywords: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line; asserts its exit status (None: any) and that no traceback got out."""
    done = subprocess.run(
        [sys.executable, "-m", "ltk", *arguments],
        capture_output=True,
        text=True,
        timeout=keywords.pop("timeout", 120),
        check=False,
        **keywords,
    )
    said = f"ltk {' '.join(arguments)}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, said
    assert status is None or done.returncode == status, said
    return done


def wait_for(condition: Callable[[], Any], awaited: str, deadline: float = DEADLINE) -> Any:
    """Look until `condition` is true and return what it gave; fails with what was awaited."""
    end = time.monotonic() + deadline
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {deadline:g} s for this: {awaited}"
        time.sleep(0.01)  # between two looks; the condition decides, not the time
    return found


class Lab:
    """A topology file and what it has become."""

    def __init__(self, yaml: str, path: Path) -> None:
        self.path = path
        self.name = ""
        self.rewrite(yaml)

    def rewrite(self, yaml: str) -> None:
        """Change what is wanted; nothing happens until `apply`."""
        self.yaml = yaml
        self.path.write_text(yaml)
        found = re.search(r"^name: *([\w-]+)", yaml, re.MULTILINE)
        assert found, "a topology has a name"
        self.name = found[1]

    def ltk(self, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run the command line as whoever the lab belongs to, which is root."""
        return run_ltk(*arguments, status=status)

    def apply(self, *arguments: str) -> dict[str, Any]:
        """Apply; returns the JSON that `ltk apply` prints."""
        printed: dict[str, Any] = json.loads(
            self.ltk("apply", str(self.path), "-o", "json", *arguments).stdout
        )
        return printed

    def plan(self) -> list[dict[str, Any]]:
        """The changes that apply would make, as `ltk plan` prints them."""
        done = self.ltk("plan", str(self.path), "-o", "json", status=None)
        changes: list[dict[str, Any]] = json.loads(done.stdout)["changes"]
        assert done.returncode == (2 if changes else 0), done.stderr
        return changes

    def destroy(self) -> None:
        """Take it down; fine if it is not up."""
        self.ltk("destroy", str(self.path))

    def status(self) -> dict[str, Any]:
        """The JSON of `ltk status`: ltk's own word, to be compared with the network's."""
        printed: dict[str, Any] = json.loads(self.ltk("status", self.name, "-o", "json").stdout)
        return printed

    def peer(self, node: str, peer: str) -> dict[str, Any]:
        """What `node` says about `peer` in its status."""
        status = next(each for each in self.status()["nodes"] if each["name"] == node)
        found: dict[str, Any] = next(each for each in status["peers"] if each["name"] == peer)
        return found

    def scope(self, place: str) -> str:
        """The namespace of a node, a site's router or the internet."""
        return f"ltk-{self.name}-{place}"

    def command(self, place: str, *words: str) -> list[str]:
        """The command `words`, to be run inside of `place`."""
        return ["ip", "netns", "exec", self.scope(place), *words]

    def run(
        self, place: str, *words: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside of `place` and wait for it."""
        done = subprocess.run(
            self.command(place, *words), capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"{words} in {place}:\n{done.stdout}\n{done.stderr}"
        return done

    @contextmanager
    def running(self, place: str, *words: str, **keywords: Any) -> Iterator[subprocess.Popen[str]]:
        """A command inside of `place` for as long as the body takes; it is ended afterwards."""
        pipe = subprocess.PIPE
        options = {"stdout": pipe, "stderr": pipe, "text": True} | keywords
        with subprocess.Popen(self.command(place, *words), **options) as process:
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()

    def ping(self, source: str, target: str, *options: str, count: int = 3) -> dict[str, Any]:
        """Ping an address from inside of `source`: {"sent", "received", "times" (ms), "output"}.

        Without `-W`, late answers are waited for: by itself ping gives the last one two round trips, which
        a busy machine may exceed. With a deadline it goes on sending until it has its count; what it sent
        in excess is left out here.
        """
        quick = [] if "-i" in options else ["-i", "0.05"]
        interval = float(options[options.index("-i") + 1]) if "-i" in options else 0.05
        patience = [] if "-W" in options else ["-w", str(math.ceil(count * interval) + 10)]
        words = ["ping", "-n", "-c", str(count), *patience, *quick, *options, target]
        done = self.run(source, *words, check=False, timeout=count * interval + 60)
        assert "packets transmitted" in done.stdout, f"ping said:\n{done.stdout}{done.stderr}"
        answers = re.findall(r"icmp_seq=(\d+) .*time=([\d.]+) ms", done.stdout)
        times = {int(number): float(time) for number, time in answers if int(number) <= count}
        return {"sent": count, "received": len(times), "times": [*times.values()], "output": done.stdout}

    def counters(self, place: str, table: str = "ltk") -> dict[str, int]:
        """Packets by named nftables counter of a place's table: the network's own word."""
        done = self.run(place, "nft", "-j", "list", "counters", "table", "inet", table)
        objects = json.loads(done.stdout)["nftables"]
        return {each["counter"]["name"]: each["counter"]["packets"] for each in objects if "counter" in each}

    @contextmanager
    def capture(
        self, place: str, device: str, *expression: str, gaps: bool = False
    ) -> Iterator[Callable[[], bytes]]:
        """Capture packets on a device; the value, called, stops the capture and gives the file's bytes.

        It fails where the kernel had no room for a packet, unless `gaps` do no harm.
        """
        file = self.path.with_suffix(f".{place}.{device}.pcap")
        words = ["tcpdump", *CAPTURE_ALL, "-U", "-n", "-i", device, "-w", str(file), *expression]
        with self.running(place, *words) as process:
            assert process.stderr
            for line in process.stderr:
                if "listening on" in line:
                    break

            def stop() -> bytes:
                process.terminate()
                _, said = process.communicate(timeout=10)
                assert gaps or "\n0 packets dropped by kernel" in said, f"the capture has gaps: {said}"
                return file.read_bytes()

            yield stop

    def daemon_pid(self, node: str) -> int:
        """The process of a node's daemon; an ltk that only looks in at this moment is none."""
        listed = [int(pid) for pid in pids_in(self.scope(node)) if is_kept(int(pid))]
        assert len(listed) == 1, f"daemons of {node}: {listed}"
        return listed[0]

    def logs(self) -> str:
        """What the daemons and the supervisor said."""
        files = sorted(Path("/run/ltk").joinpath(self.name).glob("*.log"))
        return "\n".join(f"--- {file}\n{file.read_text()}" for file in files)


def pids_in(scope: str) -> list[str]:
    """The processes of a namespace, as `ip netns` sees them."""
    done = subprocess.run(["ip", "netns", "pids", scope], capture_output=True, text=True, check=True)
    return done.stdout.split()


def is_kept(pid: int) -> bool:
    """Whether the process is a supervisor's child, which has its command line."""
    try:
        return b"ltk.supervise" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def machine_state() -> dict[str, str]:
    """The machine's own devices, addresses, routes, rules and rule sets, its namespaces and ltk's files."""
    commands: dict[str, Sequence[str]] = {
        "links": ["ip", "-o", "link"],
        "addresses": ["ip", "-o", "address"],
        "routes": ["ip", "route", "show", "table", "all"],
        "routes6": ["ip", "-6", "route", "show", "table", "all"],
        "rules": ["ip", "rule"],
        "nftables": ["nft", "list", "ruleset"],
        "namespaces": ["ip", "netns", "list"],
    }
    state = {
        name: subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for name, command in commands.items()
    }
    state["namespaces"] = "\n".join(sorted(state["namespaces"].splitlines()))  # listed in no order
    for name in ("addresses", "routes6"):
        state[name] = re.sub(r"(valid_lft|preferred_lft|expires) \d+sec", "", state[name])
    found = [str(path) for folder in ("/run/ltk", "/var/lib/ltk") for path in sorted(Path(folder).rglob("*"))]
    return state | {"files": "\n".join(found), "supervisors": supervisors()}


def supervisors() -> str:
    """The command lines of all supervisors of labs, and of the daemons forked from them.

    Those of another container on this machine are none of ours.
    """
    ours = Path("/proc/self/ns/pid").readlink()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"ltk.supervise" in words and (entry / "ns" / "pid").readlink() == ours:
                    found.append(os.fsdecode(b" ".join(words)))
            except OSError:
                continue  # it has ended
    return "\n".join(sorted(found))
