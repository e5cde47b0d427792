"""`python -m jacsup`, which torchrun needs."""

from jacsup.cli.main import main

if __name__ == "__main__":
    main()
