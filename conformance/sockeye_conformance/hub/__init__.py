"""Topics that span machines, over NATS and over Redis."""
