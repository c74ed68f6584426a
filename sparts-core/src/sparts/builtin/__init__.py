"""The core's own hook plugins: what a service does that its kernel need not know.

Each module or package here implements hooks as a plugin of a third party does. They are named in
`sparts.plugins.BUILT_IN`, listed by ``sparts plugins``, and each is blocked by its own name.
"""
