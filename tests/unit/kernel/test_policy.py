"""Policy rules say on the wire what they were asked to say, and are read back as they were."""

from __future__ import annotations

import pytest
from pyroute2.netlink.rtnl.fibmsg import fibmsg

from ltk.kernel import policy
from ltk.kernel.messages import NLM_F_CREATE, NLM_F_EXCL, PROTOCOL
from ltk.kernel.policy import FIRST_PRIORITY, OWN_MARKS, OWN_NUMBERS, PolicyRule, around, underlay_mark


@pytest.mark.parametrize("version", [4, 6])
def test_two_rules_lead_all_but_the_tunnels_own_packets(version: int) -> None:
    special, rest = around("home", version)
    own = underlay_mark("home")
    assert special == PolicyRule(version, special.priority, 254, unmarked=None, suppress=0)
    assert rest == PolicyRule(version, special.priority + 1, own, unmarked=own, suppress=None)


def test_a_rule_bears_the_mark_and_is_somebody_elses_if_it_exists() -> None:
    rule = around("home", 4)[1]
    request = policy.add(rule)
    assert request.flags == NLM_F_CREATE | NLM_F_EXCL
    message = fibmsg(request.encode(7, 0x5))
    message.decode()
    assert message["family"] == 2
    assert message["flags"] == 0x2, "inverted: what does not bear the mark"
    assert message.get_attr("FRA_PRIORITY") == rule.priority
    assert message.get_attr("FRA_TABLE") == underlay_mark("home")
    assert (message.get_attr("FRA_FWMARK"), message.get_attr("FRA_FWMASK")) == (rule.unmarked, 0xFFFFFFFF)
    assert message.get_attr("FRA_PROTOCOL") == PROTOCOL


def test_topologies_have_marks_and_priorities_of_their_own() -> None:
    names = [f"topology-{number}" for number in range(40)]
    marks = {underlay_mark(name) for name in names}
    assert len(marks) >= len(names) - 2
    assert all(mark & ~OWN_NUMBERS == OWN_MARKS for mark in marks)
    priorities = [each for name in names for each in policy.priorities(name)]
    assert all(FIRST_PRIORITY <= each < 32766 for each in priorities), "before the kernel's own rules"
