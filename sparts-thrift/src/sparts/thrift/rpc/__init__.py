"""RPC over thrift: the types of `sparts.rpc` as thrift has them, the IDL, and the client."""

PORT = 9091
"""The port of `sparts.tasks.thrift.rpc.RPCThriftTask`, unless another is given."""
