"""The tunnel's shell: devices, sockets, one loop; no decision about the protocol."""
