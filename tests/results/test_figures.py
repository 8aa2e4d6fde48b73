"""Figures draw the numbers of the views, in colours that everybody can tell apart, as files and inside pages."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from atlas_core.errors import AtlasError
from atlas_core.results.case_study import soft_label_figure, top_classes
from atlas_core.results.database import connect, query
from atlas_core.results.figure_style import _SOURCES, DARK, INK, LIGHT, inline_svg, save_figure, stroke
from atlas_core.results.figures import FIGURES, available_figures, build_figure

SUPERVISIONS = (
    "none", "one_hot", "ls", "tfkd", "tfkd_self", "ols", "csl", "isl",
    "atlas_csl", "atlas_isl", "atlas_ols", "atlas_ls", "atlas_tfkd",
)  # fmt: skip
# Machado et al. (2009), severity 1.0, in linear RGB.
DEFICIENCIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_written_as_svg_and_png(con, tmp_path, name):
    vector, raster = save_figure(lambda: build_figure(name, con), tmp_path / "deep" / name)
    assert ElementTree.parse(vector).getroot().tag.endswith("svg")
    picture = np.asarray(Image.open(raster).convert("L"))
    assert picture.shape[1] >= 900
    assert picture.std() > 5, "the picture is blank"


@pytest.mark.parametrize("name", ["supervision-comparison", "runtime"])
def test_the_same_results_give_the_same_bytes(con, tmp_path, name):
    first, again = (
        [path.read_bytes() for path in save_figure(lambda: build_figure(name, con), tmp_path / folder / name)]
        for folder in ("a", "b")
    )
    assert first == again


@pytest.mark.parametrize("name", FIGURES)
def test_inline_figures_follow_the_page_and_load_nothing(con, name):
    svg = inline_svg(lambda: build_figure(name, con), f"figure-{name}")
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert all(each.startswith(f"figure-{name}-") for each in ids)
    assert {each.removeprefix("#") for each in re.findall(r'href="([^"]+)"', svg)} <= set(ids)
    assert "currentColor" in svg
    assert "<text" in svg
    assert "#010203" not in svg


def test_the_comparison_shows_the_new_accuracy_of_every_supervision(con):
    figure = build_figure("supervision-comparison", con)
    panel = figure.axes[0]
    handles, labels = panel.get_legend_handles_labels()
    assert labels == ["zero-shot CLIP", "one-hot", "LS", "CSL", "ATLaS CSL", "ATLaS ISL"]
    drawn = handles[labels.index("ATLaS CSL")].lines[0].get_ydata()
    rows = query(
        con,
        "SELECT dataset, new FROM base_to_new WHERE method = 'coop' AND supervision = 'atlas_csl' "
        "AND period = 5 AND mix = 1 AND temperature IS NULL ORDER BY dataset = 'average', dataset",
    ).to_pylist()
    assert drawn == pytest.approx([row["new"] for row in rows])


def test_few_shot_curves_run_over_the_shots(con):
    panel = build_figure("few-shot", con).axes[0]
    handles, labels = panel.get_legend_handles_labels()
    line = handles[labels.index("one-hot")].lines[0]
    rows = query(
        con,
        "SELECT shots, accuracy FROM few_shot WHERE dataset = 'average' AND supervision = 'one_hot' ORDER BY shots",
    ).to_pylist()
    assert list(line.get_xdata()) == [row["shots"] for row in rows] == [1, 2, 4]
    assert line.get_ydata() == pytest.approx([row["accuracy"] for row in rows])


def test_the_ablation_runs_from_the_source_alone_to_one_hot(con):
    panel = build_figure("ablation", con).axes[0]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["1", "2", "5", "∞"]
    (line,) = [line for line in panel.get_lines() if line.get_label() == "H"]
    averages = query(
        con, "SELECT supervision, period, h FROM base_to_new WHERE dataset = 'average' AND method = 'coop'"
    )
    h = {(row["supervision"], row["period"]): row["h"] for row in averages.to_pylist()}
    assert line.get_ydata()[[0, 3]] == pytest.approx([h["csl", None], h["one_hot", None]])


def test_reliability_bars_are_the_accuracy_of_each_bin(con):
    panel = build_figure("reliability", con).axes[1]
    bars = {round(bar.get_x() * 15) + 1: bar.get_height() for bar in panel.patches}
    rows = query(
        con,
        "SELECT bin, sum(count * accuracy) / sum(count) AS accuracy FROM calibration WHERE protocol = 'base_to_new' "
        "AND subset = 'new' AND method = 'coop' AND supervision = 'one_hot' GROUP BY bin",
    ).to_pylist()
    assert bars == pytest.approx({row["bin"]: row["accuracy"] for row in rows})


def test_training_curves_mark_the_epochs_with_soft_targets(con):
    panel = build_figure("training-curves", con).axes[0]
    lines = {line.get_label(): line for line in panel.get_lines()}
    epochs = lines["ATLaS CSL"].get_xdata()
    assert [epochs[k] for k in lines["ATLaS CSL"].get_markevery()] == [5, 10]
    assert lines["CSL"].get_markevery() == []


def test_results_that_a_figure_lacks_are_named(tmp_path):
    empty = connect(tmp_path)
    assert available_figures(empty) == []
    with pytest.raises(AtlasError, match="no results for the figure 'few-shot'"):
        build_figure("few-shot", empty)
    with pytest.raises(AtlasError, match="did you mean 'few-shot'"):
        build_figure("fewshot", empty)


def test_every_figure_can_be_filled_by_the_benchmark(con):
    assert available_figures(con) == list(FIGURES)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_differ_for_colour_blind_readers(deficiency):
    colors = sorted({color for color, _ in _SOURCES.values() if color != INK} | {LIGHT.ink})
    seen = {color: lab(np.clip(np.array(DEFICIENCIES[deficiency]) @ linear(color), 0, 1)) for color in colors}
    for one, other in itertools.combinations(colors, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 12, (one, other)


def test_no_two_supervisions_look_the_same():
    with matplotlib.rc_context(LIGHT.settings()):
        looks = [stroke(name) for name in SUPERVISIONS]
    assert len(set(looks)) == len(looks)


def linear(color):
    srgb = np.array(matplotlib.colors.to_rgb(color))
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* (D65) of linear RGB."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    f = np.cbrt(xyz / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    return {
        "images": [rng.random((8, 8, 3)), (255 * rng.random((9, 5))).astype(np.uint8)],
        "labels": [0, 6],
        "class_names": [f"class {k}" for k in range(7)],
        "csl": rng.dirichlet(np.ones(7), 2),
        "isl": rng.dirichlet(np.ones(7), 2),
    }


def test_the_case_study_shows_an_image_beside_its_two_soft_labels(case, tmp_path):
    paths = save_figure(lambda: soft_label_figure(**case), tmp_path / "case", DARK)
    assert all(path.stat().st_size > 5000 for path in paths)
    with matplotlib.rc_context(LIGHT.settings()):
        figure = soft_label_figure(**case)
    panel = figure.axes[4]
    classes = top_classes(case["csl"][1], 6, 5)
    assert [text.get_text() for text in panel.get_yticklabels()] == [f"class {k}" for k in classes]
    assert [bar.get_width() for bar in panel.patches] == pytest.approx(list(case["csl"][1][classes]))
    assert "class 6" in [text.get_text() for text in panel.get_yticklabels()]


def test_the_true_class_is_always_among_the_bars():
    distribution = np.array([0.4, 0.3, 0.2, 0.1, 0.0])
    assert top_classes(distribution, 1, 3) == [0, 1, 2]
    assert top_classes(distribution, 4, 3) == [0, 1, 4]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": [0]}, "1 labels for 2 images"),
        ({"csl": np.ones((2, 6)) / 6}, r"csl of shape \(2, 6\)"),
        ({"isl": np.ones((2, 7))}, "rows of isl that are no distributions"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(case, change, says):
    with pytest.raises(AtlasError, match=says):
        soft_label_figure(**{**case, **change})
