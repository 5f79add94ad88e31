"""The report: content of the page, its numbers, and that it opens no connection."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import chromium
import little_games
import little_models
import numpy as np
import pytest
import torch
from environments import refused
from numpy.typing import NDArray

from rl_vae import VAE, Agent, Encoder, FrameDataset, VAEConfig, write_report
from rl_vae.agents.train import train_agent
from rl_vae.analysis.report import charts, page, parts
from rl_vae.analysis.report.comparison_folder import ComparisonFolder
from rl_vae.analysis.report.comparison_sections import comparison_sections
from rl_vae.analysis.report.explorer import PIXEL_TOLERANCE, live_policy
from rl_vae.analysis.report.program import Layer, Program, compress, decoder_layers
from rl_vae.analysis.report.render import render_page
from rl_vae.data.header import DatasetHeader
from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.models.networks import NETWORKS
from rl_vae.system import hashing, strict_json
from rl_vae.system.estimate import t_interval
from rl_vae.wrappers.history import History

pytestmark = pytest.mark.slow

EVIL = """</script><script>x=1</script><!--<img src=x onerror="boom()">&amp;'"""
needs_chromium = pytest.mark.skipif(
    chromium.CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"
)


def renamed(source: Path, target: Path, env_id: str, factor: str) -> Path:
    """A copy of a dataset with other names of the environment and of the first factor."""
    shutil.copytree(source, target)
    values = json.loads((target / "dataset.json").read_bytes())
    values["env_id"], values["factor_names"][0] = env_id, factor
    strict_json.write_json(target / "dataset.json", values)
    digest = hashing.digest(DatasetHeader.from_dict(values).to_dict())
    lines = strict_json.read_lines(target / "manifest.jsonl")
    (target / "manifest.jsonl").unlink()
    for line in lines:
        strict_json.append_line(target / "manifest.jsonl", {**line, "header_sha256": digest})
    return target


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> page.Report:
    """The report of two models and an agent, with names that hold markup."""
    folder = tmp_path_factory.mktemp("report")
    data = renamed(little_models.dataset(), folder / "data", EVIL, EVIL)
    twin = folder / "<b>&'\"<!--"
    shutil.copytree(little_models.model(), twin)
    models = [little_models.model(), twin]
    agent = little_models.agent("PPO")
    return write_report(folder / "page.html", models, data, agent=agent, progress=False)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    """Chromium with an empty page."""
    with chromium.browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def opened(browser: chromium.Browser, report: page.Report) -> chromium.Browser:
    """Chromium with the report, just opened."""
    browser.screen(1280, 900)
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(report.path)
    browser.drawn()
    return browser


def shown(browser: chromium.Browser) -> NDArray[np.uint8]:
    """(H, W, 3) pixels of the explorer's canvas."""
    canvas = 'document.querySelector("canvas")'
    values = browser.run(f"Array.from({canvas}.getContext('2d').getImageData(0, 0, 32, 32).data)")
    return np.array(values, np.uint8).reshape(32, 32, 4)[..., :3]


