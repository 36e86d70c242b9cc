"""HTTP/1.1 over raw sockets."""
