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
sys.path.insert(0, str(ROOT))

import reference  # noqa: E402 - beside this file; it imports cam

PAGES = ("docs/*.md", "docs/answer.png", "lessons/*.ipynb", "lessons/README.md", "lessons/assignments/*.md")
PLAYGROUND = ROOT / "build/playground"  # a page of its own, if it was built
PLAY = '**Play** with <a href="playground/index.html">a network in your browser</a>: move things, and the maps follow.'
LINK = re.compile(r"\]\(([^)#\s]+)")


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


def main(output: Path) -> None:
    """Lay out the pages and run Sphinx; a warning is an error."""
    pages = output.parent / "site-pages"
    lay_out(pages)
    if PLAYGROUND.is_dir():
        home = pages / "index.md"
        home.write_text(home.read_text(encoding="utf-8").replace("<!-- playground -->", PLAY), encoding="utf-8")
    reference.write(pages / "reference")
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", "--builder", "html"]
    done = subprocess.run([*sphinx, "--doctree-dir", output.parent / "site-doctrees", pages, output])
    if done.returncode:
        sys.exit("the site was not built: see the warnings above")
    if PLAYGROUND.is_dir():
        shutil.copytree(PLAYGROUND, output / "playground", dirs_exist_ok=True)
    print(f"open {output / 'index.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
