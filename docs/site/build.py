"""Build the site: `make site`, or python docs/site/build.py OUTPUT.

Sphinx wants all pages in one folder. So the pages are copied to `pages` beside OUTPUT, in the places that they have in
the repository, with whatever they link to; links between them hold as they are.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs/playground")]

import bundle  # noqa: E402 - the playground's
import reference  # noqa: E402 - beside this file; it imports cam

PAGES = (
    *("docs/*.md", "docs/answer.png", "benchmarks/README.md"),
    *("lessons/*.ipynb", "lessons/README.md", "lessons/assignments/*.md"),
)
PLAY = """:::{grid-item-card} Play
:link: playground/index.html
A network in your browser: move things, and the maps follow.
:::"""
BACK = '<p><a id="course" href="../index.html">Back to the course</a></p>'
LINK = re.compile(r"\]\(([^)#\s]+)")
# From a source page back to the reference: Sphinx knows one name of a module, and ours are shown under two.
BACK_TO_REFERENCE = re.compile(r'<a class="viewcode-back"[^>]*>[^<]*</a>')


def lay_out(pages: Path) -> None:
    """Fill the folder `pages`."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(HERE, pages)
    (pages / "root").symlink_to(ROOT)
    for path in [path for pattern in PAGES for path in ROOT.glob(pattern)]:
        linked = LINK.findall(path.read_text(encoding="utf-8")) if path.suffix == ".md" else []
        for file in [path, *((path.parent / link).resolve() for link in linked if "://" not in link)]:
            if file.is_file() and not (copy := pages / file.relative_to(ROOT)).exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, copy)


def lay_playground(playground: Path, home: Path) -> None:
    """Build the playground into the site, with links between it and the first page; or say why it is left out."""
    try:
        bundle.main(str(playground))
    except bundle.RuntimeMissingError as error:
        print(f"The site goes without the playground: {error}.")
        return
    for page, mark, link in ((home, "<!-- playground -->", PLAY), (playground / "index.html", "<!-- course -->", BACK)):
        page.write_text(page.read_text(encoding="utf-8").replace(mark, link), encoding="utf-8")


def main(output: Path) -> None:
    """Lay out the pages and run Sphinx; a warning is an error."""
    pages = output.parent / "site-pages"
    shutil.rmtree(output, ignore_errors=True)  # else pages stay that are no more
    lay_out(pages)
    lay_playground(output / "playground", pages / "index.md")
    reference.write(pages / "reference")
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", "--builder", "html"]
    done = subprocess.run([*sphinx, "--doctree-dir", output.parent / "site-doctrees", pages, output])
    if done.returncode:
        sys.exit("the site was not built: see the warnings above")
    for page in (output / "_modules").rglob("*.html"):
        page.write_text(BACK_TO_REFERENCE.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"open {output / 'index.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
