"""`python -m ltk.node CONFIG [--needs-device]`: one node's daemon, in a process that has loaded nothing else.

`ltk node` becomes this once it has read its arguments: what reads them is 3.5 MB, which would stay.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ltk.errors import LtkError
from ltk.node import lean

NEEDS_DEVICE = "--needs-device"
INTERRUPTED = 130  # as shells report SIGINT


def main() -> int:
    """Run until it is told to stop; returns the exit status."""
    config, *options = sys.argv[1:]
    lean.without_openssl_hashes()
    lean.without_ifma()
    try:
        from ltk.node import daemon

        daemon.run(Path(config), needs_device=NEEDS_DEVICE in options)
    except LtkError as error:
        sys.stderr.write("\n  ".join(filter(None, (f"error: {error}", error.hint))) + "\n")
        return error.exit_status
    except OSError as error:
        sys.stderr.write(f"error: {error.filename or 'running the node'}: {error.strerror}\n")
        return LtkError.exit_status
    except KeyboardInterrupt:  # before the daemon waits for signals
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
