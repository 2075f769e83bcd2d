"""``playpen report``: the numbers, the three formats, and what models say in them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.core.command_line import good, playpen, refused
from tests.core.made_runs import (
    GAME,
    HOSTILE_TEXT,
    OVERRIDE,
    append,
    episode,
    every_kind,
    logs,
    mixed,
    write_run,
    write_training,
)

from playpen.conversation import Reply, TokenTrace
from playpen.episode import Episode, Failure, Said
from playpen.failure_reasons import Reason, reasons
from playpen.moves import Abort, Lose, Success
from playpen.plugins import get_game
from playpen.report.markdown import to_markdown
from playpen.report.records import row_of, transcript_of
from playpen.report.sources import distinct_names, read_sources
from playpen.report.summary import Estimate, Summary, summarise
from playpen.scoring import results_of
from playpen.statistics import compare
from playpen.store import Run


def summary_of(*paths: Path) -> Summary:
    return summarise(read_sources(paths))


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.shown: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._open: dict[str, str | None] | None = None
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._open = dict(attrs)
            self.scripts.append((self._open, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        else:
            self.shown.append(data)


def page_of(tmp_path: Path, *runs: Path) -> Page:
    good("report", *runs, "-o", tmp_path / "report.html")
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


# --- numbers -------------------------------------------------------------------------------------


def test_reasons_are_counted_by_game_role_and_rule() -> None:
    def abort(number: int, code: str, role: str | None) -> Episode:
        return episode(number, Abort(code, "words", role))

    found = reasons([
        abort(0, "tag", "guesser"), abort(1, "tag", "guesser"), abort(2, "tag", "giver"),
        abort(3, "limit", None), episode(4, Lose(fault="giver")), episode(5, Lose()),
        episode(6, Success()), episode(7, failure=Failure("PlayerError", "gone")),
    ])  # fmt: skip
    assert found[0] == Reason(GAME, "abort", "guesser", "tag", 2)
    assert set(found[1:]) == {
        Reason(GAME, "abort", "giver", "tag", 1), Reason(GAME, "abort", None, "limit", 1),
        Reason(GAME, "lose", "giver", "", 1), Reason(GAME, "lose", None, "", 1),
    }  # fmt: skip


def test_the_scores_are_those_of_playpen_score_with_intervals(tmp_path: Path) -> None:
    good("play", "taboo", "-p", "program:tests.core.test_compare:careless", "-n", "12", "-o",
         tmp_path / "run")  # fmt: skip
    scored = json.loads(good("score", tmp_path / "run", "--json"))
    [run] = summary_of(tmp_path / "run").runs
    [panel] = run.panels
    for name in ("played", "quality", "clemscore"):
        estimate = getattr(panel.scores, name)
        assert estimate.value == scored[name]
        assert estimate.low <= estimate.value <= estimate.high
    assert panel.scores.played.low < panel.scores.played.high
    assert (panel.name, panel.official) == ("dialogue games", False)
    assert panel.over.endswith("(validation), rules 2.0")
    [game] = run.games
    assert (game.game, game.success, game.lose, game.aborted) == (
        "taboo", *(scored["games"][0][name] for name in ("success", "lose", "aborted")),
    )  # fmt: skip
    assert run.complete and run.coverage.played == run.coverage.planned == 12


def test_runs_are_compared_with_the_first_one(tmp_path: Path) -> None:
    for name in ("silent", "careless"):
        good("play", "taboo", "-p", f"program:tests.core.test_compare:{name}", "-n", "9", "-o",
             tmp_path / name)  # fmt: skip
    [comparison] = summary_of(tmp_path / "careless", tmp_path / "silent").comparisons
    games = {"taboo": get_game("taboo")}
    expected = compare(*(
        results_of(Run.open(tmp_path / name).episodes(), games) for name in ("careless", "silent")
    ))  # fmt: skip
    assert (comparison.first, comparison.second) == ("careless", "silent")
    [gain] = comparison.gains
    assert (gain.difference.value, gain.p, gain.format, gain.instances) == (
        expected[0].difference.value, expected[0].p, expected[0].format, 9,
    )  # fmt: skip


def test_what_one_pair_cannot_tell_is_a_dash(tmp_path: Path) -> None:
    for name in ("silent", "careless"):
        good("play", "taboo", "-p", f"program:tests.core.test_compare:{name}", "-n", "1", "-o",
             tmp_path / name)  # fmt: skip
    runs = (tmp_path / "silent", tmp_path / "careless")
    summary = summary_of(*runs)
    [gain] = summary.comparisons[0].gains
    assert (gain.difference.low, gain.difference.high) == (None, None)
    assert {gain.p, gain.p_holm, gain.detectable, gain.format, gain.skill} == {None}
    scores = summary.runs[0].panels[0].scores
    assert (scores.quality, scores.clemscore) == (Estimate(), Estimate())
    [row] = [line for line in to_markdown(summary).splitlines() if line.startswith("| taboo | 1 |")]
    assert row.split(" | ")[2:] == ["+0.00", "-", "-", "-", "- |"]
    shown = " ".join(" ".join(page_of(tmp_path, *runs).shown).split())
    assert "taboo 1 +0.0 - - - -" in shown and "None" not in shown and "nan" not in shown


def test_runs_without_a_common_instance_are_told(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [episode(0)])
    other = write_run(tmp_path / "other", [episode(1)], planned=2)
    assert "no instance in common" in good("report", one, other, "--format", "markdown")
    assert "no instance in common" in "".join(page_of(tmp_path, one, other).shown)


def test_an_incomplete_run_is_marked_in_every_format(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", mixed(4), planned=7)
    told = json.loads(good("report", run, "--format", "json"))["runs"][0]
    assert told["complete"] is False
    assert (told["coverage"]["planned"], told["coverage"]["missing"]) == (7, 3)
    markdown = good("report", run, "--format", "markdown")
    assert "(incomplete)" in markdown and "4 of 7" in markdown
    shown = "".join(page_of(tmp_path, run).shown)
    assert "incomplete" in shown and "4 of 7" in shown
    assert "incomplete" not in good(
        "report", write_run(tmp_path / "whole", mixed(4)), "--format", "markdown"
    )


def test_an_episode_that_failed_and_was_tried_again_counts_once(tmp_path: Path) -> None:
    lost = Failure("PlayerError", "the server is gone")
    run = write_run(
        tmp_path / "run",
        [
            episode(0, failure=lost),
            episode(0, attempts=2),
            episode(1, failure=lost),
            episode(1, failure=lost, attempts=2),
        ],
    )
    [found] = read_sources([run]).runs
    assert [(one.instance_id, one.attempts) for one in found.episodes] == [(0, 2), (1, 2)]
    [told] = summary_of(run).runs
    assert (told.coverage.played, told.coverage.errored, told.coverage.missing) == (1, 1, 0)
    assert not told.complete


def test_a_game_that_is_not_installed_is_scored_by_its_outcomes(tmp_path: Path) -> None:
    [run] = summary_of(write_run(tmp_path / "run", mixed(6))).runs
    assert run.panels[0].scores.played.value == 66.67
    assert run.panels[0].scores.mean.value == pytest.approx(80 / 3)
    assert [note for note in run.notes if GAME in note]


def test_a_run_of_aborts_only_has_no_quality(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [episode(n, Abort("tag", "no tag")) for n in range(3)])
    [told] = summary_of(run).runs
    scores = told.panels[0].scores
    assert (scores.played.value, scores.quality.value) == (0, None)
    assert scores.mean.value == 0
    good("report", run, "-o", tmp_path / "page.html")


def test_a_run_without_episodes_has_no_scores(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [], planned=3)
    [told] = summary_of(run).runs
    assert told.panels[0].scores.clemscore.value is None
    assert told.coverage.missing == 3
    assert "0 of 3" in "".join(page_of(tmp_path, run).shown)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/run"], ["run"]),
        (["a/run", "b/run"], ["a/run", "b/run"]),
        (["a/run", "a/other"], ["run", "other"]),
        (["a/run", "a/run"], ["run", "run (2)"]),
        (["a/x/run", "b/x/run", "b/y"], ["a/x/run", "b/x/run", "y"]),
    ],
)
def test_runs_are_named_so_that_they_differ(paths: list[str], names: list[str]) -> None:
    assert distinct_names([Path("/somewhere") / path for path in paths]) == names


def test_the_json_is_the_summary(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", mixed(6))
    training = write_training(tmp_path / "training", logs())
    text = good("report", run, training, "--format", "json")
    told = msgspec.json.decode(text, type=Summary)
    again = summary_of(run, training)
    assert msgspec.structs.replace(told, made="") == msgspec.structs.replace(again, made="")
    good("report", run, training, "--format", "json", "-o", tmp_path / "deep" / "report.json")
    written = msgspec.json.decode((tmp_path / "deep" / "report.json").read_bytes(), type=Summary)
    assert msgspec.structs.replace(written, made="") == msgspec.structs.replace(again, made="")


# --- what cannot be read -------------------------------------------------------------------------


def test_an_evaluation_is_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, games in (("before", "taboo"), ("after", "taboo,wordle")):
        good("eval", "program:oracle", "--games", games, "-o", name)
        good("eval", "program:oracle", "--suite", "static-1.0", "-o", name)
    summary = summary_of(Path("before"), Path("after"))
    assert [run.name for run in summary.runs] == ["before", "after"]
    assert {"taboo", "wordle", "cladder"} <= {game.game for game in summary.runs[1].games}
    assert all(run.complete for run in summary.runs)
    [comparison] = summary.comparisons
    assert {"taboo", "cladder"} <= {gain.game for gain in comparison.gains}
    good("report", "before", "after", "-o", "report.html")


def test_a_damaged_run_is_named_and_does_not_take_others_down(tmp_path: Path) -> None:
    whole = write_run(tmp_path / "whole", mixed(3))
    damaged = write_run(tmp_path / "damaged", mixed(3))
    file = damaged / "episodes.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"game"', b'"gam', 1))
    for kind in ("html", "markdown", "json"):
        result = playpen("report", damaged, whole, "--format", kind, "-o", tmp_path / kind)
        assert result.code == 3
        assert f"Not read: {file}, line 1: damaged" in result.err
        content = (tmp_path / kind).read_text(encoding="utf-8")
        assert "whole" in content
        assert "line 1" in content
    shown = refused("report", damaged, "-o", tmp_path / "none")
    assert "line 1: damaged" in shown
    assert not (tmp_path / "none").exists()


def test_a_name_that_is_no_text_is_shown_all_the_same(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", mixed(3)).rename(tmp_path / os.fsdecode(b"x\xff"))
    assert "x\ufffd" in good("report", run, "--format", "json")
    assert "x\ufffd" in "".join(page_of(tmp_path, run).shown)
    (run / "run.json").write_text("{", encoding="utf-8")
    whole = write_run(tmp_path / "whole", mixed(3))
    assert playpen("report", run, whole, "-o", tmp_path / "page.html").code == 3


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    assert "no run.json" in refused("report", tmp_path, "--format", "json")
    assert "does not exist" in refused("report", tmp_path / "nowhere", "--format", "json")


@pytest.mark.parametrize(
    ("kind", "module", "needed"),
    [("html", "page", "matplotlib and jinja2"), ("json", "summary", "numpy")],
)
def test_what_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str, needed: str
) -> None:
    run = write_run(tmp_path / "run", mixed(3))
    monkeypatch.setitem(sys.modules, f"playpen.report.{module}", None)
    result = playpen("report", run, "--format", kind, "-o", tmp_path / "out")
    assert result.code == 1
    assert f"a report needs {needed} (" in result.err
    assert 'pip install "playpen-core[report]"' in result.err


def test_a_page_needs_a_file(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", mixed(3))
    assert "-o report.html" in refused("report", run)
    assert "cannot be written" in refused("report", run, "-o", run / "run.json" / "page.html")


# --- trainings -----------------------------------------------------------------------------------


def test_the_curves_of_a_training(tmp_path: Path) -> None:
    path = write_training(tmp_path / "training", [*logs(), {"step": 21, "loss": None}])
    with (path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 22, "lo')  # it is still being written
    [training] = summary_of(path).trainings
    assert (training.trainer, training.learner, training.steps) == ("sft", "hf:some/model", 20)
    assert training.curves["eval/success"] == [(0, 0.1), (10, 0.5), (20, 1.0)]
    assert len(training.curves["loss"]) == 20
    assert "note" not in training.curves
    page = page_of(tmp_path, path)
    figures = [attributes["aria-label"] for tag, attributes in page.elements if tag == "svg"]
    assert figures == [
        "loss by step", "reward by step", "success by step",
        "score on validation instances by step",
    ]  # fmt: skip
    assert "eval/success" in good("report", path, "--format", "markdown")


def test_what_belongs_together_is_one_figure(tmp_path: Path) -> None:
    one = {"success": 0.5, "success/a": 0.5, "eval/success": 0.4}
    many = {"success": 0.5, "eval/success": 0.4, **{f"success/{n}": 0.5 for n in range(9)}}
    told = []
    for name, values in (("one", one), ("many", many)):
        path = write_training(tmp_path / name, ({"step": s, **values} for s in range(100)))
        page_of(tmp_path, path)
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        [figure] = re.findall(r"<svg .*?</svg>", page, re.DOTALL)
        told.append(set(re.findall(r">((?:eval/)?success[^<]*)<", figure)))
    # The curve of a single game would be that of all games once more; of many, some are drawn.
    assert told[0] == {"success", "eval/success"}
    assert told[1] == {"success", "eval/success", *(f"success/{n}" for n in range(4))}


def test_a_damaged_training_is_named(tmp_path: Path) -> None:
    path = write_training(tmp_path / "training", logs())
    with (path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write("nonsense\n")
    assert "metrics.jsonl, line 24: damaged" in refused("report", path, "--format", "json")
    (path / "train.json").write_text("{}", encoding="utf-8")
    assert "train.json: damaged" in refused("report", path, "--format", "json")


# --- the page ------------------------------------------------------------------------------------


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, mixed(6, better=name == "b")) for name in ("a", "b")]
    page = page_of(tmp_path, *runs, write_training(tmp_path / "training", logs()))
    for _tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:")), attributes
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'")
    running = [text for attributes, text in page.scripts if not attributes]
    assert len(running) == 1
    digest = base64.b64encode(hashlib.sha256(running[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def hostile_run(path: Path) -> Path:
    """A run whose every text is hostile: what models said, and the names of everything."""
    said = [
        episode(0, text=HOSTILE_TEXT, prompt=HOSTILE_TEXT),
        episode(1, Abort(HOSTILE_TEXT, HOSTILE_TEXT, HOSTILE_TEXT)),
        episode(2, failure=Failure(HOSTILE_TEXT, HOSTILE_TEXT, HOSTILE_TEXT)),
        episode(3, players={HOSTILE_TEXT: HOSTILE_TEXT}),
        every_kind(4),
    ]
    said.append(msgspec.structs.replace(episode(5), game=HOSTILE_TEXT))
    return write_run(path, said)


def test_what_models_say_is_never_markup(tmp_path: Path) -> None:
    run = hostile_run(tmp_path / "<b>run & $x$")
    page = page_of(tmp_path, run, run)
    content = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "window.stolen" not in "".join(text for _, text in page.scripts)
    assert {tag for tag, _ in page.elements} & {"img", "b", "iframe"} == set()
    for _tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
    assert [attributes.get("id") or attributes.get("class") for attributes, _ in page.scripts] == [
        "settings", "rows", "piece", None,
    ]  # fmt: skip
    # It is to be seen, though, as text that turns nothing.
    assert "<script>window.stolen = 1</script>" in "".join(page.shown)
    assert not set(content) & set("\u202e\u2066\x1b\x00")


def test_what_models_say_is_no_markdown(tmp_path: Path) -> None:
    run = hostile_run(tmp_path / "a|b `code` [link](x)")
    text = good("report", run, "--format", "markdown")
    assert "<script" not in text.replace("\\<script", "")
    assert "[link](" not in text
    assert not set(text) & set(OVERRIDE[:1] + "\x1b\x00")
    widths = {
        len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")
    }
    assert widths <= {9, 10, 7}  # of the tables of runs, games and reasons


def test_every_episode_is_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import playpen.report.page

    monkeypatch.setattr(playpen.report.page, "PIECE", 100)  # several pieces
    said = [every_kind(0), *[episode(n, text=f"reply {n} " * 9) for n in range(1, 12)]]
    run = write_run(tmp_path / "run", said)
    page = page_of(tmp_path, run)
    named = {attributes.get("id"): text for attributes, text in page.scripts}
    rows = unpacked(named["rows"])
    pieces = [unpacked(text) for attributes, text in page.scripts if attributes.get("class")]
    assert len(rows) == 12 and len(pieces) > 2
    found = {}
    for *row, piece, place in rows:
        transcript = pieces[piece]["transcripts"][place]
        for line in transcript["lines"]:
            for name in {"t", "reasoning", "raw"} & line.keys():
                line[name] = pieces[piece]["texts"][line[name]]
        found[row[3]] = (row, transcript)
    for one in said:
        row, transcript = found[one.instance_id]
        assert row == msgspec.to_builtins(row_of(one, 0))
        expected = msgspec.to_builtins(transcript_of(one))
        expected["lines"] = [{"t": "", **line} for line in expected["lines"]]
        assert transcript == expected


def test_a_text_that_is_said_often_is_kept_once(tmp_path: Path) -> None:
    prompt = "the same long question " * 50
    run = write_run(tmp_path / "run", [episode(n, prompt=prompt) for n in range(30)])
    page = page_of(tmp_path, run)
    [piece] = [unpacked(text) for attributes, text in page.scripts if attributes.get("class")]
    assert piece["texts"] == [prompt, "a reply"]


def test_the_lines_of_a_transcript() -> None:
    lines = transcript_of(every_kind()).lines
    assert [(line.kind, line.role) for line in lines] == [
        ("ask", "guesser"), ("reply", "guesser"), ("tell", "guesser"), ("fixed", "guesser"),
        ("answer", "guesser"), ("note", ""), ("round", ""), ("violation", "guesser"),
        ("side", "guesser"), ("reply", "guesser"), ("reward", "guesser"), ("reply", "helper"),
    ]  # fmt: skip
    assert (lines[9].text, lines[9].reasoning, lines[9].raw) == ("short", "long thoughts", "")
    assert (lines[11].text, lines[11].raw, lines[11].aside) == ("cut", "cut and more", "length")
    assert lines[5].text == 'observed: {"what":"a thing"}'
    assert (lines[7].text, lines[7].aside) == ("the reply is too long", "too_long+")


def test_a_long_message_is_cut_in_the_list() -> None:
    row = row_of(episode(0, Abort("long", "word " * 1000)), 0)
    assert len(row.message) == 1001
    assert row.message.endswith("…")


def test_tokens_are_not_kept(tmp_path: Path) -> None:
    traced = episode(0)
    traced.events.append(Said("guesser", Reply("x", tokens=TokenTrace([1], [2], [-0.5]))))
    run = write_run(tmp_path / "run", [traced])
    [found] = read_sources([run]).runs
    assert [said.reply.tokens for said in found.episodes[0].replies()] == [None, None]
    assert len(found.episodes[0].events) == len(traced.events)


def test_a_page_of_many_games_and_runs_draws_them_all(tmp_path: Path) -> None:
    paths = []
    for name in ("one", "two", "three"):
        said = [
            msgspec.structs.replace(episode(n), game=f"game_with_a_rather_long_name_{n}")
            for n in range(12)
        ]
        paths.append(write_run(tmp_path / name, said))
    append(paths[0], [])
    page = page_of(tmp_path, *paths)
    [scores] = [a for tag, a in page.elements if tag == "svg" and "Mean" in str(a["aria-label"])]
    assert scores["class"] == "figure"
    shown = "".join(page.shown)
    assert all(f"game_with_a_rather_long_name_{n}" in shown for n in range(12))
