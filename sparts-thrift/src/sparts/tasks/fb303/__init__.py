"""The fb303 interface of a service (status, counters, options). Not there yet."""
