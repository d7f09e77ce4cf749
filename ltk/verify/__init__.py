"""Finds out whether what a topology's `checks` say does hold, by sending, and by looking at the network."""
