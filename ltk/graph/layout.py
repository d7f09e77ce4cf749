"""Where things stand: the internet on top, routers below it, all hosts in one row, tunnels as arcs under it.

Pure and deterministic: the order is that of the file. All lengths are in pixels, of an SVG's user space.
"""

from __future__ import annotations

from dataclasses import dataclass

from ltk.graph.picture import Box, Picture, Tunnel

CHARACTER = 6.6  # of the font's width at LINE; generous, since nobody knows the font
LINE = 16  # from one line of text to the next
PADDING = 12
MIN_WIDTH = 96  # of a box
COLUMN_GAP = 22  # between neighbours
ROW_GAP = 44  # between layers
MARGIN = 24
ARC_DEPTH = 34  # of the flattest arc
ARC_SLOPE = 0.22  # more depth for each pixel between its ends, so that labels of nested arcs stand apart


@dataclass(frozen=True, slots=True)
class Place:
    """A box and where it stands: the middle of its upper edge, and its size."""

    box: Box
    x: float
    y: float
    width: float
    height: float

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass(frozen=True, slots=True)
class Arc:
    """A tunnel from left to right, hanging from `y` down to `y + depth`."""

    tunnel: Tunnel
    left: float
    right: float
    y: float
    depth: float


@dataclass(frozen=True, slots=True)
class Layout:
    """All of it, and the size of the canvas (without what is below the arcs)."""

    places: dict[str, Place]
    arcs: tuple[Arc, ...]
    width: float
    height: float


def layout(picture: Picture) -> Layout:
    """Find a place for every box and every tunnel."""
    tree = _Tree(picture)
    places = tree.places()
    arcs = _arcs(picture, places)
    width = max(place.x + place.width / 2 for place in places.values()) + MARGIN
    bottom = max(place.bottom for place in places.values())
    return Layout(places, arcs, width, max([bottom, *(arc.y + arc.depth for arc in arcs)]) + MARGIN)


class _Tree:
    """Columns from the leaves up, rows from the root down."""

    def __init__(self, picture: Picture) -> None:
        self._boxes = {box.id: box for box in picture.boxes}
        self._children: dict[str, list[str]] = {box.id: [] for box in picture.boxes}
        self._depth: dict[str, int] = {}
        for box in picture.boxes:
            if box.parent is not None:
                self._children[box.parent].append(box.id)
            self._depth[box.id] = 0 if box.parent is None else self._depth[box.parent] + 1
        last = max((self._depth[box.id] for box in picture.boxes if not box.is_host), default=0) + 1
        self._depth |= {box.id: last for box in picture.boxes if box.is_host}
        self._width = {box.id: _width(box) for box in picture.boxes}
        self._column: dict[str, float] = {}

    def places(self) -> dict[str, Place]:
        """The place of each box."""
        rows = self._rows()
        root = next(iter(self._boxes))
        self._settle(root, MARGIN)
        return {
            name: Place(box, self._column[name], rows[self._depth[name]], self._width[name], _height(box))
            for name, box in self._boxes.items()
        }

    def _rows(self) -> list[float]:
        heights = [0.0] * (max(self._depth.values()) + 1)
        for name, box in self._boxes.items():
            heights[self._depth[name]] = max(heights[self._depth[name]], _height(box))
        rows, y = [], float(MARGIN)
        for height in heights:
            rows.append(y)
            y += height + ROW_GAP
        return rows

    def _settle(self, name: str, left: float) -> float:
        """Put a box and all below it to the right of `left`; return how wide they are together."""
        children, width = self._children[name], self._width[name]
        below = 0.0
        for child in children:
            below += self._settle(child, left + below) + COLUMN_GAP
        below = max(0.0, below - COLUMN_GAP)
        if width > below and children:
            for child in children:
                self._shift(child, (width - below) / 2)
        columns = [self._column[child] for child in children]
        middle = (columns[0] + columns[-1]) / 2 if columns else left + width / 2
        total = max(width, below)
        self._column[name] = min(max(middle, left + width / 2), left + total - width / 2)
        return total

    def _shift(self, name: str, by: float) -> None:
        self._column[name] += by
        for child in self._children[name]:
            self._shift(child, by)


def _arcs(picture: Picture, places: dict[str, Place]) -> tuple[Arc, ...]:
    at: dict[tuple[str, Tunnel], float] = {}
    for name, place in places.items():
        ends = [(tunnel, _other(tunnel, name)) for tunnel in picture.tunnels if name in (tunnel.a, tunnel.b)]
        # from left to right, so that arcs at one box do not cross each other there
        ends.sort(key=lambda end: _turn(places[end[1]].x - place.x))
        for number, (tunnel, _) in enumerate(ends):
            at[name, tunnel] = place.x + place.width * 0.8 * ((number + 1) / (len(ends) + 1) - 0.5)
    found = []
    for tunnel in picture.tunnels:
        left, right = sorted((at[tunnel.a, tunnel], at[tunnel.b, tunnel]))
        y = max(places[tunnel.a].bottom, places[tunnel.b].bottom)
        between = abs(places[tunnel.a].x - places[tunnel.b].x)
        found.append(Arc(tunnel, left, right, y, ARC_DEPTH + ARC_SLOPE * between))
    return tuple(found)


def _other(tunnel: Tunnel, name: str) -> str:
    return tunnel.b if name == tunnel.a else tunnel.a


def _turn(distance: float) -> tuple[bool, float]:
    """To the left the nearest first, then to the right the farthest first."""
    return distance > 0, -distance


def _width(box: Box) -> float:
    longest = max(len(text) for text in (box.title, *box.lines))
    return max(MIN_WIDTH, 2 * PADDING + CHARACTER * longest)


def _height(box: Box) -> float:
    return 2 * PADDING + LINE * (1 + len(box.lines)) - 4
