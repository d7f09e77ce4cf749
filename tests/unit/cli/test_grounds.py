"""Where the verbs of an ordinary user stand."""

from __future__ import annotations

import pytest

from ltk.cli.main import VERBS
from ltk.cli.rootless import GROUNDS, Ground, ground_of
from ltk.errors import MissingError


@pytest.mark.parametrize(
    ("verb", "given", "ground"),
    [
        ("apply", {"topology": "q.yaml"}, Ground.PLACE),
        ("apply", {"topology": "q.yaml", "hosts": True}, Ground.MACHINE),
        ("status", {"topology": "q"}, Ground.PLACE),
        ("exec", {"topology": "q", "node": "alice"}, Ground.PLACE),
        ("validate", {"file": "q.yaml"}, Ground.MACHINE),
        ("graph", {"topology": "q"}, Ground.PLACE_IF_ANY),
        ("metrics", {"topology": "q", "listen": None}, Ground.FILES_IF_ANY),
    ],
)
def test_a_verb_stands_where_its_work_is(verb: str, given: dict[str, object], ground: Ground) -> None:
    assert ground_of(verb, given) is ground


def test_a_real_host_is_for_root() -> None:
    with pytest.raises(MissingError, match="root alone"):
        ground_of("apply", {"topology": "q.yaml", "node": "alice"})


def test_every_verb_that_is_named_exists() -> None:
    assert set(GROUNDS) - {"join", "serve"} <= set(VERBS)
