"""A daemon of ltk's and a wireguard-go, configured by hand for each other.

ltk  10.50.0.1  fd00:50::1  ltk0 | eth0 ---- switch ---- eth0 | wgi…  10.50.0.2  fd00:50::2  wireguard-go
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from harness import wait_for
from keys import make_key, make_psk
from place import Place, tell
from stock import MTU, Stock, wireguard_go
from underlay import Host, Underlay
from wiretap import Kind, Tap, tapped

LTK_PORT = 9000
STOCK_PORT = 51820
LTK_ADDRESSES = ("10.50.0.1", "fd00:50::1")
STOCK_ADDRESSES = ("10.50.0.2", "fd00:50::2")
SUBNETS = ("10.50.0.0/24", "fd00:50::/64")


class Asks(Enum):
    """Who knows where the other is, and so is the client."""

    LTK = "ltk asks"
    STOCK = "wireguard-go asks"


@dataclass(frozen=True, slots=True)
class Pair:
    """Both ends, where each is on the underlay, and what has passed between them so far (`tap`)."""

    ltk: Host
    ltk_at: str
    ltk_key: str
    stock: Stock
    stock_at: str
    stock_key: str
    tap: Tap
    asks: Asks

    @property
    def asking(self) -> Place:
        """Who knows where the other is, and so sends the first message."""
        return self.ltk if self.asks is Asks.LTK else self.stock.place

    @property
    def target(self) -> str:
        """The other's tunnel address."""
        return STOCK_ADDRESSES[0] if self.asks is Asks.LTK else LTK_ADDRESSES[0]

    @property
    def asking_at(self) -> str:
        """The asking side's underlay address."""
        return self.ltk_at if self.asks is Asks.LTK else self.stock_at

    @property
    def answering_at(self) -> str:
        """The other's underlay address."""
        return self.stock_at if self.asks is Asks.LTK else self.ltk_at

    def open_session(self) -> None:
        """One echo, for which the side that asks gets a session."""
        pings = self.asking.ping(self.target, count=1)
        assert pings.received == 1, pings.output
        expected = [(Kind.INITIATION, self.asking_at), (Kind.RESPONSE, self.answering_at)]
        wait_for(lambda: self.handshakes() == expected, "one handshake on the cable, and no more than one")

    def handshakes(self) -> list[tuple[Kind, str]]:
        """The handshake messages that have passed, each with its sender's address."""
        return [(each.kind, each.source) for each in self.tap() if each.kind is not Kind.DATA]


@contextmanager
def paired(
    net: Underlay,
    folder: Path,
    asks: Asks,
    *,
    version: int = 4,
    psk: bool = True,
    same_psk: bool = True,
    rekey_after: float | None = None,
    name: str = "",
) -> Iterator[Pair]:
    """Bring both up over an underlay of IP `version`; nothing has been said between them yet.

    `rekey_after` has ltk's side renew its sessions at that age in seconds. Several pairs on one
    underlay have different names.
    """
    folder = folder / f"pair{name}"
    folder.mkdir()
    ltk, stock_host = net.host(f"ltk{name}"), net.host(f"stock{name}")
    ltk_key, stock_key = make_key(folder / "ltk.key"), make_key(folder / "stock.key")
    psk_file = make_psk(folder / "ltk.psk") if psk else None
    stock_psk_file = psk_file if same_psk else make_psk(folder / "other.psk")
    config = _config(
        folder,
        public_key=stock_key.public,
        psk_file=psk_file,
        endpoint=stock_host.endpoint(STOCK_PORT, version) if asks is Asks.LTK else None,
    )
    with (
        tapped(
            net.switch, stock_host.name, folder / "tap.pcap", f"udp and host {ltk.addresses[version]}"
        ) as tap,
        _daemon(ltk, config, folder, rekey_after),
        wireguard_go(stock_host, folder) as stock,
    ):
        stock.use_key(stock_key.path, STOCK_PORT)
        stock.add_peer(
            ltk_key.public,
            SUBNETS,
            endpoint=ltk.endpoint(LTK_PORT, version) if asks is Asks.STOCK else None,
            psk_file=stock_psk_file,
        )
        stock.bring_up([f"{STOCK_ADDRESSES[0]}/24", f"{STOCK_ADDRESSES[1]}/64"])
        yield Pair(
            ltk=ltk,
            ltk_at=ltk.addresses[version],
            ltk_key=ltk_key.public,
            stock=stock,
            stock_at=stock_host.addresses[version],
            stock_key=stock_key.public,
            tap=tap,
            asks=asks,
        )


@contextmanager
def all_paired(net: Underlay, folder: Path) -> Iterator[list[Pair]]:
    """A pair for each side that may ask, side by side."""
    with ExitStack() as stack:
        yield [stack.enter_context(paired(net, folder, asks, name=asks.name.lower())) for asks in Asks]


def _config(folder: Path, *, public_key: str, psk_file: Path | None, endpoint: str | None) -> dict[str, Any]:
    """What the daemon reads; who has an endpoint to go to is a client."""
    return {
        "version": 1,
        "topology": "interop",
        "node": "ltk",
        "role": "client" if endpoint else "server",
        "device": "ltk0",
        "mtu": MTU,
        "listen": LTK_PORT,
        "isolation": False,
        "private_key_file": str(folder / "ltk.key"),
        "addresses": [f"{LTK_ADDRESSES[0]}/24", f"{LTK_ADDRESSES[1]}/64"],
        "control": str(folder / "ltk.sock"),
        "peers": [
            {
                "name": "stock",
                "role": "server" if endpoint else "wireguard",
                "public_key": public_key,
                "preshared_key_file": psk_file and str(psk_file),
                "endpoint": endpoint,
                "allowed_ips": [f"{STOCK_ADDRESSES[0]}/32", f"{STOCK_ADDRESSES[1]}/128"],
                "keepalive": 0,  # a node without it is as silent as stock WireGuard
            }
        ],
    }


@contextmanager
def _daemon(host: Host, config: dict[str, Any], folder: Path, rekey_after: float | None) -> Iterator[None]:
    file, log = folder / "ltk.json", folder / "ltk.log"
    file.write_text(json.dumps(config))
    host.ip("tuntap add ltk0 mode tun")
    for address in config["addresses"]:
        host.ip(f"address add {address} dev ltk0 nodad")
    host.ip(f"link set ltk0 mtu {config['mtu']} up")
    program = ["-m", "ltk", "node"]
    if rekey_after is not None:
        program = [str(Path(__file__).with_name("early_rekey.py")), str(rekey_after)]
    try:
        with (
            log.open("w") as output,
            host.running(sys.executable, *program, str(file), output=output) as process,
        ):

            def is_ready() -> bool:
                assert process.poll() is None, f"the daemon has ended:\n{log.read_text()}"
                return "is ready" in log.read_text()

            wait_for(is_ready, f"the daemon in {host.namespace} to be ready")
            yield
    finally:
        tell(log)