def drawn_by(vae: VAE, codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, H W C) pixels from 0 to 1, decoded by PyTorch."""
    with torch.no_grad():
        pixels = torch.sigmoid(vae.decode_logits(torch.from_numpy(codes)))  # (N, C, H, W)
    return pixels.permute(0, 2, 3, 1).flatten(1).numpy()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("shape", [(64, 64, 3), (36, 52, 1)])
def test_a_program_draws_what_its_decoder_draws(network: str, shape: tuple[int, int, int]) -> None:
    """The program of a decoder, of any network and size, gives the pixels of PyTorch."""
    torch.manual_seed(0)
    vae = VAE(VAEConfig(latent_dim=5, network=network), shape).eval()
    if vae.centred:
        vae.mean_frame.copy_(torch.rand(vae.mean_frame.shape))
    codes = np.random.default_rng(0).normal(0, 2, (8, 5)).astype(np.float32)
    pixels = Program(decoder_layers(vae)).run(codes)
    np.testing.assert_allclose(pixels, drawn_by(vae, codes), atol=2e-6)


def test_16_bits_only_if_nothing_changes() -> None:
    """Numbers have 16 bits if outputs stay within the tolerance, otherwise 32."""
    codes = np.random.default_rng(0).normal(size=(20, 3))
    weight = np.full((3, 2), 1 / 3)
    program, error = compress([Layer(weight, np.zeros(2))], codes, 1e-2)
    assert program.half and 0 < error <= 1e-2
    assert not compress([Layer(weight, np.zeros(2))], codes, 1e-9)[0].half
    large = compress([Layer(weight * 1e6, np.zeros(2))], codes, 1e9)  # no 16-bit number is so large
    assert not large[0].half and large[1] == 0


@needs_chromium
def test_the_picture_is_that_of_pytorch(opened: chromium.Browser) -> None:
    """For 100 random codes set by sliders, no pixel of the canvas is off by more than 1 of 255."""
    codes = np.random.default_rng(1).normal(size=(100, 4)).astype(np.float32)
    right = Encoder.load(little_models.model()).decode(codes).astype(int)
    set_sliders = """(code) => code.forEach((value, k) => {
        const slider = document.getElementById(`latent-${k}`);
        slider.value = value;
        slider.dispatchEvent(new Event("input"));
    })"""
    worst = 0
    for code, picture in zip(codes, right, strict=True):
        opened.run(f"({set_sliders})({json.dumps(code.tolist())})")
        opened.drawn()
        worst = max(worst, int(np.abs(shown(opened).astype(int) - picture).max()))
    assert worst <= 1
    assert len({picture.tobytes() for picture in right}) > 50  # codes do make a difference


@needs_chromium
@pytest.mark.parametrize("network", NETWORKS)
def test_the_script_decodes_every_network(opened: chromium.Browser, network: str) -> None:
    """The page's script decodes codes to within 1/255 of PyTorch, for any network."""
    torch.manual_seed(0)
    vae = VAE(VAEConfig(latent_dim=6, network=network), (36, 52, 3)).eval()
    codes = np.random.default_rng(2).normal(size=(20, 6)).astype(np.float32)
    program, _ = compress(decoder_layers(vae), codes, PIXEL_TOLERANCE)
    pixels = opened.run(
        f"(() => {{ const program = new Program({json.dumps(program.to_dict())});"
        f" return {json.dumps(codes.tolist())}.map((code) => Array.from(program.run(code))); }})()"
    )
    np.testing.assert_allclose(np.array(pixels), drawn_by(vae, codes), rtol=0, atol=1 / 255)


def train_variant(folder: Path, **changes: Any) -> Agent:
    """An agent of the small game by PPO, with other fields of the recipe."""
    recipe = replace(little_models.PPO, **changes)
    model = little_models.model()
    return Agent.load(
        train_agent(
            little_games.LINE, model, folder, recipe, evaluations=0, workers=1, progress=False
        ).path
    )


@needs_chromium
@pytest.mark.parametrize("algorithm", ["PPO", "SAC", "DQN", "PPO standardised"])
def test_the_action_is_the_agents(opened: chromium.Browser, algorithm: str, tmp_path: Path) -> None:
    """The action on the page is the action of the agent after a reset with the same code."""
    if algorithm == "PPO standardised":
        agent = train_variant(tmp_path / "agent", standardise=True)
    else:
        agent = Agent.load(little_models.agent(algorithm))
    codes = np.random.default_rng(3).normal(0, 2, (40, 4)).astype(np.float32)
    fields = agent.fields
    history = History(40, 4, agent.recipe.stack, agent.recipe.actions, agent.action_space)
    history.restart(np.arange(40), (codes - fields.code_mean) / fields.code_std)
    right = agent.predict(history.observation(), deterministic=True)[0]
    policy = live_policy(agent, codes.astype(np.float64))
    actions = np.array(
        opened.run(
            f"(() => {{ const policy = new Policy({json.dumps(policy)}), {{program}} = policy;"
            f" return {json.dumps(codes.tolist())}.map((code) =>"
            " policy.acts(program.finish(program.begin(code), 0, 0))); })()"
        )
    )
    if algorithm == "SAC":
        np.testing.assert_allclose(actions, right, atol=5e-3)
    else:
        top = np.sort(actions, axis=1)
        clear = top[:, -1] - top[:, -2] > 0.01 * np.ptp(actions)
        assert clear.sum() > 20
        assert (actions.argmax(1) == right)[clear].all()
    if algorithm.startswith("PPO"):
        np.testing.assert_allclose(actions.sum(1), 1, atol=1e-6)


