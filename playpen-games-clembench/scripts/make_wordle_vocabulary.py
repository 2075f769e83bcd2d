"""Write the list of English words that Wordle accepts as guesses.

Source: frequency_dictionary_en_82_765.txt of the PyPI package symspellpy 6.10.1
(MIT licence, copyright 2025 mmb L and 2021 Wolf Garbe). All its five-letter words are
kept but those of excluded.txt: slurs, clearly offensive words and Roman numerals.

Run with symspellpy==6.10.1 installed: python scripts/make_wordle_vocabulary.py
"""

import re
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

SOURCE_PACKAGE = "symspellpy"
SOURCE_VERSION = "6.10.1"
SOURCE_FILE = "frequency_dictionary_en_82_765.txt"
RESOURCES = Path(__file__).resolve().parents[1] / "src/playpen_clembench/wordle/resources/en"


def five_letter_words(dictionary: str, excluded: set[str]) -> list[str]:
    """Return the sorted five-letter words of a dictionary of "word count" lines."""
    words = {line.split()[0] for line in dictionary.splitlines() if line.strip()}
    return sorted(word for word in words - excluded if re.fullmatch(r"[a-z]{5}", word))


def main() -> None:
    """Read the dictionary of the installed package and write words.txt."""
    if version(SOURCE_PACKAGE) != SOURCE_VERSION:
        raise SystemExit(f"Please install {SOURCE_PACKAGE}=={SOURCE_VERSION}.")
    source = files(SOURCE_PACKAGE) / SOURCE_FILE
    excluded = set((RESOURCES / "excluded.txt").read_text(encoding="utf-8").split())
    words = five_letter_words(source.read_text(encoding="utf-8-sig"), excluded)
    target = RESOURCES / "words.txt"
    target.write_text("\n".join(words) + "\n", encoding="utf-8", newline="\n")
    print(f"{len(words)} words written to {target}")


if __name__ == "__main__":
    main()
