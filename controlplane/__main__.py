"""`python -m controlplane` is `driftgate`."""

from __future__ import annotations

from controlplane.cli import main

if __name__ == "__main__":
    main()