@needs_chromium
def test_a_curve_is_what_the_slider_would_do(opened: chromium.Browser) -> None:
    """The curve of a latent at a value is the action when its slider has this value."""
    ahead, after = opened.run(
        """(() => {
            const { explorer } = rlVae, { policy } = explorer, row = explorer.rows[1];
            explorer.sums = policy.program.begin(explorer.code);
            const [value, action] = explorer.sweep(row, 6)[5];
            explorer.code[row.latent] = value;
            const sums = policy.program.begin(explorer.code);
            return [action, policy.acts(policy.program.finish(sums, 0, 0))];
        })()"""
    )
    np.testing.assert_allclose(ahead, after, atol=1e-5)


@needs_chromium
def test_keys_are_enough(opened: chromium.Browser) -> None:
    """Keys choose frames and move sliders, and the image and the action follow."""
    opened.run('document.querySelectorAll("[data-is=frames] button")[2].focus()')
    before = shown(opened)
    opened.press("Enter")
    assert opened.run('document.activeElement.getAttribute("aria-pressed")') == "true"
    chosen = shown(opened)
    assert (chosen != before).any()
    reached = []
    for _ in range(40):
        opened.press("Tab")
        reached.append(opened.run("document.activeElement.id"))
        if reached[-1].startswith("latent-"):
            break
    action = opened.run('document.querySelector("[data-is=action-bars]").textContent')
    value = opened.run("document.activeElement.valueAsNumber")
    for _ in range(20):
        opened.press("ArrowRight")
    assert opened.run("document.activeElement.valueAsNumber") > value
    assert (shown(opened) != chosen).any()
    assert opened.run('document.querySelector("[data-is=action-bars]").textContent') != action


@needs_chromium
def test_choosing_a_model(opened: chromium.Browser) -> None:
    """Choosing a model shows its sliders."""
    assert opened.run('document.querySelectorAll("#model option").length') == 2
    opened.run(
        """(() => { const list = document.getElementById("model");
            list.value = 1; list.dispatchEvent(new Event("change")); })()"""
    )
    opened.drawn()
    assert opened.run("rlVae.explorer.which") == 1
    assert opened.run('document.querySelectorAll(".latents input").length') == 4


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_the_page_opens_without_errors_or_connections(
    opened: chromium.Browser, report: page.Report, width: int, dark: bool
) -> None:
    """The page, opened and used, reports no error, opens no connection and fits the screen."""
    opened.screen(width, 800, dark=dark)
    opened.open(report.path)
    opened.drawn()
    opened.run('document.querySelectorAll("button").forEach((button) => button.click())')
    opened.run('document.querySelectorAll("details").forEach((part) => (part.open = true))')
    opened.drawn()
    outside = [url for url in opened.requests if not url.startswith(("data:", "file:"))]
    assert outside == [] and opened.complaints == []
    assert {url for url in opened.requests if url.startswith("file:")} == {report.path.as_uri()}
    assert opened.run("document.documentElement.scrollWidth") <= width
    light = opened.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", light)[:3])) < 200) == dark


@needs_chromium
def test_the_page_cannot_open_connections(opened: chromium.Browser) -> None:
    """A script in the page cannot reach a network."""
    tried = "fetch('https://example.org').then(() => 'reached', () => 'refused')"
    assert opened.run(tried) == "refused"
    assert any("Content Security Policy" in text for text in opened.complaints)


@needs_chromium
def test_names_stay_text(opened: chromium.Browser) -> None:
    """Markup in an environment id, a factor name or a folder name is shown as text."""
    assert opened.run('document.querySelector("h1").textContent') == EVIL
    assert opened.run('document.querySelectorAll("img[src=x], main b").length') == 0
    assert opened.run("typeof x") == "undefined"
    assert opened.run('document.querySelectorAll("script").length') == 2
    texts = opened.run('[...document.querySelectorAll("th")].map((entry) => entry.textContent)')
    assert EVIL in texts
    names = opened.run('[...document.querySelectorAll("option")].map((one) => one.textContent)')
    assert any(name.startswith("<b>&'\"<!--") for name in names)


@needs_chromium
def test_every_chart_has_its_numbers(opened: chromium.Browser) -> None:
    """Every chart has a table of its numbers, and a text for readers who cannot see it."""
    figures = opened.run(
        """[...document.querySelectorAll("figure:has(svg)")].map((figure) => [
            figure.querySelector("svg[role=img]").getAttribute("aria-label"),
            figure.querySelectorAll("details td").length])"""
    )
    assert len(figures) >= 5
    assert all(label and entries for label, entries in figures)


