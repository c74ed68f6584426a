"""``sparts ps``, ``status``, ``top`` and so on: look at running services from a terminal, and act.

`registry` knows which services run on this machine, `client` asks one of them over its control
socket or a URL, `commands` are the subcommands, `render` writes tables, and `top` is the live view.
"""
