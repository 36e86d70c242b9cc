"""Our client against other people's servers."""
