"""Entry points: flags and one call each."""

from dsdenseunet import terminal

terminal.begin()
