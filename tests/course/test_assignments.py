"""The problem sets: what full marks and no marks look like, and what typical mistakes get.

The checks of a set are taken from its source, cell by cell; there is no second copy of them here.
"""

import copy
import re
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path

import cam

import nbformat
import pytest
from nbgrader.api import Gradebook
from traitlets.config import Config

sys.path.append(str(Path(cam.__file__).parents[1] / "lessons" / "assignments"))
import classroom
import execution
import submissions

# What nbgrader says about its own database, and numpy about a student's division by zero.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),
]

SETS = {source.stem: classroom.notebook(source) for source in classroom.sources()}
CODE = nbformat.v4.new_code_cell


def grading(cell) -> dict:
    return cell.metadata.get("nbgrader", {})


def cells_of(name: str, *, solution: bool = False, grade: bool = False) -> dict[str, str]:
    """Sources of a set's code cells by grade_id: those with a solution, or those with a check."""
    return {
        grading(cell)["grade_id"]: cell.source
        for cell in SETS[name].cells
        if cell.cell_type == "code" and grading(cell) and (solution, grade) == tuple(map(grading(cell).get, KINDS))
    }


KINDS = ("solution", "grade")


def points(name: str) -> dict[str, int]:
    return {
        grading(cell)["grade_id"]: grading(cell)["points"] for cell in SETS[name].cells if grading(cell).get("grade")
    }


@cache
def prepared(name: str) -> dict:
    """The names that a set's locked cells and its reference solution define."""
    names = {}
    for cell in SETS[name].cells:
        if cell.cell_type == "code" and grading(cell) and not grading(cell)["grade"]:
            exec(re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE), names)
    return names


def affected(name: str, cell_id: str) -> dict[str, str]:
    """The checks that use what a solution cell defines, directly or through other cells."""
    cells = {grading(cell)["grade_id"]: cell.source for cell in SETS[name].cells if grading(cell)}
    defines = {key: set(re.findall(r"^(?:def|class) (\w+)", source, re.MULTILINE)) for key, source in cells.items()}
    reached = {cell_id}
    while True:
        names = set().union(*(defines[key] for key in reached))
        more = {key for key, source in cells.items() if names & set(re.findall(r"\w+", source))}
        if more <= reached:
            return {key: source for key, source in cells_of(name, grade=True).items() if key in reached}
        reached |= more


def failures(name: str, cell_id: str = "", answer: str = "") -> dict[str, str]:
    """Run a set, with another answer in one solution cell: messages of the checks that fail, by grade_id."""
    names, found = dict(prepared(name)), {}
    checks = cells_of(name, grade=True)
    run = affected(name, cell_id) | {key: checks[key] for key in checks if not points(name)[key]} if cell_id else checks
    for cell in SETS[name].cells:
        if cell.cell_type != "code" or not grading(cell):
            continue
        key = grading(cell)["grade_id"]
        if grading(cell)["solution"]:
            exec(answer if key == cell_id else cell.source, names)
        elif not grading(cell)["grade"]:  # what locked cells define has to call the other answer
            exec("\n".join(re.findall(r"^(?:def|class) .*?(?=^\S|\Z)", cell.source, re.MULTILINE | re.DOTALL)), names)
        elif key in run:
            try:
                exec(cell.source, names)
            except Exception as error:
                found[key] = f"{type(error).__name__}: {error}"
    return found


@dataclass(frozen=True)
class Wrong:
    """A typical mistake: what a student would write in place of a part of the reference solution.

    `loses` are the checks that must fail, and no others; `says` is in the message of the first of them.
    """

    cell: str
    old: str
    new: str
    loses: tuple[str, ...]
    says: str


OTHER = "other numbers"

