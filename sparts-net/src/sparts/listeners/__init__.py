"""The old import path of `sparts.net.listeners`; it goes with the next release."""

from sparts.net.listeners import Address as Address
from sparts.net.listeners import Listeners as Listeners
from sparts.net.listeners import Listening as Listening
from sparts.net.listeners import TLSFiles as TLSFiles
from sparts.net.listeners import format_address as format_address
