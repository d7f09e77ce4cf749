"""The kernel's surface, typed: namespaces, netlink, nftables, sysctls."""
