"""Edits of a copy of this package: which keys they change. Each stays as it is unless something else is computed."""

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import atlas_core
from atlas_core.code import closure
from atlas_core.code.closure import Sources
from atlas_core.plan.build import build_graph
from tests.tiny_study import TinyWorld

PACKAGE = Path(atlas_core.__file__).parent
METHODS = ["coop", "cocoop", "kgcoop", "tcp", "dept_coop", "coprompt", "promptsrc", "zero_shot"]
SUPERVISIONS = ["one_hot", "ls", "ols", "atlas_csl", "atlas_isl", "tfkd", "tfkd_self"]
ALL = {
    "fetch",
    "index",
    "text_features",
    "image_features",
    "pixels",
    "csl",
    "isl",
    "tune",
    "evaluate",
    "aggregate",
}


class EditedCopy:
    """A copy of the package that the planner takes for this one.

    Args:
        nodes: Node's name → roots of its code.
    """

    def __init__(self, root: Path, nodes: dict[str, tuple[str, ...]]) -> None:
        self.root = root
        self.nodes = nodes
        shutil.copytree(PACKAGE, root, ignore=shutil.ignore_patterns("*.pyc", "*.yaml", "_data"))
        self.before: dict[str, str] = {}

    def source_path(self, module: str) -> Path | None:
        """As `sources.source_path`, but of the copy; another package is not there."""
        if module.partition(".")[0] != "atlas_core":
            return None
        place = self.root.joinpath(*module.split(".")[1:])
        found = (place / "__init__.py", place.with_name(f"{place.name}.py"))
        return next((each for each in found if each.is_file()), None)

    def digests(self) -> dict[str, str]:
        code = Sources()
        return {name: code.digest(roots) for name, roots in self.nodes.items()}

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that stands in a file."""
        text = (self.root / file).read_text()
        assert old in text, f"{file} has no {old!r}"
        (self.root / file).write_text(text.replace(old, new, 1))

    def rewrite(self, change: Callable[[str], str]) -> None:
        """Change every file."""
        for file in self.root.rglob("*.py"):
            file.write_text(change(file.read_text()))

    def stale(self) -> set[str]:
        """Names of the nodes whose code has another digest than before."""
        return {name for name, digest in self.digests().items() if digest != self.before[name]}

    def stale_stages(self) -> set[str]:
        return {name.partition("/")[0] for name in self.stale()}


@pytest.fixture
def copy(finished: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EditedCopy:
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path / "home"))
    graph = build_graph(finished.study(methods=METHODS, supervisions=SUPERVISIONS), finished.placement)
    assert {node.stage for node in graph.nodes} == ALL
    made = EditedCopy(tmp_path / "copy" / "atlas_core", {node.name: node.roots for node in graph.nodes})
    monkeypatch.setattr(closure, "source_path", made.source_path)
    made.before = made.digests()
    return made


ROWS = [
    ("labels/base.py", '    ("one_hot", "one_hot:OneHot"', '    ("more", "more:More", "more"),\n'),
    ("methods/registry.py", '    ("coop", "coop:CoOp"', '    ("more", "more:More", "more"),\n'),
    ("stages/stage.py", '    ("tune", "tune:TUNE"', '    ("more", "more:MORE", "more"),\n'),
    ("datasets/readers/__init__.py", '    "image_folder": ', '    "more": "more",\n'),
    ("protocols/protocol.py", 'PROTOCOLS.add_lazy("few_shot"', 'PROTOCOLS.add_lazy("more", "m:m", "more")\n'),
    (
        "stages/image_inputs.py",
        'IMAGE_INPUTS.add_lazy("pixels"',
        'IMAGE_INPUTS.add_lazy("more", "m:m", "m")\n',
    ),
    ("results/columns.py", '        "run_id": ', '        "more": "more",\n'),
]


@pytest.mark.parametrize(("file", "before", "row"), ROWS)
def test_a_further_row_of_a_registry_makes_nothing_stale(
    file: str, before: str, row: str, copy: EditedCopy
) -> None:
    copy.edit(file, before, row + before)
    assert copy.stale() == set()


def test_words_and_annotations_make_nothing_stale(copy: EditedCopy) -> None:
    copy.edit("labels/config.py", 'f"supervision {data!r}"', 'f"the supervision {data!r}"')
    copy.edit("datasets/readers/base.py", "has no images", "is without images")
    copy.edit("backbone/load.py", "fix=", "fix='Other words. ' + ")
    copy.edit("training/loop.py", '"""Train a method in place.', '"""Train it.')
    copy.edit("stages/decoding_log.py", "10.0", "20.0")
    copy.edit("stages/tune.py", "def _run(context: StageContext) -> None:", "def _run(context):")
    copy.edit("methods/base.py", "def encoder(self) -> Encoder:", 'def encoder(self) -> "Encoder | None":')
    copy.edit("results/columns.py", "run that was evaluated", "the run that was evaluated")
    assert copy.stale() == set()


def test_an_error_s_words_in_every_file_make_nothing_stale(copy: EditedCopy) -> None:
    """Each string constant that stands alone as an argument of an AtlasError."""

    class Reword(ast.NodeTransformer):
        changed = 0

        def visit_Call(self, node: ast.Call) -> ast.Call:
            if isinstance(node.func, ast.Name) and node.func.id == "AtlasError":
                for keyword in node.keywords:
                    keyword.value = ast.Constant("Other words.")
                    Reword.changed += 1
            self.generic_visit(node)
            return node

    copy.rewrite(lambda text: ast.unparse(Reword().visit(ast.parse(text))))
    assert Reword.changed > 300
    assert copy.stale() == set()


def test_docstrings_comments_and_layout_of_every_file_make_nothing_stale(copy: EditedCopy) -> None:
    def without_words(text: str) -> str:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                kept = [each for each in node.body if not _is_docstring(each)]
                node.body = kept or [ast.Pass()]  # type: ignore[assignment]
        return ast.unparse(tree)

    copy.rewrite(without_words)
    assert copy.stale() == set()


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_the_order_of_imports_and_definitions_makes_nothing_stale(copy: EditedCopy) -> None:
    def reordered(text: str) -> str:
        tree = ast.parse(text)
        imports = [each for each in tree.body if isinstance(each, (ast.Import, ast.ImportFrom))]
        future = [
            each for each in imports if isinstance(each, ast.ImportFrom) and each.module == "__future__"
        ]
        functions = [
            each for each in tree.body if isinstance(each, ast.FunctionDef) and not each.decorator_list
        ]
        others = [each for each in tree.body if each not in imports and each not in functions]
        plain = [each for each in imports if each not in future][::-1]
        tree.body = [*future, *plain, *functions[::-1], *others]
        return ast.unparse(tree)

    copy.rewrite(reordered)
    assert copy.stale() == set()


def test_a_moved_module_makes_nothing_stale(copy: EditedCopy) -> None:
    for old, new in (
        ("training/randomness", "features/chance"),
        ("labels/soft_labels", "labels/offline"),
        ("stages/tune", "stages/training_run"),
        ("methods/prompts", "methods/contexts"),
    ):
        (copy.root / f"{old}.py").rename(copy.root / f"{new}.py")
        names = [f"atlas_core.{each.replace('/', '.')}" for each in (old, new)]
        copy.rewrite(lambda text, names=names: text.replace(*names))
        copy.nodes = {
            name: tuple(re.sub(rf"^{names[0]}:", f"{names[1]}:", each) for each in roots)
            for name, roots in copy.nodes.items()
        }
    assert copy.stale() == set()


def test_a_renamed_function_makes_nothing_stale(copy: EditedCopy) -> None:
    for old, new in (
        ("soft_cross_entropy", "distance_to_target"),
        ("chosen_items", "wanted_images"),
        ("_first_of_each_item", "_by_item"),
        ("SOFT_LABEL_FILE", "TABLE_OF_SOFT_LABELS"),
        ("few_shot_sample", "draw_shots"),
    ):
        copy.rewrite(lambda text, old=old, new=new: re.sub(rf"\b{old}\b", new, text))
    assert copy.stale() == set()


def test_a_renamed_local_variable_makes_nothing_stale(copy: EditedCopy) -> None:
    for old, new in (("log_probabilities", "scores"), ("hard", "sure")):
        copy.edit("labels/base.py", f"    {old} = ", f"    {new} = ")
        text = (copy.root / "labels/base.py").read_text()
        (copy.root / "labels/base.py").write_text(re.sub(rf"(?<![\w.])\b{old}\b(?!\w)", new, text))
    assert copy.stale() == set()


@pytest.mark.parametrize("table", ["RUNS", "METRICS", "ARTIFACTS"])
def test_a_further_column_makes_no_training_and_no_evaluation_stale(table: str, copy: EditedCopy) -> None:
    copy.edit(
        "results/schemas.py",
        f"{table} = pa.schema(\n    {{\n",
        f'{table} = pa.schema(\n    {{\n"more": _TEXT,\n',
    )
    assert copy.stale_stages() == {"aggregate"}


def test_a_further_table_makes_no_training_and_no_evaluation_stale(copy: EditedCopy) -> None:
    copy.edit(
        "results/schemas.py",
        '    "runs": RUNS,\n',
        '    "runs": RUNS,\n    "more": pa.schema({"run_id": _TEXT}),\n',
    )
    assert copy.stale_stages() == {"aggregate"}


def test_a_further_measure_makes_no_training_and_no_evaluation_stale(copy: EditedCopy) -> None:
    copy.edit("evaluation/measures.py", "    nll: float\n", "    nll: float\n    brier: float\n")
    copy.edit(
        "evaluation/measures.py", "        nll=", "        brier=accuracy(predictions) / 2,\n        nll="
    )
    copy.edit(
        "results/schemas.py", '        "nll": _FLOAT,\n', '        "nll": _FLOAT,\n        "brier": _FLOAT,\n'
    )
    assert copy.stale_stages() == {"aggregate"}


@pytest.mark.parametrize(
    ("file", "old", "new", "stages"),
    [
        ("labels/base.py", "return -(target", "return (target", {"tune"}),
        ("labels/soft_labels.py", "return out", "return out + 1", {"csl", "isl"}),
        ("training/recipe.py", "momentum: float = Field(0.9", "momentum: float = Field(0.8", {"tune"}),
        ("evaluation/predictions.py", "TOP = 5", "TOP = 4", {"evaluate"}),
        ("evaluation/measures.py", "CALIBRATION_BINS = 15", "CALIBRATION_BINS = 10", {"aggregate"}),
        ("datasets/few_shot.py", "MAX_VAL_SHOTS = 4", "MAX_VAL_SHOTS = 5", {"image_features", "pixels"}),
        ("datasets/automatic_split.py", "counts[largest] > 1", "counts[largest] > 2", {"fetch", "index"}),
        (
            "features/transforms.py",
            "range(_CROP_ATTEMPTS)",
            "range(_CROP_ATTEMPTS + 1)",
            {"image_features", "pixels"},
        ),
        ("stages/pixel_reader.py", "_CHUNK = 100", "_CHUNK = 50", {"tune", "evaluate"}),
    ],
)
def test_a_change_of_what_is_computed_makes_stale_what_computes_it(
    file: str, old: str, new: str, stages: set[str], copy: EditedCopy
) -> None:
    copy.edit(file, old, new)
    assert copy.stale_stages() == stages


@pytest.mark.parametrize(
    ("file", "old", "new", "concerned"),
    [
        ("labels/ols.py", "_counts > 0", "_counts > 1", "/ols/"),
        ("labels/csl.py", "required_mix(self.mix)", "1.0", "/atlas_csl/"),
        ("methods/cocoop.py", "super().__init__", "print(), super().__init__", "/cocoop/"),
        (
            "features/pixels.py",
            "def read_pixels",
            "X = 1\n\n\n@print\ndef read_pixels",
            "/(coprompt|promptsrc)/",
        ),
    ],
)
def test_only_trainings_that_run_the_code_become_stale(
    file: str, old: str, new: str, concerned: str, copy: EditedCopy
) -> None:
    copy.edit(file, old, new)
    stale = {name for name in copy.stale() if name.startswith("tune/")}
    assert stale == {name for name in copy.nodes if name.startswith("tune/") and re.search(concerned, name)}


def test_a_training_on_features_reaches_no_pixels_no_augmentation_and_no_other_tables(
    copy: EditedCopy,
) -> None:
    (name,) = [each for each in copy.nodes if each.startswith("tune/ponds") and "/coop/ols/" in each]
    reached = Sources().definitions(copy.nodes[name])
    assert not [
        each
        for each in reached
        if re.search(
            r"\.pixels:|pixel_reader|randaugment|transforms|datasets\.(readers|catalogue|items|fetch)|METRICS|RUNS",
            each,
        )
    ]
