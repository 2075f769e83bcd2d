"""An episode as a readable transcript in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from playpen.episode import Drawn, Episode, Said
from playpen.escape import escape
from playpen.moves import (
    Abort,
    Ask,
    Draw,
    Exchange,
    Note,
    Reward,
    Round,
    Tell,
    Violated,
    own_scores,
)

_COLOURS = ("cyan", "magenta", "yellow", "blue", "green")


def transcript(episode: Episode) -> RenderableType:
    """The whole episode, what was said to and by each role in order.

    What models said is shown as it is: it is never read as markup, and cannot act on the terminal.
    """
    colours = {
        role: _COLOURS[number % len(_COLOURS)] for number, role in enumerate(episode.players)
    }
    return Group(_headline(episode), *_events(episode, colours), _ending(episode))


def outcome_text(episode: Episode) -> Text:
    """The outcome in one line."""
    outcome = episode.outcome
    if episode.failure is not None:
        return Text(escape(f"failed: {episode.failure.message}", one_line=True), style="red")
    if isinstance(outcome, Abort):
        who = f" by {outcome.fault}" if outcome.fault else ""
        line = f"aborted{who}: {outcome.message} ({outcome.code})"
        return Text(escape(line, one_line=True), style="yellow")
    kind, style = ("success", "green") if episode.success else ("lose", "red")
    score = "" if outcome is None or outcome.score is None else f", score {outcome.score:g}"
    own = ", ".join(f"{role} {value:g}" for role, value in own_scores(outcome).items())
    line = kind + score + (f" ({own})" if own else "")
    return Text(escape(line, one_line=True), style=style)


def _headline(episode: Episode) -> Text:
    players = ", ".join(f"{role} = {name}" for role, name in episode.players.items())
    return Text.assemble(
        (escape(episode.name, one_line=True), "bold"),
        escape(f"  rules {episode.rules}", one_line=True),
        f"\n{escape(players, one_line=True)}\n",
    )


def _ending(episode: Episode) -> Text:
    return Text.assemble(("Outcome  ", "bold"), outcome_text(episode))


def _events(episode: Episode, colours: dict[str, str]) -> Iterator[RenderableType]:
    number = 1
    for event in episode.events:
        match event:
            case Ask(role, text, keep):
                aside = "" if keep else " (side question)"
                yield _panel(text, f"game master → {role}{aside}", "dim", indent=0)
            case Tell(role, text):
                yield _panel(text, f"game master → {role} (with the next question)", "dim", 0)
            case Said(role, reply):
                if reply.reasoning:
                    yield _panel(reply.reasoning, f"{role} thinks", "dim italic", 4)
                told = reply.stop_reason not in (None, "stop")
                stop = f" (stopped: {reply.stop_reason})" if told else ""
                yield _panel(reply.text, f"{role}{stop}", colours.get(role, ""), 4)
            case Exchange(role, text, answer):
                yield _panel(text, f"game master → {role} (fixed)", "dim", 0)
                yield _panel(answer, f"{role} (fixed)", "dim", 4)
            case Note(kind, data):
                yield _line(f"{kind}: {_short(data)}" if data is not None else kind)
            case Violated(role, _, message, retried):
                again = "; asked again" if retried else ""
                yield _line(f"{role} broke a rule: {message}{again}", "yellow")
            case Reward(role, value):
                yield _line(f"reward of {role}: {value:g}")
            case Round():
                number += 1
                yield Text(f"── round {number} ──", style="bold")
            case Drawn(values):
                yield _line(f"drawn: {_short(values)}")
            case Draw():
                pass


def _panel(text: str, title: str, style: str, indent: int) -> Padding:
    body = Text(escape(text)) if text else Text("(empty)", style="dim")
    panel = Panel(
        body, title=Text(escape(title, one_line=True)), title_align="left", border_style=style
    )
    return Padding(panel, (0, 0, 0, indent))


def _line(text: str, style: str = "dim") -> Text:
    return Text(f"    · {escape(text, one_line=True)}", style=style)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else text[:197] + "..."