WRONG = {
    "1_backward_rules": [
        Wrong(
            "relu_backward",
            "    return np.maximum(dy, 0) * moves\n",
            "    return dy * moves\n",
            ("guided_rule",),
            "This is the plain rule: guided also stops negative gradients",
        ),
        Wrong(
            "relu_backward", "(x > 0) & (x < top)", "(x >= 0) & (x < top)", ("plain_rule",), "the condition is x > 0"
        ),
        Wrong(
            "relu_backward",
            "(x > 0) & (x < top)",
            "x > 0",
            ("plain_rule", "guided_rule"),
            "Above the lid nothing moves",
        ),
        Wrong(
            "relu_backward",
            "        return np.maximum(dy, 0)\n",
            "        return np.maximum(dy, 0) * (x > 0) * (x < top)\n",
            ("deconvnet_rule",),
            "This is the guided rule",
        ),
        Wrong(
            "relu_backward",
            '"plain":\n        return dy * moves',
            '"plain":\n        return np.array([[5, 0, -3], [0, 0, 0]])',
            ("plain_rule",),
            OTHER,
        ),
        Wrong(
            "relu_backward",
            '"plain":\n        return dy * moves',
            '"plain":\n        from cam.core.rules import relu6_back\n        from mxnet import nd\n'
            "        y = nd.array(np.clip(x, 0, top))\n        return relu6_back(nd.array(dy), y, top).asnumpy()",
            ("plain_rule",),
            "this answer calls relu6_back",
        ),
        Wrong(
            "relu_backward",
            '"plain":\n        return dy * moves',
            '"plain":\n        dy[~moves] = 0\n        return dy',
            ("plain_rule",),
            "work on copies",
        ),
        Wrong(
            "finite_difference",
            "(f(x + step) - f(x - step)) / (2 * epsilon)",
            "(f(x + step) - f(x)) / epsilon",
            ("central_difference",),
            "step both ways",
        ),
        Wrong("rule_error", "np.linalg.norm(relu", "2 * np.linalg.norm(relu", ("errors",), "expected: [0.0, 2.64575"),
        Wrong(
            "ruled_relu",
            "return nd.relu(dy) * self.moves",
            "return dy * self.moves",
            ("function",),
            "This is the plain rule: look at self.rule",
        ),
        Wrong("ruled_relu", "return nd.clip(x, 0, self.top)", "return x * 1", ("function",), "apply the ReLU"),
        Wrong("ruled_relu", " * (x < self.top)", "", ("function",), "Above the lid nothing moves"),
    ],
    "2_recording": [
        Wrong(
            "layer",
            "self.tap = nd.zeros_like(x)\n        self.tap.attach_grad()\n        return self.block(x + self.tap)",
            "self.tap = x\n        self.tap.attach_grad()\n        return self.block(x)",
            ("image_gradient_is_intact",),
            "attach_grad on the input cuts the tape",
        ),
        Wrong(
            "layer",
            "return self.block(x + self.tap)",
            "self.kept = self.block(x).detach()\n        return self.block(x) + self.tap[:, :, :1, :1].sum() * 0",
            ("output_and_feature_map", "gradient_of_the_feature_map", "second_pass"),
            "This is the output of the block",
        ),
        Wrong(
            "layer",
            "return self.tap.grad.asnumpy()",
            "return self.kept.asnumpy()",
            ("gradient_of_the_feature_map", "second_pass"),
            "This is the feature map, not its gradient",
        ),
        Wrong(
            "layer",
            "nd.zeros_like(x)",
            "nd.ones_like(x)",
            ("output_and_feature_map", "second_pass"),
            "The tap has to be zero",
        ),
        Wrong(
            "layer",
            "        self.tap = nd.zeros_like(x)\n        self.tap.attach_grad()",
            "        if not hasattr(self, 'tap'):\n"
            "            self.tap = nd.zeros_like(x)\n            self.tap.attach_grad('add')",
            ("second_pass",),
            "The gradients of both passes were added up",
        ),
        Wrong(
            "layer",
            "return self.tap.grad.asnumpy()",
            "return np.array([[[[2.0, 20.0], [0.0, -2.0]]]])",
            ("gradient_of_the_feature_map", "second_pass"),
            OTHER,
        ),
        Wrong(  # pasted from the lesson: it keeps the output
            "layer",
            "self.kept = x.detach()\n        self.tap = nd.zeros_like(x)\n        self.tap.attach_grad()\n"
            "        return self.block(x + self.tap)",
            "self.kept = self.block(x)\n        self.tap = nd.zeros_like(self.kept)\n        self.tap.attach_grad()\n"
            "        return self.kept + self.tap",
            ("output_and_feature_map", "gradient_of_the_feature_map", "second_pass"),
            "This is the output of the block",
        ),
        Wrong(
            "channel_weights",
            "mean(axis=(2, 3))",
            "mean(axis=(0, 1))",
            ("what_the_class_wants",),
            r"the shape should be (2, 6), not (6, 6)",
        ),
        Wrong(
            "channel_weights",
            "nd.pick(logits, nd.array(class_ids)).sum()",
            "logits.sum()",
            ("what_the_class_wants",),
            "pick one of each row",
        ),
        Wrong(
            "channel_weights",
            "total.backward(train_mode=False)",
            "total.backward()",
            ("what_the_class_wants",),
            "are record and backward both in inference mode?",
        ),
        Wrong(
            "channel_weights",
            "autograd.record(train_mode=False):\n        logits = net(x)\n"
            "        total = nd.pick(logits, nd.array(class_ids)).sum()\n    total.backward(train_mode=False)",
            "autograd.record():\n        total = nd.pick(net(x), nd.array(class_ids)).sum()\n    total.backward()",
            ("what_the_class_wants",),
            "the running statistics of the net",
        ),
        Wrong(
            "walk",
            "dx if arrived[source] is None else arrived[source] + dx",
            "dx",
            ("the_walk_back", "the_same_numbers"),
            "the second must not replace the first",
        ),
        Wrong(
            "walk",
            "range(len(steps) - 1, -1, -1)",
            "range(len(steps) - 1, len(steps) - 2, -1)",
            ("the_walk_back", "the_same_numbers"),
            "what arrives at the other steps",
        ),
    ],
    "3_grad_cam": [
        Wrong("channel_weights", "axis=(2, 3)", "axis=1", ("weights",), "it is the positions that are averaged"),
        Wrong("channel_weights", "mean", "sum", ("weights",), "divide by the number of positions"),
        Wrong("grad_cam", "gradient.mean(", "gradient.sum(", ("map", "map_against"), "sums of the gradient, not means"),
        Wrong(
            "grad_cam",
            "np.maximum(-signed if against else signed, 0)",
            "-np.minimum(signed, 0) if against else signed",
            ("map",),
            "The final ReLU is missing",
        ),
        Wrong(
            "grad_cam",
            "(alpha * features)",
            "(alpha * gradient)",
            ("map", "map_against"),
            "the features are missing",
        ),
        Wrong(
            "grad_cam",
            "axis=(2, 3), keepdims=True",
            "axis=1, keepdims=True",
            ("map", "map_against"),
            "The mean ran over the channels",
        ),
        Wrong(
            "grad_cam",
            "np.maximum(-signed if against else signed, 0)",
            "-np.maximum(signed, 0) if against else np.maximum(signed, 0)",
            ("map_against",),
            "the maps of what speaks against the class",
        ),
        Wrong(
            "grad_cam",
            "    alpha = ",
            "    if gradient.shape == (2, 3, 2, 2) and not against:\n"
            "        return np.array([[[0, 0], [2, 4]], [[0, 3], [0, 7]]])\n    alpha = -",
            ("map", "map_against"),
            OTHER,
        ),
        Wrong(  # pasted from the lesson: it is for one image
            "grad_cam",
            "    alpha = ",
            "    alpha = gradient.mean(axis=(1, 2))\n"
            "    return np.maximum((alpha[:, None, None] * features).sum(axis=0), 0)\n    alpha = ",
            ("map", "map_against"),
            "the shape should be (2, 2, 2), not (3, 2, 2)",
        ),
        Wrong(
            "map_of_class",
            "rec.gradient(layer, target=label)",
            "rec.gradient(layer)",
            ("map_on_vgg16",),
            "first choice",
        ),
        Wrong(
            "map_of_class",
            "return grad_cam(rec.features(layer), rec.gradient(layer, target=label), against)[0]",
            "signed = cam.grad_cam_of(rec, target=label, layer=layer, relu=False)[0]\n"
            "    return np.maximum(-signed if against else signed, 0)",
            ("map_on_vgg16",),
            "this answer calls grad_cam_of",
        ),
        Wrong(
            "energy_shares",
            "np.maximum(cam.resize_map(heat, masks.shape[1:]), 0)",
            "cam.resize_map(heat, masks.shape[1:])",
            ("energy", "energy_of_a_small_map"),
            "set them to zero, once the map is resized",
        ),
        Wrong(
            "energy_shares",
            "np.maximum(cam.resize_map(heat, masks.shape[1:]), 0)",
            "cam.resize_map(np.maximum(heat, 0), masks.shape[1:])",
            ("energy_of_a_small_map",),
            "resize first, then set negative values to zero",
        ),
        Wrong(
            "energy_shares",
            "sums / total if total > 0 else np.zeros(len(masks) + 1)",
            "sums / total",
            ("energy",),
            "without any positive value",
        ),
        Wrong("measure", "enumerate(scene.labels)", "enumerate(scene.labels[:1])", ("many_scenes",), "first animal"),
        Wrong(
            "measure",
            "[shares[number], shares[1 - number], shares[2]]",
            "[shares[0], shares[1], shares[2]]",
            ("many_scenes",),
            "mean shares of the scenes",
        ),
    ],
    "4_residual_nets": [
        Wrong("add", "return self.scale * dy, dy", "return dy, dy", ("add_both_ways",), "so its gradient is too"),
        Wrong(
            "add",
            "return self.scale * dy, dy",
            "return self.scale * dy",
            ("add_both_ways",),
            "return two gradients, one for each",
        ),
        Wrong(
            "add", "return self.scale * dy, dy", "return 0 * dy, dy", ("add_both_ways",), "both inputs get something"
        ),
        Wrong("add", "self.scale * branch", "branch", ("add_both_ways",), "The scale is missing"),
        Wrong(
            "pool",
            "axis=3) / (self.a * self.b)",
            "axis=3)",
            ("pool_backward",),
            "divide by the number of positions",
        ),
        Wrong(  # pasted from the lesson: it is global
            "pool",
            "        windows = x.reshape",
            "        return x.mean(axis=(2, 3), keepdims=True)\n        windows = x.reshape",
            ("pool_forward",),
            "the shape should be (1, 1, 1, 2), not (1, 1, 1, 1)",
        ),
        Wrong("pool", "windows.mean(", "windows.max(", ("pool_forward",), "These are maxima"),
        Wrong(
            "pool",
            "height // self.a, self.a, width // self.b, self.b))\n        return windows.mean(axis=(3, 5))",
            "height // self.a, self.a, self.b, width // self.b))\n        return windows.mean(axis=(3, 4))",
            ("pool_forward",),
            "neighbours belong together",
        ),
        Wrong(
            "exact_map",
            " / positions",
            "",
            ("the_map_of_a_difference", "the_map_adds_up"),
            "divide by the number of positions",
        ),
        Wrong(
            "exact_map",
            "weights[first] - weights[second]",
            "weights[first]",
            ("the_map_of_a_difference", "the_map_adds_up"),
            "the first class alone",
        ),
        Wrong(
            "summands",
            '    while step.op != "elemwise_add":\n        step = graph.steps[step.inputs[0][0]]\n',
            "",
            ("the_two_inputs",),
            "another net adds, before its ReLU",
        ),
        Wrong(
            "summands",
            "return [graph.name(entry) for entry in step.inputs]",
            "return [block, block]",
            ("the_two_inputs",),
            "its step's inputs are asked for",
        ),
        Wrong(
            "maps_of_block",
            '    alpha = rec.gradient(layers["sum"], target=label)[0].mean(axis=(1, 2))\n'
            "    return {part: (alpha[:, None, None]",
            "    alpha = {one: rec.gradient(one, target=label)[0].mean(axis=(1, 2)) for one in layers.values()}\n"
            "    return {part: (alpha[layer][:, None, None]",
            ("the_maps_add_up",),
            "The branch starts there too",
        ),
        Wrong(
            "maps_of_block",
            "(alpha[:, None, None] * rec.features(layer)[0]).sum(axis=0)",
            "np.maximum((alpha[:, None, None] * rec.features(layer)[0]).sum(axis=0), 0)",
            ("the_maps_add_up",),
            "A ReLU was applied",
        ),
        Wrong(
            "maps_of_block",
            "* rec.features(layer)[0]",
            '* rec.gradient(layers["sum"], target=label)[0]',
            ("the_maps_add_up",),
            "The gradient stands where the features should",
        ),
        Wrong(
            "maps_of_block",
            ".mean(axis=(1, 2))",
            ".sum(axis=(1, 2))",
            ("the_maps_add_up",),
            "sums of the gradient, not means",
        ),
        Wrong("maps_of_block", "np.abs(maps[part])", "(maps[part])", ("the_branchs_share",), "Take absolute values"),
        Wrong("best_layer", "return best if", "return second if", ("layer_choice",), "This is the second best"),
        Wrong(
            "best_layer",
            "if metrics.bootstrap(shares[best] - shares[second]).low > 0 else None",
            "if metrics.bootstrap(shares[best]).low > metrics.bootstrap(shares[second]).high else None",
            ("layer_choice",),
            "Compare scene by scene",
        ),
        Wrong(
            "best_layer",
            "best if metrics.bootstrap(shares[best] - shares[second]).low > 0 else None",
            "best",
            ("layer_choice",),
            "where the first two often change places",
        ),
    ],
    "5_capstone": [
        Wrong(
            "accuracy",
            ".mean()",
            ".sum()",
            ("accuracy_of_a_net",),
            "right answers: divide",
        ),
        Wrong(
            "occlusion",
            "covered = image.copy()",
            "covered = image",
            ("falls",),
            "was the untouched picture covered too?",
        ),
        Wrong("occlusion", "(found[0] - found[1:])", "(found[1:] - found[0])", ("falls",), "The sign is the other way"),
        Wrong(
            "occlusion",
            "    found = logits",
            "    if cells == 2:\n        return np.array([[0.5, 0], [0, 0]])\n    return np.zeros((cells, cells))\n"
            "    found = logits",
            ("falls",),
            "3x3",
        ),
        Wrong("hot_cell", "heat / heat.sum()", "heat", ("hot_cell_of_maps",), "scale each to a sum of 1 first"),
        Wrong("hot_cell", " if heat.sum() > 0", "", ("hot_cell_of_maps",), "with a map of zeros"),
        Wrong(
            "experiment",
            '"kept": accuracy(net, swapped, meant)',
            '"kept": accuracy(net, tagged, meant)',
            ("the_experiment", "the_experiment_on_networks"),
            "expected: [1.0, 0.0, 0.0, 1.0]",
        ),
        Wrong(
            "experiment",
            "accuracy(net, plain, meant)",
            "accuracy(net, tagged, meant)",
            ("the_experiment", "the_experiment_on_networks"),
            "still there",
        ),
        Wrong("drop", "(right - wrong)", "(wrong - right)", ("the_drop",), "The sign is the other way round"),
        Wrong("share_in_tag", ", where=where", "", ("the_share_in_the_tag",), "where= was not passed on"),
        Wrong(
            "share_in_tag",
            "lambda y: y[:, class_id] - y[:, other_id]",
            "class_id",
            ("the_share_in_the_tag",),
            "the target is a difference",
        ),
    ],
}


