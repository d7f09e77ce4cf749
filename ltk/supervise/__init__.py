"""Starts the node daemons of a lab and keeps them up."""
