"""Taking over what somebody else made: it gets our mark as it is, and from then on is ours like the rest.

What of it is not as wanted is then found, and changed, as any difference is; it goes with the topology.

    namespace   with all that is in it: what stands in our places there is taken over too, the rest stays
    bridge      with its ports; it gets the Ethernet address of a bridge of ours, which the hosts know
    TUN device  to which nobody else is attached
    address     stays, with its life time
    route       stays until it is changed into the one that is wanted; one without a device goes at once
    sysctl      has no owner, and is simply set; and a table `ltk` in a namespace of ours is ours by its name

The end of a cable cannot be: whose its other end is, nobody can tell. Nor can a device of another kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ltk.errors import InTheWayError
from ltk.kernel import messages
from ltk.kernel.messages import Request
from ltk.kernel.netlink import Netlink
from ltk.reconcile.observe import LOOPBACK, Observation, mark_of
from ltk.reconcile.plan import Operation, Update, in_the_way
from ltk.reconcile.resources import (
    HERE,
    Address,
    Bridge,
    Namespace,
    Network,
    Resource,
    Route,
    State,
    Tun,
)

REASON = "made by somebody else, taken over"


def adoptions(want: State, look: Observation) -> list[Operation]:
    """What is to be taken over so that nothing is in the way any more, namespaces first. Changes nothing.

    Raises InTheWayError with all that cannot be, where anything cannot be.
    """
    taken = in_the_way(want, look.have, look.foreign)
    stuck = [place for place in sorted(taken) if place not in look.adoptable]
    if stuck:
        words = "; ".join(look.foreign[place] for place in stuck)
        hint = (
            "Remove or rename it: of a device, --adopt takes over a bridge or a TUN device, and only as such."
        )
        raise InTheWayError("taking over what is in the way", words, hint=hint)
    found: list[Operation] = [
        Update(look.adoptable[place], want[key], REASON) for place, key in taken.items()
    ]
    return sorted(found, key=lambda each: (each.resource.rank, each.resource.key))


def adopt(topology: str, operations: Sequence[Operation]) -> None:
    """Give what these are about our mark. Raises LtkError where the kernel refuses."""
    for operation in operations:
        assert isinstance(operation, Update)
        scope = operation.have.scope
        with Netlink.open(scope) as netlink:
            indices = {link.name: link.index for link in netlink.links()}
            match operation.have:
                case Route(scope=scope, destination=destination) if scope == HERE:
                    told = _in_place_of(netlink, destination)
                    netlink.run([messages.delete_as_told(body) for body in told])
                case have:
                    netlink.run(_requests(topology, have, indices))


def returns(topology: str, operations: Sequence[Operation]) -> tuple[Request, ...]:
    """What makes things of this machine be as they were before these took them over; a lab's stay ltk's."""
    own = [each.have for each in operations if isinstance(each, Update) and each.have.scope == HERE]
    if not own:
        return ()
    found: list[Request] = []
    with Netlink.open() as netlink:
        links = {link.name: link for link in netlink.links()}
        protocols = {(each.index, each.interface): each.protocol for each in netlink.addresses()}
        for have in own:
            match have:
                case Route(destination=destination):
                    found += map(messages.add_as_told, _in_place_of(netlink, destination))
                case Address(_, device, interface):
                    index = links[device].index
                    protocol = protocols[index, interface]
                    found.append(messages.give_back_address(index, device, interface, protocol))
                case Tun(device=device):
                    found.append(messages.set_link(device, group=links[device].group))
                    found.append(messages.delete_altname(device, mark_of(topology, device)))
    return tuple(found)


def _in_place_of(netlink: Netlink, destination: Network) -> list[bytes]:
    """What tells of the machine's own routes to where one of ours is to lead, whatever their metrics are."""
    return [body for route, body in netlink.routes_as_told() if route.destination == destination]


def _requests(topology: str, have: Resource, indices: Mapping[str, int]) -> list[Request]:
    match have:
        case Namespace():
            return _marked(LOOPBACK, mark_of(topology))
        case Bridge(device=device):
            # as if made by us: hosts that have talked to ours would send to its address for half a minute
            pinned = messages.set_link(device, hardware=have.hardware)
            return [*_marked(device, mark_of(topology, device)), pinned]
        case Tun(device=device):
            return _marked(device, mark_of(topology, device))
        case Address(_, device, interface):
            return [messages.take_over_address(indices[device], device, interface)]
        case Route(_, destination, ""):  # it only refuses, or leads several ways: none of which is ours
            return [messages.delete_any_route(destination)]
        case Route(_, destination, device, gateway):
            return [messages.take_over_route(destination, indices[device], device, gateway)]
    raise AssertionError(f"{have} was said to be adoptable")


def _marked(device: str, mark: str) -> list[Request]:
    return [messages.add_altname(device, mark), messages.set_link(device, group=messages.GROUP)]
