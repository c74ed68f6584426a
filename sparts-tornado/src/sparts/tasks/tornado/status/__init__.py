"""The status of a service over HTTP, for probes, for Prometheus, and as a live page for a person.

`task` is the server, `asking` asks the service in threads, `handlers` answers the plain endpoints,
`metrics` speaks to Prometheus and `exposition` leaves out what it could not read, `page` says what
the page shows, `feed` keeps it up to date while somebody watches, and `control` acts for clients
that `sparts.tasks.tornado.access` lets in. The page itself is in ``static/``.
"""

from sparts.tasks.tornado.status.task import StatusHTTPTask

__all__ = ["StatusHTTPTask"]
