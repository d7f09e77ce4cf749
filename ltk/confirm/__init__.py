"""The guard of a change: a process of its own that undoes it unless it is confirmed in time."""
