"""RPC over thrift: the types of `sparts.rpc` as thrift has them, the IDL, and the client."""
