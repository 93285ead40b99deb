"""Where tests find files of the repository, and the samples beside it that only some machines have."""

import pathlib

ROOT = pathlib.Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
