"""The server behind proxies."""
