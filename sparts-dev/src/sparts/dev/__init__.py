"""What one needs while developing services and plugins, and no production machine needs.

`reload` starts a service again when its source files change. `new` writes projects, by `scaffold`.
`graph` shows which task needs which, and `compat` what a service for sparts 0.7 finds.
"""
