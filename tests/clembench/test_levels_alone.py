"""A level that is made alone is that level of the whole ready split, number by number."""

from __future__ import annotations

import pytest

from playpen.instance_sets import ready_instances
from playpen.plugins import get_game, registry


@pytest.mark.parametrize("name", sorted(registry().expand(["suite:clembench-2.0"])))
def test_a_level_made_alone_is_that_of_the_whole_split(name: str) -> None:
    game = get_game(name)
    whole = ready_instances(game, "validation")
    levels = dict.fromkeys(instance.experiment.name for instance in whole)
    assert levels.keys() <= set(game.levels())
    for level in levels:
        alone = ready_instances(game, "validation", level)
        of_whole = [instance for instance in whole if instance.experiment.name == level]
        assert alone == of_whole
        assert [i.id for i in alone] == [i.id for i in of_whole]
