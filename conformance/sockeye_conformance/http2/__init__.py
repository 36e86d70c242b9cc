"""HTTP/2 and what is on it, over raw sockets."""
