"""What runs have not finished with a topology: killed ones, and changes that await their confirmation."""

from __future__ import annotations

from typing import Any


def unfinished(topology: str) -> dict[str, Any]:
    """The entries of the documented JSON of `status`, each null where there is no such thing."""
    from ltk.reconcile.apply import interrupted
    from ltk.reconcile.unconfirmed import is_guarded, seconds_left, waiting

    left, awaits = interrupted(topology), waiting(topology)
    stopped = {"process": left.process, "operations": len(left.begun), "said": str(left)} if left else None
    return {
        "interrupted": stopped,
        "unconfirmed": None
        if awaits is None
        else {
            "seconds_left": round(seconds_left(awaits), 1),
            "checks_decide": awaits.auto,
            "guarded": is_guarded(topology),
        },
    }


def in_words(entries: dict[str, Any]) -> list[str]:
    """The same for a person, with what to do about it."""
    words = []
    if left := entries["interrupted"]:
        words.append(f"{left['said']}; the next ltk apply goes on from there")
    match entries["unconfirmed"]:
        case {"checks_decide": True, "guarded": True}:
            words.append("its last change is undone unless the checks hold that are being run")
        case {"seconds_left": float() as seconds, "guarded": bool(guarded)}:
            who = "" if guarded else " by the next ltk apply or confirm, since its guard was killed,"
            words.append(f"its last change is undone in {seconds:.0f} s,{who} unless: ltk confirm")
    return words
