# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration: Markdown pages, and reference pages made from docstrings and from the command line's parser."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import t5x_lite  # noqa: E402 - this checkout

project = "t5x_lite"
author = "The t5x_lite authors"
project_copyright = author
release = version = t5x_lite.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference_directives"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
highlight_language = "text"
default_role = "code"  # docstrings write `names` with single backticks

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"

html_theme = "sphinx_book_theme"
html_title = "t5x_lite"
html_static_path = ["_static"]
html_css_files = ["t5x_lite.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the sidebar has the search field
}
