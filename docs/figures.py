"""Make every picture of the README and of the table of lessons: `make figures`.

The demo's panel is drawn anew; a lesson's picture is one of the figures in its notebook.
"""

import base64
import io
import json
from pathlib import Path

import forum_answer
import metric_pictures
from forum_answer import demo
from PIL import Image

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
# Which figure of each lesson, counted from 0.
CHOSEN = {"01": 2, "02": 0, "03": 2, "04": 1, "05": 1, "06": 0, "07": 0, "08": 0, "09": 0, "10": 4}
WIDTH = 480


def lesson_picture(notebook: Path, index: int) -> Image.Image:
    """One of a notebook's figures, scaled down to `WIDTH`."""
    cells = json.loads(notebook.read_text())["cells"]
    data = [output["data"] for cell in cells for output in cell.get("outputs", []) if "data" in output]
    figures = [entry[kind] for entry in data for kind in ("image/png", "image/jpeg") if kind in entry]
    image = Image.open(io.BytesIO(base64.b64decode(figures[index]))).convert("RGB")
    return image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    demo.main(DOCS / "demo.png")
    forum_answer.main(DOCS / "answer.png")
    metric_pictures.main(DOCS)
    for notebook in sorted((ROOT / "lessons").glob("[0-9]*.ipynb")):
        number = notebook.stem[:2]
        lesson_picture(notebook, CHOSEN[number]).save(DOCS / f"lesson_{number}.png")


if __name__ == "__main__":
    main()