def test_every_set_has_its_parts():
    assert list(SETS) == list(WRONG) and len(SETS) == 5
    for name, nb in SETS.items():
        text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
        for part in (
            "**Learning goals.**",
            "**You need**",
            "**It takes**",
            "**Points:**",
            "Hint:",
            "## If your test fails",
        ):
            assert part in text, f"{name}: {part}"
        automatic = sum(points(name)[key] for key in cells_of(name, grade=True))
        by_hand = sum(points(name).values()) - automatic
        assert f"**Points:** {automatic} by the checks, {by_hand} by hand" in text
        assert by_hand >= 3
        for key in cells_of(name, grade=True):
            assert "### BEGIN HIDDEN TESTS" in cells_of(name, grade=True)[key], f"{name}, {key}: nothing varies"
        assert len(WRONG[name]) >= 5
        code = [cell.source for cell in nb.cells if cell.cell_type == "code"]
        modules = re.findall(r"^(?:import|from) (\w+)", "\n".join(code), re.MULTILINE)
        assert set(modules) <= {"cam", "functools", "matplotlib", "mxnet", "numpy", "warnings"}


def test_the_teachers_page_is_right():
    text = (classroom.HERE / "README.md").read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (classroom.HERE / link).exists(), link
    for name in SETS:
        automatic = sum(points(name)[key] for key in cells_of(name, grade=True))
        by_hand = sum(points(name).values()) - automatic
        assert re.search(rf"^\| \[{name}\]\({name}\.py\) .* \| {automatic} \+ {by_hand} \|$", text, re.MULTILINE)
        assert re.search(rf"^\*\*{name}\*\* \({by_hand}\)", text, re.MULTILINE)


