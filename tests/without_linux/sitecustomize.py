"""Makes Python as it is on macOS: with this folder on PYTHONPATH, before anything is imported.

What Linux alone has goes from the modules of the interpreter, and with the variable also from those
of every process that a test starts. There is no kqueue either, so that threads wait for children.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import builtins
import ctypes
import errno
import fcntl
import os
import posix
import select
import sys
import termios
from collections.abc import Callable
from functools import partial
from typing import Any

SO_ATTACH_FILTER = 26

_GONE = {
    (os, posix): (
        "eventfd eventfd_read eventfd_write EFD_CLOEXEC EFD_NONBLOCK EFD_SEMAPHORE pidfd_open "
        "pipe2 timerfd_create timerfd_settime timerfd_settime_ns timerfd_gettime "
        "timerfd_gettime_ns P_PIDFD memfd_create splice copy_file_range getrandom getresuid "
        "getresgid setresuid setresgid sched_getaffinity sched_setaffinity posix_fadvise "
        "posix_fallocate fdatasync getxattr setxattr listxattr removexattr O_TMPFILE O_PATH "
        "O_DIRECT unshare setns"
    ),
    (select,): (
        "epoll EPOLLIN EPOLLOUT EPOLLPRI EPOLLERR EPOLLHUP EPOLLRDHUP EPOLLET EPOLLONESHOT "
        "EPOLLEXCLUSIVE EPOLL_CLOEXEC EPOLLMSG EPOLLRDBAND EPOLLRDNORM EPOLLWRBAND EPOLLWRNORM "
        "POLLRDHUP"
    ),
    (_socket,): (
        "SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED SO_DOMAIN SO_PROTOCOL SO_BINDTODEVICE SO_MARK "
        "SO_INCOMING_CPU SO_PASSSEC SO_PEERSEC SO_PRIORITY TCP_INFO TCP_DEFER_ACCEPT TCP_QUICKACK "
        "TCP_USER_TIMEOUT TCP_CORK TCP_LINGER2 TCP_SYNCNT TCP_WINDOW_CLAMP TCP_CONGESTION "
        "MSG_NOSIGNAL MSG_MORE MSG_CMSG_CLOEXEC MSG_CONFIRM MSG_ERRQUEUE AF_NETLINK AF_PACKET "
        "AF_VSOCK AF_ALG"
    ),
    (_signal,): (
        "pidfd_send_signal sigtimedwait sigwaitinfo SIGPOLL SIGPWR SIGSTKFLT SIGCLD SIGRTMIN "
        "SIGRTMAX"
    ),
    (fcntl,): (
        "F_OFD_GETLK F_OFD_SETLK F_OFD_SETLKW F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS F_GET_SEALS "
        "F_NOTIFY"
    ),
}
pidfd_open = os.pidfd_open  # for tests, which wait for processes of others
for _modules, _names in _GONE.items():
    for _module in _modules:
        for _name in _names.split():
            vars(_module).pop(_name, None)

import socket  # noqa: E402 - it takes over what is left


def _is_test() -> bool:
    """Whether a test looks at something itself, perhaps by pathlib."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_code.co_filename.endswith("pathlib.py"):
        frame = frame.f_back
    return "/tests/" in frame.f_code.co_filename


def _without_proc(function: Any) -> Any:
    def refuse(path: Any = ".", *args: Any, **kwargs: Any) -> Any:
        is_path = isinstance(path, str | os.PathLike)
        if is_path and os.fspath(path).startswith("/proc") and not _is_test():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return function(path, *args, **kwargs)

    return refuse


def _refuse(function: Any, is_refused: Callable[..., bool], number: int) -> Any:
    def refuse(*args: Any) -> Any:
        if is_refused(*args):
            raise OSError(number, os.strerror(number))
        return function(*args)

    return refuse


def _is_abstract(_: object, address: Any) -> bool:
    return address in ("", b"") or address[:1] in ("\0", b"\0")


def _is_unknown_option(_: object, level: int, name: int, *__: object) -> bool:
    return level == socket.SOL_SOCKET and name in (SO_ATTACH_FILTER, socket.SO_ACCEPTCONN)


def _without_functions(library: ctypes.CDLL, name: str) -> Any:
    if name.startswith(("inotify_", "timer_", "timerfd_", "eventfd", "prctl", "signalfd")):
        raise AttributeError(f"{name}: symbol not found")
    return _find_function(library, name)


for _name in ("open", "listdir", "scandir", "stat", "lstat", "readlink", "access"):
    setattr(os, _name, _without_proc(getattr(os, _name)))
setattr(builtins, "open", _without_proc(open))  # noqa: B010
for _name, _refused, _number in (
    ("bind", _is_abstract, errno.EINVAL),
    ("connect", _is_abstract, errno.EINVAL),
    ("connect_ex", _is_abstract, errno.EINVAL),
    ("getsockopt", _is_unknown_option, errno.ENOPROTOOPT),
    ("setsockopt", _is_unknown_option, errno.ENOPROTOOPT),
):
    setattr(socket.socket, _name, _refuse(getattr(socket.socket, _name), _refused, _number))
for _name, _what, _number in (
    ("fcntl", fcntl.F_GETLK, errno.EINVAL),
    ("ioctl", termios.TIOCOUTQ, errno.ENOTTY),
):
    _asks = partial(lambda what, _, asked, *__: asked == what, _what)
    setattr(fcntl, _name, _refuse(getattr(fcntl, _name), _asks, _number))
_find_function = ctypes.CDLL.__getattr__
setattr(ctypes.CDLL, "__getattr__", _without_functions)  # noqa: B010
