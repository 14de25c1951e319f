"""The documentation as a site with search: `make site` builds it, and fails on the first warning."""

project = "dsdenseunet"
html_title = project
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
extensions = ["myst_parser"]
# index.md takes it in, and names all other pages in the order of the work.
exclude_patterns = ["README.md"]
# Headings that a link can name.
myst_heading_anchors = 3