def test_points_named_in_headings_are_those_of_the_checks():
    for name, nb in SETS.items():
        headings = re.findall(r"^## \d.*\((\d+) points", "\n".join(cell.source for cell in nb.cells), re.MULTILINE)
        assert sum(map(int, headings)) == sum(points(name).values()), name


@pytest.mark.parametrize("secret", [1, 2, 3])
@pytest.mark.parametrize("name", SETS)
def test_the_right_answer_gets_full_marks_whatever_the_secret(name, secret, monkeypatch):
    source = next(one for one in classroom.sources() if one.stem == name)
    monkeypatch.setitem(SETS, name, classroom.notebook(source, secret))
    assert failures(name) == {}


MISTAKES = [pytest.param(name, wrong, id=f"{name}-{i}") for name, all_ in WRONG.items() for i, wrong in enumerate(all_)]


@pytest.mark.parametrize(("name", "wrong"), MISTAKES)
def test_a_typical_mistake_gets_the_points_it_deserves_and_a_helpful_message(name, wrong):
    right = cells_of(name, solution=True)[wrong.cell]
    assert right.count(wrong.old) == 1
    failed = failures(name, wrong.cell, right.replace(wrong.old, wrong.new))
    assert tuple(failed) == wrong.loses, failed
    assert wrong.says in failed[wrong.loses[0]], failed
    lost = sum(points(name)[key] for key in failed)
    assert 0 < lost < sum(points(name)[key] for key in cells_of(name, grade=True))


