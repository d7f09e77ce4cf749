"""Two peers behind two NATs hear each other, without a server in between: what ltk's plugin is for."""

from pathlib import Path

import pytest

from ltk.testing import Lab, Topology

HERE = Path(__file__).parent
PORT = 7000


def homes(nat: str) -> Topology:
    """A meeting point on the internet, and two peers each behind a router of its own."""
    return (
        Topology("echo")
        .node("meet", run=f"python3 {HERE}/meet.py {PORT}")
        .site("cloud", hosts=["meet"])
        .site("home", nat, hosts=["ann"])
        .site("flat", nat, hosts=["ben"])
    )


def talk(lab: Lab) -> list[str]:
    """What each of the two peers has heard."""
    command = f"python3 {HERE}/echo.py {lab['meet'].address} {PORT} kitchen"
    with lab["ann"].popen(f"{command} 'ann is here'") as ann:
        ben = lab["ben"].run(f"{command} 'ben is here'", check=False)
        heard, _ = ann.communicate(timeout=30)
    return [heard.strip(), ben.stdout.strip()]


@pytest.mark.parametrize("nat", ["full-cone", "restricted-cone", "port-restricted", "home"])
def test_two_peers_hear_each_other(nat: str, lab_factory) -> None:
    with lab_factory(homes(nat)) as lab, lab["meet"].capture() as capture:
        assert talk(lab) == ["ben is here", "ann is here"]
    assert not any(b"is here" in packet for packet in capture.packets), "it went by the meeting point"


@pytest.mark.xfail(
    reason="a port for each destination: who was met at one port speaks from another", strict=True
)
def test_two_peers_behind_symmetric_nats_hear_each_other(lab_factory) -> None:
    with lab_factory(homes("symmetric")) as lab:
        assert talk(lab) == ["ben is here", "ann is here"]
