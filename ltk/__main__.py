"""`python -m ltk` is `ltk`."""

from ltk.cli.main import main

main()
