"""The status of a service over HTTP, for probes, for Prometheus, and as a live page for a person.

`task` is the server, `asking` asks the service in threads, `handlers` answers the plain endpoints,
`metrics` speaks to Prometheus, `page` says what the page shows, `feed` keeps it up to date while
somebody watches, `control` acts for who may, and `access` decides who that is. The page itself is
in ``static/``.
"""

from sparts.tasks.tornado.status.task import StatusHTTPTask

__all__ = ["StatusHTTPTask"]
