"""`python -m jacsup`, which torchrun needs."""

from jacsup.cli import main

if __name__ == "__main__":
    main()
