"""The tunnel, pure: no socket, no clock, no randomness of its own, no logging."""
