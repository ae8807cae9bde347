"""`python -m litepose` (and `torchrun -m litepose`) is the command line."""

from litepose.cli import main

if __name__ == "__main__":
    main()
