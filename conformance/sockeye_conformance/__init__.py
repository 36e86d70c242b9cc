"""Other people's programs and Sockeye, each held to the other."""
