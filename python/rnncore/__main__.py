"""``python -m rnncore`` is the command line."""

from rnncore.cli import main

if __name__ == "__main__":
    main()