def test_the_page_is_one_small_file(report: page.Report) -> None:
    """The report is smaller than 5 MB, links to no address, and returns its figures."""
    content = report.path.read_text()
    assert report.size == report.path.stat().st_size < 5_000_000
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', content) == []
    assert len(report.explored) == 2 and report.error <= 0.5
    rates = [name for name in report.figures if name.endswith("_rate")]
    assert len(rates) == 2 and all(report.figures[f"{n}_low"] <= report.figures[n] for n in rates)


def test_decoders_that_do_not_fit_are_left_out(
    report: page.Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page without space for a decoder names the model, and keeps all other sections."""
    monkeypatch.setattr(page, "MAX_BYTES", 200_000)
    small = write_report(
        tmp_path / "page.html", [little_models.model()], little_models.dataset(), progress=False
    )
    content = small.path.read_text()
    assert small.explored == () and small.size < 200_000 < report.size
    assert "has no live decoder" in content and 'id="traversals"' in content
    assert 'id="explorer"' not in content


def test_what_is_not_live_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says which agent's action it does not show, and that a decoder with a user's network
    is not live."""
    agent = train_variant(tmp_path / "agent", code="mu_logvar")
    data = little_models.dataset()
    first = write_report(tmp_path / "1.html", (), data, agent=agent.path, progress=False)
    assert first.explored != () and "agent is not shown" in first.path.read_text()
    monkeypatch.setattr(page, "is_live", lambda encoder: False)
    second = write_report(tmp_path / "2.html", (), data, agent=agent.path, progress=False)
    text = second.path.read_text()
    assert second.explored == () and "built-in networks only" in text
    assert 'id="explorer"' not in text


def test_wrong_inputs_are_refused(tmp_path: Path, dataset: FrameDataset) -> None:
    """Inputs without a report raise an error before anything is measured."""
    model, frames = little_models.model(), little_models.dataset()
    with refused(ConfigError, ".html"):
        write_report(tmp_path / "page.pdf", [model], frames)
    with refused(ConfigError, "no model to report on"):
        write_report(tmp_path / "page.html", [], frames)
    with refused(ConfigError, "no frames", "--dataset"):
        write_report(tmp_path / "page.html", [model])
    with refused(ConfigError, "occurs twice"):
        write_report(tmp_path / "page.html", [model, model], frames)
    with refused(ObservationError, "do not fit the model"):
        write_report(tmp_path / "page.html", [model], dataset.path)
    with refused(FolderError, "no comparison"):
        write_report(tmp_path / "page.html", [model], frames, comparison=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_agent_of_another_model_is_refused(
    tmp_path: Path, dataset: FrameDataset, encoder: Encoder
) -> None:
    """An agent that observes the codes of another model is refused."""
    with refused(ConfigError, "codes of another model", "add the agent's model"):
        write_report(
            tmp_path / "page.html",
            [encoder.path],
            dataset.path,
            agent=little_models.agent("PPO"),
        )


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    """A folder as `rl-vae compare` writes it: two betas, pixels, two seeds."""
    path = tmp_path / "study"
    (path / "runs").mkdir(parents=True)
    systems = ["beta16", "pixels", "beta1"]
    shutil.copytree(little_models.dataset(), path / "scored")
    for seed in (0, 1):
        shutil.copytree(little_models.model(), path / "models" / f"beta1-seed{seed}")
    shutil.copytree(little_models.agent("PPO"), path / "agents" / "beta1-seed1")
    config = {
        "systems": systems,
        "betas": [16.0, 1.0],
        "seeds": [0, 1],
        "env_id": EVIL,
    }
    between = {"mean": 1.0, "low": 0.5, "high": 1.5}
    scores = {"rate": between, "distortion": between, "mig": {**between, "mean": None}}
    summary: dict[str, Any] = {
        "systems": {
            name: {
                "n": 2,
                "return": {"iqm": 3.0, "low": 1.0, "high": None, "mean": 3.0},
                "env_steps": 100,
                "seconds": 9.5,
                "scores": {} if name == "pixels" else scores,
            }
            for name in systems
        },
        "pairs": [{"a": "beta1", "b": "pixels", "probability": 0.5, "low": 0.1, "high": 0.9}],
        "correlations": {"codes": {"rate": {"rho": -0.5, "low": -1.0, "high": 0.5, "n": 4}}},
        "missing": ["beta16-seed1"],
        "conclusions": [EVIL, "Not finished: beta16-seed1"],
    }
    strict_json.write_json(path / "config.json", config)
    strict_json.write_json(path / "comparison.json", summary)
    for system in systems:
        for seed in (0, 1):
            run = {
                "system": system,
                "seed": seed,
                "return": 2.0,
                "returns": [1.0, 3.0],
                "agent_steps": 10,
                "pretraining_frames": 0,
                "seconds": {"agent": 1.0},
                "training_curve": [[0, seed], [10, seed + 2.0]],
                "curve": [],
                # The second seed is better.
                "scores": {"rate": 1.0 + seed, "distortion": 9.0 - 3 * seed, "mig": None},
            }
            if system == "pixels":
                run["scores"] = {}
            strict_json.write_json(path / "runs" / f"{system}-seed{seed}.json", run)
    return path


def test_a_comparison_needs_no_other_input(comparison: Path, tmp_path: Path) -> None:
    """A comparison provides models, frames, agents, returns, scores and correlations. The model is
    that of the best seed; betas are in numeric order; scores are means with Student's interval."""
    report = write_report(tmp_path / "page.html", comparison=comparison, progress=False)
    content = report.path.read_text()
    assert report.explored == ("beta1-seed1",)
    folder = ComparisonFolder(comparison)
    assert folder.systems == ["beta1", "beta16", "pixels"]
    low, high = t_interval([9.0, 6.0])[1:]
    assert f"<td>7.5<small>{low:.3g} to {high:.3g}</small></td>" in content
    for words in ("Return after training", "Training episodes", "beta1 &gt; pixels", "all codes"):
        assert words in content
    assert "Not finished: beta16-seed1" in content
    assert "onerror=" not in content.replace("onerror=&#34;", "")
    assert '"policy":{"kind":"shares"' in content
    mean = re.search(r"beta1</th><td>10</td><td>2.5</td>", content)
    assert mean is not None  # of the two seeds' 2 and 3


@pytest.mark.parametrize("name", ["comparison.json", "config.json", "runs/pixels-seed0.json"])
@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"systems": 3}'])
def test_a_damaged_comparison_is_refused(
    comparison: Path, tmp_path: Path, name: str, damage: bytes
) -> None:
    """The error about a damaged file of a comparison names the file or its folder."""
    (comparison / name).write_bytes(damage)
    with refused(FolderError, "study"):
        comparison_sections(ComparisonFolder(comparison))


def rendered(part: parts.Part) -> str:
    """The main part of a page with one part."""
    page = render_page("title", [parts.Section("a", "A", "", [parts.Group([part])])], {})
    return page[page.index("<main") : page.index("</main>")]


def test_charts_accept_all_numbers() -> None:
    """One value, equal values, and values that are missing or huge make a chart with axes."""
    for values in ([0.0], [5.0, 5.0], [1e-12, 2e-12], [-3e9, 4e9], [float("nan"), 1.0]):
        x = [float(k) for k in range(len(values))]
        lines = rendered(
            charts.line_chart("t", [charts.Line("a", x, values)], xlabel="x", ylabel="y")
        )
        assert "nan" not in lines.lower() and lines.count("<text") > 4
        intervals = [charts.Interval("a", value) for value in values]
        assert "nan" not in rendered(charts.interval_chart("t", intervals, xlabel="x")).lower()
    assert "nan" not in rendered(charts.heat_map("t", ["r"], ["c"], [[float("nan")]])).lower()


def test_all_parts_escape_names() -> None:
    """No name becomes markup, in no part of the page."""
    curve, interval = charts.Line(EVIL, [0, 1], [1, 2]), charts.Interval(EVIL, 1.0, 0.5, 1.5)
    evil: list[parts.Part] = [
        charts.line_chart(EVIL, [curve] * 2, xlabel=EVIL, ylabel=EVIL),
        charts.interval_chart(EVIL, [interval], xlabel=EVIL, caption=EVIL),
        charts.heat_map(EVIL, [EVIL], [EVIL], [[0.5]], caption=EVIL),
        parts.Table([EVIL, EVIL], [[parts.Noted(EVIL, EVIL), EVIL]], EVIL),
        parts.Facts(EVIL, [(EVIL, EVIL, EVIL)]),
        parts.Pictures([parts.Picture(EVIL, EVIL, EVIL)], EVIL),
        parts.Sentences(EVIL, [EVIL]),
        parts.Explorer([EVIL], 0.0, [EVIL]),
    ]
    for part in evil:
        html = rendered(part)
        assert "<script" not in html and "<img src=x" not in html and 'onerror="' not in html
        assert "onerror=" in html
