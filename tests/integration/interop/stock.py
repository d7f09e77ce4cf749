"""wireguard-go in a namespace, configured by `wg` and `ip` as its users do."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import wait_for
from place import Place, tell

MTU = 1380  # bytes; what an ltk network has unless its topology says otherwise
SOCKETS = Path("/var/run/wireguard")  # one per device name, whatever the namespace

_numbers = itertools.count(1)


class Stock:
    """A running wireguard-go. What it says about its peers is what `wg show` prints."""

    def __init__(self, place: Place, device: str) -> None:
        self.place = place
        self.device = device

    def wg(self, *words: str) -> str:
        """Run `wg` on the device: the verb first."""
        return self.place.run("wg", words[0], self.device, *words[1:])

    def use_key(self, private_key: Path, listen: int | None = None) -> None:
        """Take a private key, and a port to listen on."""
        port = () if listen is None else ("listen-port", str(listen))
        self.wg("set", "private-key", str(private_key), *port)

    def add_peer(
        self,
        public_key: str,
        allowed_ips: Sequence[str],
        *,
        endpoint: str | None = None,
        psk_file: Path | None = None,
    ) -> None:
        """Add the peer."""
        words = ["peer", public_key, "allowed-ips", ",".join(allowed_ips)]
        words += [] if endpoint is None else ["endpoint", endpoint]
        words += [] if psk_file is None else ["preshared-key", str(psk_file)]
        self.wg("set", *words)

    def bring_up(self, addresses: Sequence[str], *, mtu: int = MTU) -> None:
        """Give the device its tunnel addresses, with their prefix lengths, and set it up."""
        for address in addresses:
            self.place.ip(f"address add {address} dev {self.device} nodad")
        self.place.ip(f"link set {self.device} mtu {mtu} up")

    def shown(self, what: str) -> list[str]:
        """What `wg show` says about the only peer: "endpoints", "latest-handshakes" or "transfer"."""
        (line,) = self.wg("show", what).splitlines()
        return line.split()[1:]

    @property
    def has_shaken_hands(self) -> bool:
        """Whether a handshake with the only peer has been completed."""
        return self.shown("latest-handshakes") != ["0"]


@contextmanager
def wireguard_go(place: Place, folder: Path) -> Iterator[Stock]:
    """A wireguard-go inside of `place`, without a key yet; its log is in `folder`."""
    device = f"wgi{os.getpid() % 100000}n{next(_numbers)}"  # the machine's other tests have their own
    socket = SOCKETS / f"{device}.sock"
    log = folder / f"{device}.log"
    # The program warns that a kernel may have WireGuard itself; what is wanted here is this one.
    environment = os.environ | {"WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1"}
    try:
        with (
            log.open("w") as output,
            place.running("wireguard-go", "-f", device, output=output, environment=environment) as process,
        ):

            def is_up() -> bool:
                assert process.poll() is None, f"wireguard-go has ended:\n{log.read_text()}"
                return socket.is_socket()

            wait_for(is_up, f"the socket of wireguard-go, {socket}")
            yield Stock(place, device)
    finally:
        socket.unlink(missing_ok=True)
        tell(log)
