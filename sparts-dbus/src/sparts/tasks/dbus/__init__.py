"""Tasks that offer and call objects on D-Bus. None yet."""
