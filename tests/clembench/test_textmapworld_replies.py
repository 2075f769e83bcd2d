"""The tables of docs/rules/textmapworld.md, "Reply format", and hostile texts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playpen import Experiment, Instance
from playpen.moves import Violation
from playpen_clembench.textmapworld.reply_format import (
    LONGEST_DRAWN_REPLY,
    STOP,
    Command,
    drawing_reader,
    drawn_map,
    reader,
)

PATTERNS = {
    "Move_Construction": r"^GO:\s*(north|east|west|south)$",
    "Stop_Construction": r"^DONE$",
    "Response_Construction": (
        r'^\{\s*"action":\s*"([^{}]*?)"\s*,\s*"graph":\s*(\{\s*"nodes"\s*:\s*\[.*?\]\s*,'
        r'\s*"edges"\s*:\s*\{.*?\}\s*\})\s*\}$'
    ),
}


def instance(**fields) -> Instance:
    return Instance("textmapworld", Experiment("small", {}), fields)


FORMS = pytest.mark.parametrize(
    "item", [instance(), instance(**PATTERNS)], ids=["own", "of the instance"]
)


def code_of(read, reply: str) -> str:
    with pytest.raises(Violation) as caught:
        read(reply)
    assert caught.value.retry is None
    return caught.value.code


# --- plain replies -------------------------------------------------------------------------------


@FORMS
@pytest.mark.parametrize(
    ("reply", "direction"),
    [
        ("GO: north", "north"),
        ("go:South", "south"),
        ("GO:\nwest", "west"),
        ("GO: east\n", "east"),
        ("GO:\t \u2003\r\n EAST", "east"),
        ("DONE", None),
        ("done\n", None),
        # A long s is another way to write an s, but no direction is written so.
        ("GO: \u017fouth", "\u017fouth"),
    ],
)
def test_accepted_replies(item, reply, direction):
    assert reader(item)(reply) == Command(direction)


@FORMS
@pytest.mark.parametrize(
    "reply",
    [
        "",
        " GO: east",
        "GO: east ",
        "GO: east.",
        "GO: east\n\n",
        "GO: northeast",
        "GO: north\nGO: east",
        "GO : east",
        "GO north",
        "**GO: east**",
        "DONE.",
        "DONE\n\n",
        " DONE",
        "\nDONE",
        "GO: east\r\n",
        "GO: east<|end_of_text|>",
        "GO: east\0",
        "DONE GO: east",
        "east",
    ],
)
def test_rejected_replies(item, reply):
    assert code_of(reader(item), reply) == "invalid_format"


def test_patterns_of_the_instance_without_anchors():
    read = reader(instance(Move_Construction=r"LAUF (nord|süd)", Stop_Construction="HALT"))
    assert read("bitte lauf NORD!") == Command("nord")
    assert read("ich halte hier: halt") == STOP
    assert code_of(read, "lauf nord, dann halt") == "ambiguous"
    assert code_of(read, "lauf nord, lauf süd") == "ambiguous"
    assert code_of(read, "GO: north") == "invalid_format"


# --- replies with a map --------------------------------------------------------------------------

G = '{"nodes":["Attic"],"edges":{"north":[],"south":[],"east":[],"west":[]}}'
ATTIC = {"nodes": ["attic"], "edges": []}


@FORMS
@pytest.mark.parametrize(
    ("reply", "direction", "drawn"),
    [
        (f'{{"action":"GO: north","graph":{G}}}', "north", ATTIC),
        (f'  {{\n"action": "GO: west",\n "graph": {G}\n}}\n', "west", ATTIC),
        (
            '{"action":"GO:west","graph":{"nodes":[],"edges":{}}}',
            "west",
            {"nodes": [], "edges": []},
        ),
        (
            '{"action":"GO: west", "graph":{"nodes" : ["A"], "edges":{"north":[("A","B")]}}}',
            "west",
            {"nodes": ["a"], "edges": [["a", "b"]]},
        ),
        (f'{{"action":"GO: North","graph":{G}}}', "North", ATTIC),
        (f'{{"action":"go: north","graph":{G}}}', "north", ATTIC),
        ('{"action":"GO: west","graph":{"nodes":[5],"edges":{}}}', "west", None),
        # Of two keys the later one counts, so the map, and even the move, can be another one.
        (
            '{"action":"GO: west","graph":{"nodes":[],"edges":{}},"graph":7,"x":{"y":{}}}',
            "west",
            None,
        ),
        (
            f'{{"action":"GO: west","graph":{G},"action":"GO: east","x":{{"y":{{"z":{{}}}}}}}}',
            "east",
            ATTIC,
        ),
        (
            f'{{"action":"GO: west","graph":{G},"action":"up","x":{{"y":{{"z":{{}}}}}}}}',
            "",
            ATTIC,
        ),
    ],
)
def test_accepted_replies_with_a_map(item, reply, direction, drawn):
    assert drawing_reader(item)(reply) == Command(direction, drawn)


@FORMS
@pytest.mark.parametrize(
    "reply",
    [
        f'{{"action": "DONE", "graph": {G}}}',
        '{"action": "done", "graph": {"nodes":[null], "edges":{]}}}',
        '{"Action":"DONE","GRAPH":{"nodes":[],"edges":{}}}',
    ],
)
def test_to_stop_the_map_need_not_be_a_literal(item, reply):
    assert drawing_reader(item)(reply) == STOP


@FORMS
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ('{"action":"GO: west","graph":{"nodes":[null],"edges":{}}}', "invalid_literal"),
        ('{"action":"GO: west","graph":{"nodes":[true],"edges":{}}}', "invalid_literal"),
        ('{"action":"GO: west","graph":{"nodes":[f()],"edges":{}}}', "invalid_literal"),
        ('{"action":"GO: west","graph":{"nodes":["\0"],"edges":{}}}', "invalid_literal"),
        ('{"action":"GO: west","graph":{"nodes":["\ud800"],"edges":{}}}', "invalid_literal"),
        ('{"action":"GO: west","graph":{"nodes":[],"edges":{[]:1}}}', "invalid_literal"),
        (f'{{"Action":"GO: west","graph":{G}}}', "invalid_literal"),
        (f'{{"action":"GO: west","Graph":{G}}}', "invalid_literal"),
        (
            f'{{"action":"GO: west","graph":{G},"action":3,"x":{{"y":{{"z":{{}}}}}}}}',
            "invalid_literal",
        ),
        (f'{{"action":" GO: west","graph":{G}}}', "invalid_format"),
        (f'{{"action":"GO: west ","graph":{G}}}', "invalid_format"),
        (f'{{"action" :"GO: west","graph":{G}}}', "invalid_format"),
        (f'{{"action":"GO: west","graph" :{G}}}', "invalid_format"),
        ('{"action": "DONE", "graph": {...}}', "invalid_format"),
        ('{"action":"GO: west","graph":"G"}', "invalid_format"),
        (f'{{"action":"GO: west","graph":"{G}"}}', "invalid_format"),
        (f"{{'action':'GO: west','graph':{G}}}", "invalid_format"),
        (f'```\n{{"action":"GO: west","graph":{G}}}\n```', "invalid_format"),
        (f'{{"graph":{G},"action":"GO: west"}}', "invalid_format"),
        (f'{{"action":"GO: west","graph":{G}}} Now west.', "invalid_format"),
        ('{"action":"GO: west","graph":{"edges":{},"nodes":[]}}', "invalid_format"),
        (f'{{"action":"GO: up","graph":{G}}}', "invalid_format"),
        (f'{{"action":"","graph":{G}}}', "invalid_format"),
        ("GO: west", "invalid_format"),
        ("DONE", "invalid_format"),
        ("", "invalid_format"),
    ],
)
def test_rejected_replies_with_a_map(item, reply, code):
    assert code_of(drawing_reader(item), reply) == code


TOKENS = ['"', "{", "}", "[", "]", ",", " ", "DONE", '"nodes":[', '],"edges":{', "x", '"graph":{']


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(TOKENS), max_size=4).map("".join),
    st.lists(st.sampled_from(TOKENS), max_size=12).map("".join),
    st.integers(0, 4),
)
def test_our_own_form_is_that_of_clembench(before, middle, braces):
    """The stop word shows what is accepted, as no literal is needed."""
    reply = f'{{"action":"DONE{before}","graph":{{"nodes":[{middle}' + "}" * braces
    match = re.search(PATTERNS["Response_Construction"], reply.strip(), re.IGNORECASE)
    if match and match[1] == "DONE":
        assert drawing_reader(instance())(reply) == STOP
    else:
        assert code_of(drawing_reader(instance()), reply) == "invalid_format"


def nested(inside: str) -> str:
    return f'{{"action":"GO: west","graph":{{"nodes":[{inside}],"edges":{{}}}}}}'


@FORMS
@pytest.mark.parametrize(
    "inside",
    [
        "[" * 5000 + "]" * 5000,
        "(" * 9000,
        "{" * 9000,
        "-" * 15000 + "1",
        "1" + "+1" * 9000,
        "not " * 4000 + "1",
        "1" + " if 1 else 1" * 1500,
        "lambda:" * 2500 + "1",
        "9" * 19000,
        "a" + ".b" * 9000,
        "a" + "()" * 9000,
        '"' * 15001,
    ],
    ids=lambda text: text[:10],
)
def test_absurd_literals_are_violations(item, inside):
    assert code_of(drawing_reader(item), nested(inside)) == "invalid_literal"


@FORMS
@pytest.mark.parametrize(
    "unit",
    ['],"edges":{', "}", "} ", '","graph":{"nodes":[', '"', "[", "\\", " ", ",", '],"edges":{}}'],
)
def test_long_replies_are_judged_at_once(item, unit):
    """A pattern that tries cubically many ways would take days here."""
    start = '{"action":"GO: west","graph":{"nodes":['
    longest = LONGEST_DRAWN_REPLY - len(start) - 1
    body = (unit * longest)[:longest]
    assert code_of(drawing_reader(item), start + body + "x") == "invalid_format"
    assert code_of(drawing_reader(item), start + body + "xx") == "too_long"
    assert code_of(drawing_reader(item), start + body * 500) == "too_long"


def test_odd_escape_sequences_do_not_warn(recwarn):
    drawn = drawing_reader(instance())(nested(r'"\d"')).drawn
    assert drawn == {"nodes": ["\\d"], "edges": []}
    assert list(recwarn) == []


@pytest.mark.parametrize(
    ("graph", "drawn"),
    [
        (
            {"nodes": ("A", "B"), "edges": {"up": [("A", "B", "C")], "x": ["QR"]}},
            {"nodes": ["a", "b"], "edges": [["a", "b"], ["q", "r"]]},
        ),
        ({"nodes": [], "edges": {"up": {("A", "B"): 1}}}, {"nodes": [], "edges": [["a", "b"]]}),
        ({"nodes": ["\ud800"], "edges": {}}, {"nodes": ["\\ud800"], "edges": []}),
        ({"nodes": []}, None),
        ({"edges": {}}, None),
        ({"nodes": [], "edges": [("A", "B")]}, None),
        ({"nodes": [], "edges": {"up": [("A",)]}}, None),
        ({"nodes": [], "edges": {"up": [{"A", "B"}]}}, None),
        ({"nodes": [], "edges": {"up": [(1, 2)]}}, None),
        ({"nodes": [], "edges": {"up": None}}, None),
        ({"nodes": [b"A"], "edges": {}}, None),
        ({"nodes": None, "edges": {}}, None),
        ([], None),
        (3, None),
    ],
)
def test_drawn_maps(graph, drawn):
    assert drawn_map(graph) == drawn
