"""A picture as SVG 1.1, whole in itself: no font, style sheet, script or program of others. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from ltk.graph.layout import CHARACTER, LINE, MARGIN, PADDING, ROW_GAP, Arc, Layout, Place, layout
from ltk.graph.picture import Picture, Shape, Way

FONT = "font-family='Helvetica, Arial, sans-serif' font-size='12'"
INK, PALE, PAPER = "#24292f", "#57606a", "#ffffff"
_FILLS = {
    Shape.INTERNET: ("#ddf4ff", "#0969da"),
    Shape.SITE: ("#f6f8fa", "#8c959f"),
    Shape.NAT: ("#fff8c5", "#bf8700"),
    Shape.HOST: (PAPER, INK),
    Shape.SERVER: ("#dafbe1", "#1a7f37"),
    Shape.STOPPED: ("#ffebe9", "#cf222e"),
}
_STROKES = {
    Way.DIRECT: ("#1a7f37", "stroke-width='2'"),
    Way.RELAY: ("#bc4c00", "stroke-width='2' stroke-dasharray='7 4'"),
    Way.NONE: ("#cf222e", "stroke-width='1.5' stroke-dasharray='2 4'"),
    Way.PLANNED: (PALE, "stroke-width='1.5' stroke-dasharray='2 4'"),
}
MANY = 60  # arcs; from there on their labels are shown only where the pointer is
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2


def svg(picture: Picture) -> str:
    """The text of the file."""
    plan = layout(picture)
    legend = _legend(picture, plan.height)
    width, height = max(plan.width, 360), plan.height + (LINE + MARGIN if legend else 0)
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' "
        f"viewBox='0 0 {width:.0f} {height:.0f}' {FONT}>",
        f"<title>{_text(picture.title)}</title>",
        f"<rect width='100%' height='100%' fill='{PAPER}'/>",
        *_cables(plan),
        *map(_arc, plan.arcs),
        *(line for arc in plan.arcs for line in _label(arc) if len(plan.arcs) < MANY),
        *(line for place in plan.places.values() for line in _box(place)),
        *legend,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _cables(plan: Layout) -> Iterator[str]:
    for place in plan.places.values():
        if place.box.parent is not None:
            above = plan.places[place.box.parent]
            middle = (
                above.bottom + ROW_GAP / 2
            )  # sideways above all that hangs there, so that nothing is crossed
            yield (
                f"<path d='M {above.x:.1f} {above.bottom:.1f} V {middle:.1f} H {place.x:.1f} V {place.y:.1f}'"
                f" fill='none' stroke='#8c959f'/>"
            )


def _box(place: Place) -> Iterator[str]:
    fill, stroke = _FILLS[place.box.shape]
    radius = place.height / 2 if place.box.shape is Shape.INTERNET else 6
    yield (
        f"<rect x='{place.x - place.width / 2:.1f}' y='{place.y:.1f}' width='{place.width:.1f}' "
        f"height='{place.height:.1f}' rx='{radius:.1f}' fill='{fill}' stroke='{stroke}'/>"
    )
    y = place.y + PADDING + LINE - 6
    yield _words(place.x, y, place.box.title, f"fill='{INK}' font-weight='bold'")
    for number, text in enumerate(place.box.lines, start=1):
        yield _words(place.x, y + number * LINE, text, f"fill='{PALE}' font-size='11'")


def _arc(arc: Arc) -> str:
    colour, style = _STROKES[arc.tunnel.way]
    # the middle of this curve lies three quarters of the way to its control points
    low = arc.y + arc.depth * 4 / 3
    title = f"<title>{_text(arc.tunnel.label)}</title>" if arc.tunnel.label else ""
    return (
        f"<path d='M {arc.left:.1f} {arc.y:.1f} C {arc.left:.1f} {low:.1f} {arc.right:.1f} {low:.1f} "
        f"{arc.right:.1f} {arc.y:.1f}' fill='none' stroke='{colour}' {style}>{title}</path>"
    )


def _label(arc: Arc) -> Iterator[str]:
    """What is written at an arc, on paper of its own: others may pass there."""
    text, middle, y = arc.tunnel.label, (arc.left + arc.right) / 2, arc.y + arc.depth
    if text:
        width = CHARACTER * len(text)
        where = f"x='{middle - width / 2:.1f}' y='{y - 8:.1f}' width='{width:.1f}' height='{LINE}'"
        yield f"<rect {where} fill='{PAPER}'/>"
        yield _words(middle, y + 4, text, f"fill='{_STROKES[arc.tunnel.way][0]}' font-size='11'")


def _legend(picture: Picture, y: float) -> list[str]:
    """One sample of each kind of tunnel that there is."""
    found = []
    ways = [way for way in Way if any(tunnel.way is way for tunnel in picture.tunnels)]
    for number, way in enumerate(ways):
        x, (colour, style) = MARGIN + number * 110, _STROKES[way]
        found.append(f"<path d='M {x} {y:.1f} h 28' stroke='{colour}' {style}/>")
        found.append(_words(x + 34, y + 4, way.value, f"fill='{PALE}' font-size='11'", anchor="start"))
    return found


def _words(x: float, y: float, text: str, style: str, anchor: str = "middle") -> str:
    where = f"x='{x:.1f}' y='{y:.1f}' text-anchor={quoteattr(anchor)}"
    return f"<text {where} {style}>{_text(text)}</text>"


def _text(text: str) -> str:
    return escape(_ILLEGAL.sub("�", text))
