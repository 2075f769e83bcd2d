"""``replay:`` players: they say again what was said in a recorded run."""

from __future__ import annotations

from playpen.conversation import Conversation, Reply
from playpen.player import NoOptions, Player, PlayerError, SpecError
from playpen.store import Run, RunError


class RecordedPlayer(Player):
    """``replay:RUN`` repeats the replies of a run, role by role, instance by instance.

    A repeat that the recording does not have takes the replies of an earlier one.
    """

    def __init__(self, target: str, options: NoOptions) -> None:
        self._takes: dict[tuple[str, str, str], list[list[Reply]]] = {}
        try:
            episodes = sorted(Run.open(target).episodes(), key=lambda e: e.repeat)
        except RunError as error:
            raise SpecError(f"replay:{target}: {error}") from None
        for episode in episodes:
            for role in episode.players:
                said = [entry.reply for entry in episode.replies(role)]
                self._takes.setdefault((episode.game, episode.instance, role), []).append(said)

    def reply(self, conversation: Conversation) -> Reply:
        """What was said in the recording at this turn.

        Raises:
            PlayerError: the recording has no such instance, or the episode was shorter.
        """
        takes = self._takes.get((conversation.game, conversation.instance, conversation.role))
        if not takes:
            raise PlayerError(
                f"the recording has no {conversation.role} for {conversation.episode}"
            )
        said = takes[conversation.repeat % len(takes)]
        if conversation.turn >= len(said):
            raise PlayerError(
                f"the recorded {conversation.role} of {conversation.episode} "
                f"has nothing to say after {len(said)} replies"
            )
        return said[conversation.turn]
