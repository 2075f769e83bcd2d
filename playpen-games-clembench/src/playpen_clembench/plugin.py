"""The games that this pack brings."""

from __future__ import annotations

from playpen.hookspecs import GameSpec, hookimpl

SUITE = "clembench-2.0"
STATIC = "static-1.0"
PUBLISHED = "playpen_clembench:official/instances.tsv.xz"


@hookimpl
def playpen_games() -> list[GameSpec]:
    """All games of the pack."""
    return [
        GameSpec(
            name="taboo",
            path="playpen_clembench.taboo.game:Taboo",
            summary="describe a word without the forbidden words; the partner guesses it",
            roles=("describer", "guesser"),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="wordle",
            path="playpen_clembench.wordle.game:Wordle",
            summary="find a five-letter word from coloured feedback",
            roles=("guesser",),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="wordle_withclue",
            path="playpen_clembench.wordle.game:WordleWithClue",
            summary="wordle with a crossword-style clue",
            roles=("guesser",),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="wordle_withcritic",
            path="playpen_clembench.wordle.game:WordleWithCritic",
            summary="wordle with a clue and a critic who comments on each tentative guess",
            roles=("guesser", "critic"),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="referencegame",
            path="playpen_clembench.referencegame.game:ReferenceGame",
            summary="describe one of three grids so that the partner picks it",
            roles=("giver", "follower"),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="codenames",
            path="playpen_clembench.codenames.game:Codenames",
            summary="one clue word for several words of a board; the partner finds them",
            roles=("cluegiver", "guesser"),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="imagegame",
            path="playpen_clembench.imagegame.game:ImageGame",
            summary="instruct a partner, step by step, to draw a grid",
            roles=("giver", "follower"),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="guesswhat",
            path="playpen_clembench.guesswhat.game:GuessWhat",
            summary="find the secret one of eight words by yes/no questions",
            roles=("guesser", "answerer"),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="textmapworld",
            path="playpen_clembench.textmapworld.game:TextMapWorld",
            summary="explore a map of rooms without missing one",
            roles=("explorer",),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="textmapworld_graphreasoning",
            path="playpen_clembench.textmapworld.game:TextMapWorldGraphReasoning",
            summary="explore a map of rooms and draw it with every move",
            roles=("explorer",),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="textmapworld_specificroom",
            path="playpen_clembench.textmapworld.game:TextMapWorldSpecificRoom",
            summary="find one room of a map",
            roles=("explorer",),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="adventuregame",
            path="playpen_clembench.adventuregame.game:AdventureGame",
            summary="find things in a house and deliver them, by text commands",
            roles=("adventurer",),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="privateshared",
            path="playpen_clembench.privateshared.game:PrivateShared",
            summary="tell values one by one and keep track of who knows what",
            roles=("answerer",),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="matchit_ascii",
            path="playpen_clembench.matchit_ascii.game:MatchItAscii",
            summary="find out by talking whether two grids are the same",
            roles=("player_a", "player_b"),
            suites=(SUITE,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="mmlu_pro",
            path="playpen_clembench.static.mmlu_pro:MmluPro",
            summary="multiple-choice questions of professional knowledge",
            roles=("answerer",),
            suites=(STATIC,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="cladder",
            path="playpen_clembench.static.cladder:Cladder",
            summary="yes/no questions of causal reasoning",
            roles=("answerer",),
            suites=(STATIC,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="eqbench",
            path="playpen_clembench.static.eqbench:EqBench",
            summary="rate the emotions of people in a dialogue",
            roles=("answerer",),
            suites=(STATIC,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="ifeval",
            path="playpen_clembench.static.ifeval:IfEval",
            summary="follow instructions that can be checked by program",
            roles=("answerer",),
            suites=(STATIC,),
            published=PUBLISHED,
        ),
        GameSpec(
            name="bbh",
            path="playpen_clembench.static.bbh:Bbh",
            summary="hard reasoning tasks of many kinds",
            roles=("answerer",),
            suites=(STATIC,),
            published=PUBLISHED,
        ),
    ]
