"""Rolling restarts under a load that counts."""
