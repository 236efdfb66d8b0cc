"""Sphinx's configuration. `build.py` beside this file lays out the pages and runs Sphinx (`make site`)."""

import base64
import hashlib
import json
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

SOURCE = Path(__file__).parent
ROOT = Path(SOURCE, "root").resolve()  # build.py lays a link to the repository there
sys.path.insert(0, str(ROOT))

project = "Where does your network look?"
author = "the authors of cam"
html_title = project
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_design"]
exclude_patterns = ["root"]

# Pages and notebooks. The notebooks are shown as they were executed.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "deflist", "attrs_inline", "colon_fence"]
myst_heading_anchors = 3

# The reference: names in single backticks become links where there is something to link to.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False  # else what a block has from Gluon
napoleon_google_docstring = False
napoleon_use_rtype = False
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "sphinx_book_theme"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's machine
html_static_path = ["static"]
html_favicon = "static/favicon.svg"
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "show_toc_level": 2,
    "show_navbar_depth": 1,
}


def mathml(self, node, display):
    """A formula as MathML, which browsers draw by themselves: no script and no font from elsewhere."""
    self.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def alternative_texts():
    """By the hash of its bytes, the alternative text that a lesson gives to a figure; MyST-NB does not pass it on."""
    found = {}
    for notebook in (SOURCE / "lessons").glob("*.ipynb"):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                for kind in output.get("metadata", {}):
                    if kind.startswith("image/") and "alt" in output["metadata"][kind]:
                        digest = hashlib.sha256(base64.b64decode(output["data"][kind])).hexdigest()
                        found[digest] = output["metadata"][kind]["alt"]
    return found


def describe_figures(app, doctree):
    """Give the figures of the lessons their alternative texts."""
    for image in doctree.findall(nodes.image):
        text = ALTERNATIVE_TEXTS.get(Path(image["uri"]).stem)
        if text:
            image["alt"] = text


def in_our_words(app, what, name, obj, options, lines):
    """Read docstrings as we write them: |x| is a magnitude, and what follows "name :" is a meaning, not a type."""
    section = ""
    for number, line in enumerate(lines):
        if set(line) == {"-"}:
            section = lines[number - 1]
        elif section in ("Parameters", "Attributes") and not line.startswith(" "):
            lines[number] = line.replace(" : ", "\n    ", 1)
    lines[:] = "\n".join(lines).split("\n")
    for number, line in enumerate(lines):
        parts = line.split("`")  # every other one is code
        parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
        lines[number] = "`".join(parts)


ALTERNATIVE_TEXTS = alternative_texts()


def setup(app):
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(lambda self, node: mathml(self, node, "inline"), None),
        block_renderers=(lambda self, node: mathml(self, node, "block"), None),
    )
    app.connect("autodoc-process-docstring", in_our_words, priority=400)  # before napoleon
    app.connect("doctree-read", describe_figures)
