"""Names of endpoints -> addresses, without the loop ever waiting for a name server.

getaddrinfo(3) blocks, for many seconds when nobody answers; each attempt runs in a thread of its own that
ends with it and touches nothing but the result that it hands over. A name is resolved once when it is
first wanted; what fails is tried again with back-off for as long as it is wanted.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from ltk.node.poller import IN, Backoff, Deadline, Poller

FIRST_RETRY = 1.0  # seconds
RETRY_LIMIT = 60.0  # seconds

Lookup = Callable[[str], str | None]


def numeric(host: str) -> str | None:
    """`host` in its canonical form where it is an address already (IPv6 possibly with a zone), else None."""
    address, percent, zone = host.partition("%")
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, address)) + percent + zone
        except OSError:
            continue
    return None


def look_up(host: str) -> str | None:
    """The first address that the system has for the name `host`; None when it has none. Blocks."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM, flags=socket.AI_ADDRCONFIG)
    except (OSError, UnicodeError):  # UnicodeError: no name that DNS could carry
        return None
    return str(found[0][4][0])


class Resolver:
    """Keeps the addresses of the names that are wanted.

    `changed(host, address)` is called from the poller after each attempt; address None: it failed.
    """

    def __init__(
        self, poller: Poller, changed: Callable[[str, str | None], None], lookup: Lookup = look_up
    ) -> None:
        self._poller = poller
        self._changed = changed
        self._lookup = lookup
        self._addresses: dict[str, str] = {}
        self._wanted: dict[str, Backoff] = {}
        self._asking: set[str] = set()
        self._retries: dict[str, Deadline] = {}
        self._results: deque[tuple[str, str | None]] = deque()  # filled by threads, append is atomic
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        poller.watch(self._ours.fileno(), IN, self._take_results)

    def address(self, host: str) -> str | None:
        """The address of `host`, a name or an address; None while it is not known."""
        return numeric(host) or self._addresses.get(host)

    def want(self, hosts: Iterable[str]) -> None:
        """Resolve these from now on and forget all others; numeric ones need nothing."""
        wanted = {host for host in hosts if numeric(host) is None}
        for host in self._wanted.keys() - wanted:
            del self._wanted[host]
            self._addresses.pop(host, None)
            if retry := self._retries.pop(host, None):
                retry.cancel()
        for host in sorted(wanted - self._wanted.keys()):
            self._wanted[host] = Backoff(FIRST_RETRY, RETRY_LIMIT)
            self._ask(host)

    def close(self) -> None:
        """Stop; an attempt still under way ends by itself and is not heard."""
        self.want(())
        self._poller.forget(self._ours.fileno())
        self._ours.close()
        if not self._asking:  # else the last attempt finds out that nobody listens
            self._theirs.close()

    def _ask(self, host: str) -> None:
        self._retries.pop(host, None)
        if host not in self._asking:
            self._asking.add(host)
            threading.Thread(target=self._attempt, args=(host,), name="resolver", daemon=True).start()

    def _attempt(self, host: str) -> None:
        self._results.append((host, self._lookup(host)))
        try:
            self._theirs.send(b"\0")
        except OSError:
            return  # the node has stopped meanwhile

    def _take_results(self, _mask: int) -> None:
        self._ours.recv(4096)
        while self._results:
            host, address = self._results.popleft()
            self._asking.discard(host)
            if (backoff := self._wanted.get(host)) is None:
                continue
            if address is None:
                self._retries[host] = self._poller.later(backoff.next(), partial(self._ask, host))
            else:
                self._addresses[host] = address
            self._changed(host, address)
