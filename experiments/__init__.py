"""Entry points: flags and one call each."""

from dsdenseunet.runtime import terminal

terminal.begin()
