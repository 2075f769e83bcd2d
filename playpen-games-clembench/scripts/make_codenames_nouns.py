"""Write the English nouns by which codenames recognises forms of a board word.

Source: the noun index and the noun exception list of WordNet 3.0 (Debian's package wordnet-base
1:3.0-37 has both in /usr/share/wordnet).  Entries of several words are left out: neither a clue
nor a word of a board holds a space.

Run: python scripts/make_codenames_nouns.py /usr/share/wordnet
"""

import sys
from pathlib import Path

RESOURCES = Path(__file__).resolve().parents[1] / "src/playpen_clembench/codenames/resources/en"


def entries(path: Path) -> list[list[str]]:
    """The lines of a WordNet file as lists of words; the licence at the top is indented."""
    lines = path.read_text(encoding="ascii").splitlines()
    found = [line.split() for line in lines if not line.startswith(" ")]
    return sorted(entry for entry in found if "_" not in entry[0])


def write(name: str, lines: list[str]) -> None:
    """Write a resource and say so."""
    (RESOURCES / name).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    print(f"{len(lines)} lines written to {RESOURCES / name}")


def main() -> None:
    """Read the files of the folder that is named on the command line."""
    if len(sys.argv) != 2:
        raise SystemExit("Please name the folder that holds index.noun and noun.exc.")
    source = Path(sys.argv[1])
    write("nouns.txt", [entry[0] for entry in entries(source / "index.noun")])
    write("noun_exceptions.txt", [" ".join(entry) for entry in entries(source / "noun.exc")])


if __name__ == "__main__":
    main()
