"""``python -m loopmark`` is the ``loopmark`` command."""

import sys

if __name__ == "__main__":
    try:
        from loopmark.bench.cli import main
    except ModuleNotFoundError as error:
        sys.exit(f"loopmark: {sys.executable} has no module '{error.name}'; `make bench` installs all requirements")
    except KeyboardInterrupt:
        print("loopmark: interrupted", file=sys.stderr)
        sys.exit(130)
    main()
