"""The board's side of the link to a host: a UART in front of a network core."""

from lutgen.gateware.link.link import Link
from lutgen.gateware.link.top import BoardCore, board_core

__all__ = ["BoardCore", "Link", "board_core"]
