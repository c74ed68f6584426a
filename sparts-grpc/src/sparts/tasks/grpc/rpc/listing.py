"""The methods that a server of gRPC has, as its reflection says; for ``sparts rpc list``."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from sparts.rpc.errors import UnavailableError

import grpc


def listed(target: str) -> list[str]:
    """Return the methods of the server at a gRPC target, a line each.

    Raises:
        UnavailableError: the server does not answer, or has no reflection.
    """
    with grpc.insecure_channel(target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        try:
            services = [each for each in database.get_services() if not each.startswith("grpc.")]
            found = [pool.FindServiceByName(name) for name in services]
        except grpc.RpcError as error:
            known: Any = error
            why = known.details()
            if known.code() is grpc.StatusCode.UNIMPLEMENTED:
                why = "it needs --rpc-grpc-reflection"
            raise UnavailableError(f"{target} does not say what methods it has: {why}") from None
    return [f"{each.full_name}.{method.name}" for each in found for method in each.methods]