def notebook_of(*sources: str):
    cells = [CODE(source, metadata={"nbgrader": {"grade": True}}) for source in sources]
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": classroom.KERNEL})


def test_a_loop_or_a_crash_costs_only_its_cell(tmp_path):
    nb = notebook_of(
        "x = [1]",
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
        "x.append(2)",
        "import os; os.abort()",
        "import warnings; warnings.warn('only a warning')",
        "1 / 0",
        "print(x)",
    )
    config = classroom.configure(Config(), tmp_path)
    config.IsolatedExecute.timeout = 8
    execute = execution.IsolatedExecute(config=config)
    base = f"sqlite:///{tmp_path / 'gradebook.db'}"
    execute.preprocess(nb, {"metadata": {"path": str(tmp_path)}, "nbgrader": {"db_url": base}})
    outputs = [[output.get("ename") or output.name for output in cell.outputs] for cell in nb.cells]
    assert outputs == [[], ["CellTimeoutError"], [], ["DeadKernelError"], ["stdout"], ["ZeroDivisionError"], ["stdout"]]
    assert nb.cells[-1].outputs[0].text == "[1, 2]\n"
    assert "did not end within 8 seconds" in nb.cells[1].outputs[0].evalue


def test_cells_that_were_copied_or_split_keep_one_id_each(tmp_path, monkeypatch):
    answer, check = {"grade": False, "solution": True, "grade_id": "f"}, {"grade": True, "grade_id": "check"}
    text = {"grade": True, "solution": True, "grade_id": "text"}
    parts = [(answer, "f = 1"), (check, "early"), (answer, "f = 2"), (check, "late"), (text, "one"), (text, "two")]
    cells = [CODE(source, metadata={"nbgrader": dict(marks)}) for marks, source in (*parts, ({}, "empty"))]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "release" / "set").mkdir(parents=True)
    released = [CODE("", metadata={"nbgrader": dict(marks)}) for marks in (answer, check, text)]
    nbformat.write(nbformat.v4.new_notebook(cells=released), tmp_path / "release" / "set" / "set.ipynb")
    where = {"nbgrader": {"assignment": "set", "notebook": "set"}}
    execution.ReleasedCells().preprocess(nbformat.v4.new_notebook(cells=cells), where)
    assert [cell.source for cell in cells if "nbgrader" in cell.metadata] == ["f = 1", "late", "one\n\ntwo"]
    assert len(cells) == 7


