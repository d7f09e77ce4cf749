"""Labs of ordinary users: namespaces of their own in which they are root, kept by a process of their own."""
