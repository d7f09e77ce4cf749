"""A picture in the DOT language of Graphviz (graphviz.org, "DOT Language"). Pure."""

from __future__ import annotations

from ltk.graph.picture import Picture, Shape, Way

_SHAPES = {Shape.INTERNET: "ellipse", Shape.NAT: "hexagon"}
_STYLES = {
    Way.DIRECT: 'color="#1a7f37", penwidth=2',
    Way.RELAY: 'color="#bc4c00", style=dashed, penwidth=2',
    Way.NONE: 'color="#cf222e", style=dotted',
    Way.PLANNED: 'color="#6e7781", style=dotted',
}


def dot(picture: Picture) -> str:
    """The text of the graph. Cables give the layers; tunnels do not move anything."""
    lines = [f"graph {_quoted(picture.title)} {{", "  node [shape=box, style=rounded];"]
    for box in picture.boxes:
        label = _quoted("\n".join((box.title, *box.lines)))
        lines.append(f"  {box.id} [label={label}, shape={_SHAPES.get(box.shape, 'box')}];")
    lines += [f"  {box.parent} -- {box.id};" for box in picture.boxes if box.parent is not None]
    for each in picture.tunnels:
        label = _quoted(each.label)
        lines.append(f"  {each.a} -- {each.b} [label={label}, {_STYLES[each.way]}, constraint=false];")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    r"""A quoted string: only a quote ends it, and a backslash begins an escape of the label's, as \n."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
