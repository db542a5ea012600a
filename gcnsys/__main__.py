"""``python -m gcnsys`` is the ``gcnsys`` command."""

from gcnsys.cli.main import main

if __name__ == "__main__":
    main()
