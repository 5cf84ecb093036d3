"""python -m nncore: the command line."""

from nncore.cli import main

if __name__ == "__main__":
    main()
