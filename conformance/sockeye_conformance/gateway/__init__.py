"""The gateway where much happens at once."""
