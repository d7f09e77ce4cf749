"""One TCP connection through all that can happen to a tunnel: every byte arrives, and it is never reset."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from connection import PATIENCE, Transfer
from flows import NEW_PORT, Flows, flush_nat
from harness import Lab, is_kept, pids_in, wait_for

SIZE = 200_000_000  # bytes at the least
SHARE = SIZE // 5  # bytes between two events
SHOWN = 1000  # datagrams in a row that show which way the data takes
BOB = "10.73.0.3"

TOPOLOGY = f"""
name: transfer
network: {{subnet: 10.73.0.0/24}}
nodes:
  hub: {{role: server, address: 10.73.0.1}}
  alice: {{address: 10.73.0.2}}
  bob: {{address: {BOB}}}
lab:
  sites:
    cloud: {{hosts: [hub]}}
    home: {{nat: port-restricted, hosts: [alice]}}
    flat: {{nat: port-restricted, hosts: [bob]}}
"""


class Ways:
    """Which way alice's data takes, by the internet's counters, while the transfer goes on."""

    def __init__(self, lab: Lab, transfer: Transfer) -> None:
        self._transfer = transfer
        self.flows = Flows(lab)
        for name, source in (("direct", "home"), ("relayed", "hub")):
            self.flows.count(name, source, "flat")
        for target in ("flat", "hub"):
            self.flows.count(f"new_port_to_{target}", "home", target, source_port=NEW_PORT)

    def await_only(self, way: str, when: str) -> None:
        """Wait until the data takes one way and not the other."""
        other = "relayed" if way == "direct" else "direct"
        before = self.flows.counted()

        def takes_it() -> bool:
            nonlocal before
            now = self.flows.counted()
            if now[other] > before[other]:
                before = now
            return self._transfer.is_past(0) and now[way] - before[way] >= SHOWN

        wait_for(takes_it, f"the data to be {way} alone, {when}", PATIENCE)

    def await_bytes(self, count: int) -> None:
        """Wait until so many have arrived."""
        wait_for(lambda: self._transfer.is_past(count), f"{count} bytes to arrive", 2 * PATIENCE)


def test_a_transfer_arrives_whole_through_a_cut_a_restart_and_a_nat_that_forgets(
    lab: Callable[..., Lab],
) -> None:
    """The sender sends until everything has happened, and 200 MB at the least."""
    made = lab(TOPOLOGY)
    transfer = Transfer(made, "alice", "bob", BOB)
    ways = Ways(made, transfer)
    ways.await_bytes(SHARE)
    ways.await_only("direct", "at first")
    with ways.flows.cut_off(("home", "flat")):
        ways.await_only("relayed", "the direct path being cut")
    ways.await_only("direct", "the path being healed")
    ways.await_bytes(2 * SHARE)
    killed = made.daemon_pid("hub")
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: has_another_daemon(made, "hub", killed), "another daemon of the server")
    ways.await_only("direct", "the server being restarted")
    ways.await_bytes(3 * SHARE)
    flush_nat(made, "home", new_ports=True)
    ways.await_only("direct", "the NAT having forgotten, after some time by the relay")
    new = {name: count for name, count in ways.flows.counted().items() if name.startswith("new_port")}
    assert new["new_port_to_flat"] >= SHOWN, new
    ways.await_bytes(SIZE)
    sent, received = transfer.finish()
    assert received == sent
    assert transfer.received == transfer.sent >= SIZE


def has_another_daemon(lab: Lab, node: str, old: int) -> bool:
    """Whether a daemon runs there that is not the `old` one."""
    running = [int(pid) for pid in pids_in(lab.scope(node)) if is_kept(int(pid))]
    return bool(running) and old not in running
