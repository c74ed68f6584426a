"""Tasks that serve a thrift interface. None yet."""
