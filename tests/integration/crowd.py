"""Labs of many clients, each at a home of its own, whose pairs have their own trouble at the same time.

So what has to be waited for is waited for once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoes import pinging
from flows import PING, Flows, seen
from harness import CAPTURE_ALL, Lab, wait_for

from ltk.errors import LtkError
from ltk.kernel import paths
from ltk.node.control import ask

Pair = tuple[str, str]
EVERY = 0.05  # seconds between two pings of a pair


def topology(
    name: str,
    clients: Sequence[str],
    *,
    link: str = "",
    nats: dict[str, str] | None = None,
    p2p: dict[str, str] | None = None,
) -> str:
    """A hub at 10.72.0.1 and clients from 10.72.0.2 on, in this order, each behind a router of its own."""
    own = f", link: {{{link}}}" if link else ""
    wishes = {each: f", p2p: {wish}" for each, wish in (p2p or {}).items()}
    nodes = "".join(
        f"  {each}: {{address: {address_of(clients, each)}{wishes.get(each, '')}}}\n" for each in clients
    )
    sites = "".join(
        f"    at-{each}: {{nat: {(nats or {}).get(each, 'port-restricted')}, hosts: [{each}]{own}}}\n"
        for each in clients
    )
    return f"""
name: {name}
network: {{subnet: 10.72.0.0/24}}
nodes:
  hub: {{role: server, address: 10.72.0.1}}
{nodes}lab:
  sites:
    cloud: {{hosts: [hub]}}
{sites}"""


def address_of(clients: Sequence[str], name: str) -> str:
    """The tunnel address of a client."""
    return f"10.72.0.{clients.index(name) + 2}"


@dataclass(frozen=True)
class Used:
    """What a few pings between two clients put on each way; `pings` of them, `answered` of those."""

    pings: int
    answered: int
    there: int
    back: int
    up: int
    down: int

    @property
    def took_the_direct_way(self) -> bool:
        """Nothing was lost, and all of it went directly; a path in doubt is relayed beside that."""
        return self.answered == self.pings and min(self.there, self.back) >= seen(self.pings)

    @property
    def is_direct(self) -> bool:
        return self.took_the_direct_way and self.up == self.down == 0

    @property
    def is_relayed(self) -> bool:
        return (
            self.answered == self.pings
            and min(self.up, self.down) >= seen(self.pings)
            and self.there == self.back == 0
        )


class Crowd:
    """Such a lab, with counters of data on the ways between its pairs."""

    def __init__(self, lab: Lab, clients: Sequence[str], pairs: Iterable[Pair]) -> None:
        self.lab = lab
        self.clients = clients
        self.pairs = tuple(pairs)
        self.flows = Flows(lab)
        self.flows.watch(clients, self.pairs)

    def use(
        self, pairs: Iterable[Pair] | None = None, *, count: int = 5, patience: int = 10
    ) -> dict[Pair, Used]:
        """Ping from the first to the second of each pair, all at once; tell what that put on each way.

        A client of several pairs has the sum of them all on its ways to the hub.
        """
        chosen = self.pairs if pairs is None else tuple(pairs)
        before = self.flows.counted()
        answered = self.pings(chosen, count, patience)
        after = self.flows.counted()

        def rose(name: str) -> int:
            return after[name] - before[name]

        return {
            (a, b): Used(
                count,
                answered[a, b],
                rose(f"{a}_{b}"),
                rose(f"{b}_{a}"),
                rose(f"{a}_hub"),
                rose(f"hub_{a}"),
            )
            for a, b in chosen
        }

    def pings(self, pairs: Iterable[Pair], count: int, patience: int = 10) -> dict[Pair, int]:
        """How many of the first `count` pings were answered, by pair; late answers are waited for, so long.

        That is seconds more than the pings take. Pings go on until then: ping by itself ends when it has as
        many answers as it is to have, whichever they are, and on the way from the relay to a direct path some
        overtake others.
        """
        first = set(range(1, count + 1))
        with ExitStack() as stack:
            running = {
                (a, b): stack.enter_context(pinging(self.lab, a, self.address(b), "-i", str(EVERY), *PING))
                for a, b in pairs
            }
            with suppress(AssertionError):  # how many there have to be is for the caller to say
                wait_for(
                    lambda: all(first <= each.answered for each in running.values()),
                    "all answers",
                    count * EVERY + patience,
                )
            return {pair: len(first & each.answered) for pair, each in running.items()}

    @contextmanager
    def pinging(self, *pairs: Pair, interval: float = 0.3) -> Iterator[None]:
        """Pings of those pairs for as long as the body takes; nobody looks at their answers."""
        words = ["ping", "-n", "-q", "-i", str(interval), "-c", "1000", *PING]
        processes = [
            subprocess.Popen(self.lab.command(a, *words, self.address(b)), stdout=subprocess.DEVNULL)
            for a, b in pairs
        ]
        try:
            yield
        finally:
            for process in processes:
                process.kill()
                process.wait()

    @contextmanager
    def noting(self, place: str, device: str, *expression: str) -> Iterator[Callable[[], list[str]]]:
        """Capture for as long as the body takes; the value gives, each time, tcpdump's lines so far.

        Each of them begins with the Unix time of its packet.
        """
        file = self.lab.path.with_suffix(f".{place}.{device}.txt")
        words = ["tcpdump", *CAPTURE_ALL, "-l", "-tt", "-n", "-i", device, *expression]
        with file.open("w") as output, self.lab.running(place, *words, stdout=output) as process:
            assert process.stderr
            for line in process.stderr:
                if "listening on" in line:
                    break
            yield lambda: file.read_text().splitlines()

    def wait_until_direct(self, *pairs: Pair, deadline: float = 90.0) -> None:
        """Wait until the data of all these pairs takes the direct way, and no other."""
        chosen = pairs or self.pairs
        last: dict[Pair, Used] = {}

        def all_direct() -> bool:
            last.update(self.use(chosen, patience=2))  # what is lost is asked again
            return all(used.is_direct for used in last.values())

        awaited = f"the direct paths of {[f'{a}-{b}' for a, b in chosen]}"
        try:
            wait_for(all_direct, awaited, deadline)
        except AssertionError:
            others = {pair: used for pair, used in last.items() if not used.is_direct}
            raise AssertionError(f"waited {deadline:g} s for {awaited}; not direct: {others}") from None

    def wait_until_relayed(self, *pairs: Pair, deadline: float = 30.0) -> None:
        """Wait until the data of all these pairs takes the relay, and no other way."""
        awaited = f"the relay to carry {[f'{a}-{b}' for a, b in pairs]}"
        wait_for(
            lambda: all(used.is_relayed for used in self.use(pairs, patience=2).values()), awaited, deadline
        )

    def address(self, client: str) -> str:
        return address_of(self.clients, client)

    def told(self, node: str) -> dict[str, Any]:
        """A daemon's own status; empty while there is no daemon."""
        try:
            return ask(paths.control_socket(self.lab.name, node), {"do": "status"})
        except LtkError:
            return {}

    def told_of(self, node: str, peer: str) -> dict[str, Any]:
        """What a daemon says itself of one of its peers."""
        found: dict[str, Any] = next(each for each in self.told(node)["peers"] if each["name"] == peer)
        return found

    def log(self, node: str) -> str:
        """What a node's daemons have said."""
        return self._log_file(node).read_text()

    def _log_file(self, node: str) -> Path:
        return Path("/run/ltk", self.lab.name, f"{node}.log")

    def kill(self, *nodes: str) -> dict[str, int]:
        """Kill daemons, which are started again with an empty memory, and wait until they are.

        Return the length of each one's log before.
        """
        before = {node: len(self.log(node)) for node in nodes}
        for node in nodes:
            os.kill(self.lab.daemon_pid(node), signal.SIGKILL)
        for node, length in before.items():
            wait_for(
                lambda node=node, length=length: "registered" in self.log(node)[length:],
                f"{node} to be started again",
            )
        return before


@contextmanager
def a_folder() -> Iterator[Path]:
    """A folder for the files of a lab that several tests share."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextmanager
def up(name: str, clients: Sequence[str], pairs: Iterable[Pair], **more: object) -> Iterator[Crowd]:
    """Such a lab for as long as the body takes; `more` goes to `topology`."""
    with a_folder() as folder:
        lab = Lab(topology(name, clients, **more), folder / f"{name}.yaml")
        try:
            lab.apply()
            yield Crowd(lab, clients, pairs)
        finally:
            print(lab.logs())
            lab.destroy()
