"""What runs a service: one instance's life, its tasks, its signals, what comes of failures."""
