"""How the site is built: `python -m sphinx -W -n docs site` needs nothing from the network."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent / "_ext")]

from mycelium import __version__  # noqa: E402  it is found now

project = "Mycelium"
author = "The Mycelium authors"
copyright = author  # noqa: A001  Sphinx calls it so
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mycelium_docs.site"]
exclude_patterns = ["_ext"]
nitpicky = True
default_role = "literal"

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"Mycelium {version}"
html_static_path = ["_static"]
html_css_files = ["mycelium.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
