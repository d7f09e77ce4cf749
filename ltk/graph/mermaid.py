"""A picture as a flowchart of Mermaid (mermaid.js.org, "Flowcharts"). Pure."""

from __future__ import annotations

from ltk.graph.picture import Box, Picture, Shape, Tunnel, Way

_OPENING = {Shape.INTERNET: ('(["', '"])'), Shape.SITE: ('["', '"]'), Shape.NAT: ('{{"', '"}}')}
_ARROWS = {Way.DIRECT: "<==>", Way.RELAY: "<-.->", Way.NONE: "x-.-x", Way.PLANNED: "-.-"}
# An entity is written with # for &; in quotes nothing else has a meaning, but for the end of the quotes.
_ENTITIES = str.maketrans({'"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;"})


def mermaid(picture: Picture) -> str:
    """The text of the flowchart: boxes, thin lines for cables, thick and dotted ones for tunnels."""
    lines = ["flowchart TB", *(f"  {_box(box)}" for box in picture.boxes)]
    lines += [f"  {box.parent} --- {box.id}" for box in picture.boxes if box.parent is not None]
    lines += [f"  {_tunnel(tunnel)}" for tunnel in picture.tunnels]
    return "\n".join(lines) + "\n"


def _box(box: Box) -> str:
    begin, end = _OPENING.get(box.shape, ('("', '")'))
    return box.id + begin + "<br/>".join(map(_escaped, (box.title, *box.lines))) + end


def _tunnel(tunnel: Tunnel) -> str:
    label = f'|"{_escaped(tunnel.label)}"|' if tunnel.label else ""
    return f"{tunnel.a} {_ARROWS[tunnel.way]}{label} {tunnel.b}"


def _escaped(text: str) -> str:
    return " ".join(text.split()).translate(_ENTITIES)
