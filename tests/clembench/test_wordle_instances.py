"""Generated instances, the schema, and the word material of the wordle family."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import pytest

from playpen.instance import SPLITS, InstanceError
from playpen.instance_sets import parse_instances, read_instances, ready_instances
from playpen_clembench.wordle import material
from playpen_clembench.wordle.game import Wordle, WordleWithClue, WordleWithCritic
from playpen_clembench.wordle.oracle import OPENERS

FAMILY = [Wordle(), WordleWithClue(), WordleWithCritic()]
PLAIN = FAMILY[0]
by_name = pytest.mark.parametrize("game", FAMILY, ids=lambda game: game.name)


def targets(game, split, **options):
    document = game.generate(split, **options)
    return [[item["target_word"] for item in e["game_instances"]] for e in document["experiments"]]


@by_name
@pytest.mark.parametrize("split", SPLITS)
def test_ready_instances(game, split):
    instances = ready_instances(game, split)
    assert [len(words) for words in targets(game, split)] == (
        [163, 242] if split == "train" else [30, 30]
    )
    for instance in instances:
        assert instance["target_word"] in instance["lang_keywords"]["official_words_list"]
        assert len(instance["target_word"]) == 5
        assert instance["target_word"] not in instance["target_word_clue"]
    assert len({id(i.experiment) for i in instances}) == 2


@by_name
def test_the_instances_of_a_seed_stay_the_same(game):
    assert [words[:2] for words in targets(game, "test")] == [
        ["throw", "style"],
        ["moody", "token"],
    ]
    (experiment,) = game.generate("train", seed=3, level=game.levels()[1], n=5)["experiments"]
    numbers = [item["game_id"] for item in experiment["game_instances"]]
    assert numbers == [1, 2, 3, 4, 5]


def test_the_variants_get_the_same_targets():
    for split in SPLITS:
        plain, clue, critic = (targets(game, split, seed=11) for game in FAMILY)
        assert plain == clue == critic


def test_the_levels_have_upstreams_names():
    assert PLAIN.levels() == (
        "high_frequency_words_no_clue_no_critic",
        "medium_frequency_words_no_clue_no_critic",
    )
    assert FAMILY[1].levels()[0] == "high_frequency_words_clue_no_critic"
    assert FAMILY[2].levels()[0] == "high_frequency_words_clue_with_critic"


def test_words_that_are_used_up_are_counted():
    with pytest.raises(InstanceError, match="has 61 of them"):
        PLAIN.generate("test", n=62)


def test_the_word_material():
    words = material.words("en")
    bank = material.clues("en")
    assert len(words) == len(set(words)) == 7325
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert {*bank["high"], *bank["medium"], *OPENERS} <= set(words)
    clues = [clue for group in bank.values() for clue in group.values()]
    assert len(clues) == len(set(clues)) == 700
    # The word of the prompts' examples is no target, so they give nothing away.
    assert "scone" in words and "scone" not in {*bank["high"], *bank["medium"]}


def document() -> dict:
    made = FAMILY[2].generate("test", n=1)
    return {"experiments": copy.deepcopy(made["experiments"][:1])}


def change(path, value):
    result = document()
    *parents, last = path
    place = result["experiments"][0]
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return result


ITEM = ("game_instances", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*ITEM, "target_word"), None),
        ((*ITEM, "target_word"), 5),
        ((*ITEM, "target_word"), "  "),
        ((*ITEM, "target_word"), "two words"),
        ((*ITEM, "target_word_clue"), None),
        ((*ITEM, "target_word_clue"), ["clue"]),
        (("common_config",), None),
        (("common_config", "n_turns"), None),
        (("common_config", "n_turns"), 0),
        (("common_config", "n_turns"), "6"),
        (("common_config", "max_retry_per_error", "NOT_VALID_WORD_FOR_GAME"), -1),
        (("common_config", "max_word_length"), 0),
        (("lang_keywords",), None),
        (("lang_keywords", "official_words_list"), None),
        (("lang_keywords", "official_words_list"), "crane"),
        (("lang_keywords", "official_words_list"), ["crane", 7]),
        (("lang_keywords", "official_words_list"), []),
        (("lang_keywords", "guess_lang"), ""),
        (("lang_keywords", "agreement_match_keywords_lang"), "yes"),
        (("lang_keywords", "agreement_match_keywords_lang"), ["yes"]),
        (("lang_keywords", "error_prompt_text"), {"RETRY": 1}),
        (("guesser_prompt",), ["text"]),
    ],
)
def test_the_schema_rejects_what_breaks_the_rules(path, value):
    with pytest.raises(InstanceError):
        parse_instances(change(path, value), FAMILY[2])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("guesser_prompt",), "Guess!"),
        (("use_clue",), False),
        (("further_field",), {"any": "thing"}),
        (("lang_keywords", "guess_lang"), "TIP:"),
        ((*ITEM, "target_word"), " Größe "),
        ((*ITEM, "note"), 1),
        (("common_config", "max_retry_per_error"), None),
    ],
)
def test_the_schema_accepts_further_and_missing_optional_fields(path, value):
    assert len(parse_instances(change(path, value), FAMILY[2])) == 1


def test_a_file_that_is_read_is_the_document_that_was_made(tmp_path):
    import msgspec

    path = tmp_path / "instances.json"
    path.write_bytes(msgspec.json.encode(PLAIN.generate("validation", seed=5)))
    made = parse_instances(PLAIN.generate("validation", seed=5), PLAIN)
    assert [i.hash for i in read_instances(path, PLAIN)] == [i.hash for i in made]


def test_importing_the_game_reads_no_words():
    code = (
        "import playpen_clembench.wordle.game, sys\n"
        "from playpen_clembench.wordle import material as m\n"
        "print([f.cache_info().currsize for f in (m.words, m.clues, m.keywords)])\n"
        "print('playpen_clembench.wordle.oracle' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.split("\n")[:2] == ["[0, 0, 0]", "False"]
