"""What is written once and shown in several places: a lesson's quiz, and the solutions of its blanks and exercises.

`quizzes/NN.yaml` holds five questions. `solutions/NN.py` holds code in cells `# %% name`; a comment `# Hint: ...` at
the top of a cell, its further lines indented by two more spaces, is its hint. In a lesson's script two kinds of
markdown cells are filled in from these files:

    # %% [markdown] tags=["solution-alpha"]        the hint and the solution of that name, each folded
    # %% [markdown] tags=["quiz"]                  the questions, each with its answer folded

Run `python lessons/quiz.py write` after a change, and `python lessons/quiz.py gift quiz.gift` for Moodle ("import
questions", format GIFT). Folding is HTML, `<details>`, which holds wherever notebooks are read.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

HERE = Path(__file__).parent
LETTERS = "ABCDEF"
GENERATED = re.compile(r'(^# %% \[markdown\] tags=\["(?:quiz|solution-([\w-]+))"\]\n)(?:#.*\n)*', re.MULTILINE)


class Question(NamedTuple):
    """One question with one right answer."""

    ask: str
    right: str
    wrong: list[str]
    why: str  # the right one is right, and what is wrong with the most tempting other

    @property
    def choices(self) -> list[str]:
        """All answers, in an order that is mixed, but always the same."""
        return random.Random(self.ask).sample([self.right, *self.wrong], 1 + len(self.wrong))


def questions(lesson: int) -> list[Question]:
    """The quiz of a lesson."""
    found = yaml.safe_load((HERE / f"quizzes/{lesson:02}.yaml").read_text(encoding="utf-8"))
    return [Question(**{key: _flat(value) for key, value in one.items()}) for one in found]


def solutions(lesson: int) -> dict[str, tuple[str, str]]:
    """By name, the hint and the code of every solution of a lesson."""
    text = (HERE / f"solutions/{lesson:02}.py").read_text(encoding="utf-8")
    names_and_cells = re.split(r"^# %% (\S+)\n", text, flags=re.MULTILINE)[1:]
    found = {}
    for name, cell in zip(names_and_cells[::2], names_and_cells[1::2]):
        hint, code = re.fullmatch(r"((?:# Hint: [^\n]*\n(?:#  [^\n]*\n)*)?)(.*)", cell, re.DOTALL).groups()
        words = " ".join(line.removeprefix("#").strip() for line in hint.splitlines()).removeprefix("Hint: ")
        found[name] = (words, code.strip("\n"))
    return found


def quiz_text(lesson: int) -> str:
    """The quiz as markdown."""
    parts = ["## Five questions", "Choose first, then unfold the answer."]
    for number, one in enumerate(questions(lesson), 1):
        parts.append(f"**{number}.** {one.ask}")
        parts.append("\n".join(f"- **{letter}.** {choice}" for letter, choice in zip(LETTERS, one.choices)))
        parts.append(_folded("Answer", f"**{LETTERS[one.choices.index(one.right)]}.** {one.why}"))
    return "\n\n".join(parts)


def solution_text(lesson: int, name: str) -> str:
    """A hint, if there is one, and a solution as folded markdown."""
    hint, code = solutions(lesson)[name]
    hint_text = _folded("Hint", hint) + "\n\n" if hint else ""
    return hint_text + _folded("Solution", f"```python\n{code}\n```")


def filled_in(script: str, lesson: int) -> str:
    """The text of a lesson's script with its generated cells filled in."""

    def cell(match: re.Match) -> str:
        text = solution_text(lesson, match[2]) if match[2] else quiz_text(lesson)
        return match[1] + "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())

    return GENERATED.sub(cell, script)


def gift(lesson: int) -> str:
    """The quiz in Moodle's GIFT format."""
    blocks = [f"$CATEGORY: cam/lesson {lesson}"]
    for number, one in enumerate(questions(lesson), 1):
        answers = [f"\t{'=' if choice == one.right else '~'}{_escaped(choice)}" for choice in one.choices]
        head = f"::Lesson {lesson}, question {number}::[markdown]{_escaped(one.ask)} {{"
        blocks.append("\n".join([head, *answers, f"\t####{_escaped(one.why)}", "}"]))
    return "\n\n".join(blocks) + "\n"


def scripts() -> dict[int, Path]:
    """The script of every lesson, by its number."""
    return {int(path.name[:2]): path for path in sorted(HERE.glob("[0-9]*.py"))}


def _flat(value):
    """Text in one line, as it may be broken anywhere in the file."""
    return [_flat(one) for one in value] if isinstance(value, list) else " ".join(str(value).split())


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _escaped(text: str) -> str:
    return re.sub(r"([\\~=#{}:])", r"\\\1", text)


def main(arguments: list[str]) -> None:
    """`write` fills in the scripts; `gift FILE` writes all quizzes to one file."""
    if arguments == ["write"]:
        for lesson, path in scripts().items():
            path.write_text(filled_in(path.read_text(encoding="utf-8"), lesson), encoding="utf-8")
    elif arguments[:1] == ["gift"] and len(arguments) == 2:
        Path(arguments[1]).write_text("\n".join(gift(lesson) for lesson in scripts()), encoding="utf-8")
    else:
        sys.exit("usage: quiz.py write | quiz.py gift FILE")


if __name__ == "__main__":
    main(sys.argv[1:])
