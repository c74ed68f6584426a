"""Network servers: where a server task listens, its sockets and its TLS."""
