"""How ``make docs`` builds the site.

Its pages are the repository's own Markdown files, where they lie, so that a link works there and here alike. That is
why the source folder is the root of the repository, and this folder only holds the configuration. Nothing is fetched
from the network, neither when the site is built nor when it is read.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from daskaug import __all__ as TOP_LEVEL  # noqa: E402
from daskaug import __version__  # noqa: E402

project = "daskaug"
project_copyright = author = "daskaug developers"
version = release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
]

# --- pages -------------------------------------------------------------------------------------------------------

root_doc = "docs/index"
include_patterns = ["docs/**", "cluster/**", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = [".*", "**/.*", "build", "dist", "**/__pycache__"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 4
highlight_language = "none"  # indented blocks are commands as often as Python
trim_doctest_flags = True

# --- documentation of the names ------------------------------------------------------------------------------------

autosummary_generate = False  # one page for each group, and no page for each name
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # docstrings say it in words, with shapes
autodoc_mock_imports = ["tensorflow", "torch"]  # what the adapters import, and the docs do without
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False
# Names of others: their pages are elsewhere, and nothing is fetched to find them.
nitpick_ignore_regex = [("py:.*", r"(dask|distributed|jax|keras|numpy|tensorflow|torch|zarr)\..*")]

# --- looks -------------------------------------------------------------------------------------------------------

html_title = "daskaug"
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "to_index.html"}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "daskaug"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "show_nav_level": 1,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_center": [],
    "footer_end": ["theme-version"],
}
html_sidebars = {"docs/index": [], "docs/quickstart": [], "docs/concepts": []}
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True


def _without_last_blank_line(_app: Any, tree: nodes.document) -> None:
    """In the sources, examples end with an empty line, by which doctest knows the end of what is expected."""
    for block in tree.findall(nodes.literal_block):
        block.rawsource = block.rawsource.rstrip()
        block[:] = [nodes.Text(block.astext().rstrip())]


def _linked_to_reference(app: Any, tree: nodes.document, page: str) -> None:
    """Public names that a page mentions lead to their documentation: the first time in each section."""
    known = _known_names(app.env.domains.python_domain.objects)
    told: set[tuple[int, str]] = set()
    for literal in list(tree.findall(nodes.literal)) if page.startswith("docs/") else ():
        name, around = literal.astext().removesuffix("()"), _ancestors(literal)
        section = next((id(node) for node in around if isinstance(node, nodes.section)), 0)
        if name not in known or (section, name) in told or any(isinstance(node, NO_LINKS_IN) for node in around):
            continue
        told.add((section, name))
        place, anchor = known[name]
        uri = f"{app.builder.get_relative_uri(page, place)}#{anchor}"
        literal.replace_self(nodes.reference("", "", literal.deepcopy(), refuri=uri, internal=True))


NO_LINKS_IN = (nodes.reference, nodes.term, nodes.thead, nodes.title, addnodes.desc_signature)


def _ancestors(node: nodes.Node) -> list[nodes.Node]:
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def _known_names(objects: Any) -> dict[str, tuple[str, str]]:
    """Page and place of each name, and of the short forms that mean but one thing."""
    known = {}
    for name, entry in objects.items():
        short = name.removeprefix("daskaug.")
        forms = {name, short} if "." in short or short in TOP_LEVEL or short[0].isupper() else {name}
        forms |= {short.rpartition(".")[2]} if entry.objtype == "class" else set()
        known |= dict.fromkeys(forms, (entry.docname, entry.node_id))
    return known


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("doctree-read", _without_last_blank_line)
    app.connect("doctree-resolved", _linked_to_reference)
