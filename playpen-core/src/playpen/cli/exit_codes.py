"""What the exit code of every command means."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes; `meaning` is what the documentation says of each."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """A code with its meaning."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    DONE = 0, "all is done"
    FOUND_PROBLEMS = (
        1,
        "the command looked for something and found it wrong: a replay or an imported score that "
        "differs, invalid instances, runs with nothing in common, no score because of `--strict`",
    )
    CALLED_WRONGLY = (
        2,
        "nothing was done: a wrong option or name, a missing extra, a file that cannot be used",
    )
    IN_PART = (
        3,
        "done in part: episodes failed or are missing, so that a score is incomplete; a budget "
        "is used up; a part of an import or of a report was left out, and is named",
    )
    INTERRUPTED = 130, "interrupted (Ctrl-C); nothing that was finished is lost"
