"""Real hosts, all at once: a topology as what an existing tool takes to each of them."""
