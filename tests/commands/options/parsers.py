"""Parsers that tests share: making one of all commands takes a quarter of a second."""

import functools

from t5x_lite.commands.options import make_parser

shared_parser = functools.cache(make_parser)
