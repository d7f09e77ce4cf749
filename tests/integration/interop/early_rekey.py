"""The daemon with sessions that its node renews earlier: early_rekey.py SECONDS CONFIG.

An initiator may ask for a new session whenever it likes, 5 s after it last asked; how old its session
grows is its own affair. So many rekeys pass in the time of a test, and the peer needs to know nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ltk.node import daemon
from ltk.protocol import session

if __name__ == "__main__":
    assert hasattr(session, "REKEY_AFTER_TIME"), "the age at which sessions are renewed has another name"
    session.REKEY_AFTER_TIME = float(sys.argv[1])
    daemon.run(Path(sys.argv[2]))
