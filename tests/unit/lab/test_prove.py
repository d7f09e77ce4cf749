"""What `ltk nat` believes of what it has found."""

from __future__ import annotations

import pytest

from ltk.lab.prove import LOOKS, look_again
from ltk.topology.nats import NatMapping

EIM, ADM = NatMapping.ENDPOINT_INDEPENDENT, NatMapping.ADDRESS_DEPENDENT


@pytest.mark.parametrize(
    ("finds", "believed", "looks"),
    [([ADM], ADM, 1), ([EIM, ADM], ADM, 2), ([EIM, EIM, ADM], ADM, 3), ([EIM] * (LOOKS + 1), EIM, LOOKS)],
    ids=["at once", "once by chance", "twice by chance", "always"],
)
def test_a_router_is_looked_at_again_before_it_is_said_to_do_something_else(
    finds: list[NatMapping], believed: NatMapping, looks: int
) -> None:
    """Two destinations that are given one port of few by chance look like one port for all."""
    left = iter(finds)
    assert look_again(lambda: next(left), ADM) is believed
    assert len(finds) - len([*left]) == looks