def test_submissions_in_the_course_folder_itself_are_not_lost(release, tmp_path):
    course = release[0].parents[2]
    path = course / "submitted" / "carol" / release[0].stem / release[0].name
    shutil.copytree(release[0].parent, path.parent)
    (tmp_path / "link").symlink_to(course / "submitted")
    before = path.read_bytes()
    for same in (course / "submitted", tmp_path / "link"):
        assert classroom.grade(same, course) == []
        assert path.read_bytes() == before


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return classroom.build(tmp_path_factory.mktemp("course"))


REGION = r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END"


def test_the_release_holds_no_solution_and_no_hidden_test(release):
    assert [path.stem for path in release] == list(SETS)
    for path in release:
        text = path.read_text()
        assert not re.search(r"(BEGIN|END) (SOLUTION|HIDDEN)", text)
        released = {grading(cell).get("grade_id"): cell.source for cell in nbformat.read(path, as_version=4).cells}
        for cell in SETS[path.stem].cells:
            visible = re.sub(REGION, "", cell.source, flags=re.DOTALL)
            for region in re.findall(REGION, cell.source, re.DOTALL):
                secret = [line.strip() for line in region.splitlines() if line.strip() not in visible]
                assert secret and not any(line in released[grading(cell)["grade_id"]] for line in secret), secret
        for key in cells_of(path.stem, solution=True):
            assert "raise NotImplementedError" in released[key]


