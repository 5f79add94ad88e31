"""Models of a report that differ only in their seed, and files that are saved from the page."""

import base64
import csv
import io
import json
import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import chromium
import little_models
import pytest

from rl_vae import write_report
from rl_vae.analysis.report import page, parts
from rl_vae.analysis.report.charts import Line, heat_map, line_chart
from rl_vae.analysis.report.downloads import csv_uri, file_name, latex_uri, svg_uri
from rl_vae.analysis.report.groups import Model, SeedGroup, make_groups
from rl_vae.analysis.report.measures import Measure, Measured
from rl_vae.models.config import VAEConfig
from rl_vae.system.estimate import t_interval

EVIL = '=1+1 \\input{x} <b> & 5% "q", \x1b'


def a_model(name: str, beta: float | None, seed: int, **numbers: float) -> Any:
    """A model with these measures, for the grouping alone."""
    objective = {"kind": "Beta", "beta": beta} if beta is not None else {"kind": "Capacity"}
    encoder = SimpleNamespace(
        provenance={"train": {"objective": objective, "seed": seed}, "dataset": "d"},
        vae_config=VAEConfig(latent_dim=4),
        spec=SimpleNamespace(to_dict=dict),
    )
    values = {"rate": 1.0, "distortion": 2.0, **numbers}
    measures = tuple(Measure(n, v, math.nan, math.nan, "") for n, v in values.items())
    measured: Any = Measured(measures, (), *[None] * 3)  # type: ignore[arg-type]
    return Model(name, encoder, None, measured)  # type: ignore[arg-type]


def test_seeds_are_grouped_in_the_order_of_beta() -> None:
    """A group has the models of one setting, in the order of seeds; groups are in the order of
    beta, others last; names have no seed; a seed has one marker in all groups."""
    names = ["beta16-seed1", "capacity", "beta4-seed1", "beta16-seed0", "beta4-seed7"]
    betas = [16.0, None, 4.0, 16.0, 4.0]
    models = [a_model(n, b, int(n[-1]) if b else 0) for n, b in zip(names, betas, strict=True)]
    groups = make_groups(models, {"beta16": 5})
    assert [group.name for group in groups] == ["beta4", "beta16", "capacity"]
    assert [[m.seed for m in group.models] for group in groups] == [[1, 7], [0, 1], [0]]
    assert [group.markers for group in groups] == [(1, 2), (0, 1), (0,)]
    assert groups[1].colour == 5 and len({group.colour for group in groups}) == 3
    assert [group.title for group in groups] == ["beta4, 2 seeds", "beta16, 2 seeds", "capacity"]


def test_a_repeated_seed_is_no_group() -> None:
    """Two folders with the same settings and the same seed are no two seeds, and have two names."""
    groups = make_groups([a_model("a", 4.0, 0), a_model("b", 4.0, 0)], {})
    assert [group.name for group in groups] == ["a", "b"]
    named = make_groups([a_model(f"m{k}", 4.0, k % 2) for k in range(4)], {})
    assert [group.name for group in named] == ["beta 4", "beta 4 (2)"]


def test_a_group_has_the_mean_and_the_best_seed() -> None:
    """A measure of a group is the mean with Student's interval; undefined scores are left out; the
    best seed has the lowest distortion plus beta times rate."""
    models = [
        a_model("x-seed0", 4.0, 0, rate=10.0, distortion=10.0, mig=0.2),
        a_model("x-seed1", 4.0, 1, rate=1.0, distortion=40.0, mig=0.4),
        a_model("x-seed2", 4.0, 2, rate=math.nan, distortion=math.nan, mig=math.nan),
    ]
    (group,) = make_groups(models, {})
    assert isinstance(group, SeedGroup) and group.best is models[1]
    assert group.measure("mig")[1:4] == pytest.approx(t_interval([0.2, 0.4]))


def content_of(uri: str) -> str:
    head, _, content = uri.partition(";base64,")
    assert head.startswith("data:")
    return base64.b64decode(content).decode()


TABLE = parts.Table(
    ["", "score & more", "n"],
    [
        [EVIL, parts.Bounded(1 / 3, 0.25, 0.5), 3],
        [parts.Noted("b", "note"), parts.Bounded(math.nan, math.nan, math.nan), 4.5],
    ],
    "A title: of 2",
)


def test_tables_are_saved_as_csv() -> None:
    """CSV has full precision, bounds in columns, empty cells for what is not defined, and no text
    that a spreadsheet would run."""
    rows = list(csv.reader(io.StringIO(content_of(csv_uri(TABLE)))))
    assert rows[0] == ["", "score & more", "score & more, low", "score & more, high", "n"]
    assert rows[1][0].startswith("'=1+1") and "\x1b" not in rows[1][0]
    assert [float(cell) for cell in rows[1][1:]] == [1 / 3, 0.25, 0.5, 3]
    assert rows[2] == ["b", "", "", "", "4.5"]
    assert file_name(TABLE.title, ".csv") == "a-title-of-2.csv"


