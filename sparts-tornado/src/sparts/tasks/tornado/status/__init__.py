"""The status of a service over HTTP, for probes, for Prometheus, and as a live page for a person.

`task` is the server, `asking` asks the service in threads, and `handlers` answers the plain
endpoints. `metrics` speaks to Prometheus, and `exposition` leaves out what it could not read.
`page` says what the page shows, `detail` what it shows of one task, `peers` what of other
instances, and `feed` keeps it up to date while somebody watches. `figures` says which numbers say
most, `history` keeps an hour of them, `arrivals` how old the items of queues are, and `watch`
what happened to tasks, with their dead letters (`letters`). `control` lets clients act that
`sparts.tasks.tornado.access` lets in, and `actions` does what they ask for: `gates` pause a task,
and `acting` stops and starts one. Of a service that runs as several copies, each answers for all by
`copies`.
The page itself is in ``static/``.
"""

from sparts.tasks.tornado.status.task import StatusHTTPTask

__all__ = ["StatusHTTPTask"]