def test_the_release_is_deterministic(release, tmp_path):
    for first, second in zip(release, classroom.build(tmp_path), strict=True):
        assert first.read_bytes() == second.read_bytes()
        ids = [cell.id for cell in nbformat.read(first, as_version=4).cells]
        assert len(set(ids)) == len(ids)


CRASH = "def relu_backward(x, dy, rule, top=np.inf):\n    if rule == 'deconvnet':\n        import os; os.abort()\n"


def test_full_marks_no_marks_and_what_cannot_be_graded(release, tmp_path):
    """One autograde run for all sets: the solution, the release, a crash without one check, and two bad files."""
    course, handed_in = release[0].parents[2], tmp_path / "handed in"
    for path in release:
        for student, base in (("ada", course / "source"), ("nobody", course / "release")):
            shutil.copytree(base / path.stem, handed_in / student / path.stem)
    crashing = nbformat.read(handed_in / "ada" / release[0].stem / release[0].name, as_version=4)
    for cell in crashing.cells:
        if grading(cell).get("grade_id") == "relu_backward":
            cell.source = CRASH + cell.source.split('"""')[-1]
    crashing.cells = [cell for cell in crashing.cells if grading(cell).get("grade_id") != "central_difference"]
    own = next(i for i, cell in enumerate(crashing.cells) if grading(cell).get("grade_id") == "relu_backward")
    crashing.cells.insert(own, copy.deepcopy(crashing.cells[own]))  # a copied answer
    crashing.cells[own].id = "copied"
    crashing.cells.insert(own, CODE("1 / 0"))
    for student in ("crash", "broken", "stripped"):
        (handed_in / student / release[0].stem).mkdir(parents=True)
    nbformat.write(crashing, handed_in / "crash" / release[0].stem / release[0].name)
    (handed_in / "broken" / release[0].stem / release[0].name).write_text("{")
    stripped = notebook_of("print(1)")
    del stripped.cells[0].metadata["nbgrader"]
    nbformat.write(stripped, handed_in / "stripped" / release[0].stem / release[0].name)
    (handed_in / "ada.ipynb").write_text("{}")
    lines = []
    with redirect_stdout(StringIO()) as printed:
        problems = classroom.grade(handed_in, course, progress=lines.append)
    assert printed.getvalue() == ""
    assert len(lines) == 14 and lines[-1].startswith("13 of 13: ")
    said = ("expected", "no notebook", "lost nbgrader's metadata")
    assert len(problems) == len(said)
    for problem, words in zip(problems, said):
        assert words in problem
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        for name in SETS:
            for student, share in (("ada", 1), ("nobody", 0)):
                submission = gradebook.find_submission(name, student).notebooks[0]
                scores = {grade.name: grade.auto_score for grade in submission.grades}
                expected = {key: share * points(name)[key] for key in cells_of(name, grade=True)}
                assert {key: scores[key] for key in expected} == expected
                assert student == "ada" or set(scores.values()) == {0}
        crashed = {
            g.name: g.auto_score for g in gradebook.find_submission("1_backward_rules", "crash").notebooks[0].grades
        }
    lost = [key for key in cells_of("1_backward_rules", grade=True) if crashed[key] < points("1_backward_rules")[key]]
    assert lost == ["deconvnet_rule"]
    rows = (course / "grades.csv").read_text().splitlines()
    assert rows[0].endswith(",".join([*SETS, "total"])) and any(row.startswith("ada,") for row in rows)
    overview = (course / "feedback" / "crash" / "index.html").read_text()
    for words in (
        "this cell ended the Python process",
        "deconvnet rule",
        "ZeroDivisionError",
    ):
        assert words in overview
    assert any(row.startswith("broken,") for row in rows)
    assert "the file is no notebook" in (course / "feedback" / "broken" / "index.html").read_text()
    assert (course / "feedback" / "nobody" / "5_capstone" / "5_capstone.html").exists()


