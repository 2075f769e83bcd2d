"""``python -m playpen``: the command line, for launchers that want a module."""

from playpen.cli import main

if __name__ == "__main__":
    main()
