"""gRPC: servers and clients."""
