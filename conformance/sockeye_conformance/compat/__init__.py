"""Who speaks RFC 8441 today: real programs from the registries, what `sockeye` saw of each, and the page that tells it."""
