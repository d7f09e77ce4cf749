"""Packets of a lab as they pass its devices: what they are, in words, and kept in a file."""
