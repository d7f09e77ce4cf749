"""`ltk`, and `python -m ltk`: all that there is to import comes in a place where Ctrl-C has its status."""

import sys

INTERRUPTED = 130  # as shells report SIGINT


def main() -> None:
    """Run the command line and exit with a status of the documented table."""
    try:
        from ltk.cli.main import main as command_line
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    command_line()


if __name__ == "__main__":
    main()