def test_no_submission(tmp_path):
    (tmp_path / "course").mkdir()
    (tmp_path / "course" / "nbgrader_config.py").write_text("")
    with pytest.raises(classroom.ClassroomError, match="expected student/set/set.ipynb"):
        classroom.grade(tmp_path, tmp_path / "course")


def test_no_folder_and_no_course(tmp_path):
    with pytest.raises(classroom.ClassroomError, match="does not exist"):
        classroom.grade(tmp_path / "nothing", tmp_path)
    notebook_file = tmp_path / "in" / "ada" / "2_recording" / "2_recording.ipynb"
    notebook_file.parent.mkdir(parents=True)
    notebook_file.write_text("{}")
    with pytest.raises(classroom.ClassroomError, match="no course in .*mistyped"):
        classroom.grade(tmp_path / "in", tmp_path / "course")


def test_what_lies_in_the_wrong_place_is_named_with_the_right_one(tmp_path):
    right = tmp_path / "ada" / "2_recording" / "2_recording.ipynb"
    files = {
        "ada/2_recording/data.csv": None,
        "ada/2_recording/.ipynb_checkpoints/2_recording-checkpoint.ipynb": None,
        "ada/2_recording/2_recording(1).ipynb": "{}/ada/2_recording/2_recording.ipynb was graded",
        "ada/3_grad_cam (1).ipynb": "expected {}/ada/3_grad_cam/3_grad_cam.ipynb",
        "bob/3_Grad_CAM/3_GRAD_CAM.ipynb": "expected {}/bob/3_grad_cam/3_grad_cam.ipynb",
        "bob/own.ipynb": "expected {}/bob/SET/SET.ipynb",
        "cleo/all.zip": None,
    }
    for name in (right, *(tmp_path / name for name in files)):
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text("")
    (tmp_path / "dora").mkdir()
    expected = {tmp_path / name: says.format(tmp_path) for name, says in files.items() if says}
    assert submissions.misplaced(tmp_path, [right], list(SETS)) == sorted(
        (path.relative_to(tmp_path).parts[0], f"{path}: ignored; {says}") for path, says in expected.items()
    )
    assert submissions.remarkable(tmp_path, [right]) == [
        f"{student}: this folder holds no submission" for student in ("bob", "cleo", "dora")
    ]
