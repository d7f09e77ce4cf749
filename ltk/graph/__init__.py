"""Pictures of a topology: what stands where, and which tunnels lead over which paths."""