def test_tables_are_saved_as_latex() -> None:
    """LaTeX has one line for each row, and escapes what would be a command."""
    text = content_of(latex_uri(TABLE))
    assert text.count(r"\\" + "\n") == 3 and r"\begin{tabular}{lrr}" in text
    assert r"\textbackslash{}input\{x\} <b> \& 5\%" in text
    assert "0.333 (0.25 to 0.5)" in text and "not defined" in text


def test_heat_maps_have_a_scale() -> None:
    """Below a heat map is a bar from 0 to the largest value, with three numbers."""
    chart = heat_map("t", ["r"], ["z0"], [[1.5]], top=3.0)
    texts = re.findall(r">([^<>]+)</text>", str(chart.svg))
    assert texts[-3:] == ["0", "1.5", "3"] and str(chart.svg).count('class="heat"') == 21


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> page.Report:
    """The report of three copies of a model: two seeds of one beta, and a larger beta."""
    folder = tmp_path_factory.mktemp("seeds")
    with pytest.MonkeyPatch.context() as patch:
        # Copies: models that differ take seconds to train.
        patch.setattr(Model, "seed", property(lambda model: int(model.name[-1])))
        settings = "rl_vae.analysis.report.groups._settings"
        patch.setattr(settings, lambda encoder: encoder.path.name.partition("-")[0])
        for name in ("beta4-seed1", "beta16-seed0", "beta4-seed0"):
            shutil.copytree(little_models.model(), folder / name)
        models = [folder / name for name in ("beta4-seed1", "beta16-seed0", "beta4-seed0")]
        data = little_models.dataset()
        return write_report(folder / "page.html", models, data, progress=False)


def test_the_best_seeds_keep_their_decoders(
    seeds: page.Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If not all decoders fit, those of the best seed of each group are in the page."""
    assert seeds.explored == ("beta16-seed0", "beta4-seed0", "beta4-seed1")
    text = seeds.path.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])  # type: ignore[index]
    size = len(json.dumps(data["models"][0], separators=(",", ":")))
    monkeypatch.setattr(page, "MAX_BYTES", seeds.size - size // 2)
    monkeypatch.setattr(Model, "seed", property(lambda model: int(model.name[-1])))
    settings = "rl_vae.analysis.report.groups._settings"
    monkeypatch.setattr(settings, lambda encoder: encoder.path.name.partition("-")[0])
    models = [seeds.path.with_name(name) for name in seeds.explored]
    data_set = little_models.dataset()
    small = write_report(tmp_path / "page.html", models, data_set, progress=False)
    assert small.explored == ("beta16-seed0", "beta4-seed0")


@pytest.mark.skipif(chromium.CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_of_seeds(seeds: page.Report, tmp_path: Path) -> None:
    """On a phone the wide table says that it goes on; every table and chart can be saved, and a
    saved chart is an SVG that is drawn by itself, without a request or an error."""
    with chromium.browser(tmp_path / "profile") as browser:
        browser.screen(390, 800)
        browser.open(seeds.path)
        rows = browser.run("[...document.querySelectorAll('#metrics ~ .card tbody th')]"
                           ".map((cell) => cell.textContent)")  # fmt: skip
        assert rows[:2] == ["beta16-seed0", "beta4, 2 seeds"]
        assert browser.run("!document.querySelector('#metrics ~ .card .more').hidden")
        counts = browser.run("['table', 'figure', 'a[download$=csv]', 'a[download$=tex]',"
                             "'a[download$=svg]'].map((s) => document.querySelectorAll("
                             "`main ${s}:not(.explorer *):not(.pair *)`).length)")  # fmt: skip
        assert counts[0] == counts[2] == counts[3] > 4 and counts[1] == counts[4] > 4
        link = browser.run("document.querySelector('a[download$=svg]').href")
        chart = tmp_path / "chart.svg"
        chart.write_text(content_of(link))
        browser.complaints.clear()
        browser.open(chart)
        assert browser.run("document.documentElement.nodeName") == "svg"
        style = "getComputedStyle(document.querySelector('.grid')).stroke"
        assert browser.run(style) == "rgb(226, 226, 222)" and browser.complaints == []


def test_marks_differ_in_form() -> None:
    """Marks of seven seeds have seven forms, in the colour that was asked for."""
    lines = [Line("a", [1.0], [2.0], colour=3, marks=True, marker=k) for k in range(7)]
    svg = str(line_chart("t", lines, xlabel="x", ylabel="y").svg)
    forms = re.findall(r"<(circle|path) class=\"point c3[^>]*?(?: d=\"([^\"]*)\")?/>", svg)
    assert len(forms) == 7 and len({form for _, form in forms}) == 7
    assert svg_uri(line_chart("t", lines, xlabel="x", ylabel="y").svg, "").startswith("data:image")
