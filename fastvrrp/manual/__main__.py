"""`python -m fastvrrp.manual FOLDER` writes the manual pages there, fastvrrp.8 and fastvrrp.conf.5.

Those of docs/man are made so, and are installed with the package.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fastvrrp.manual import commands, configuration

PAGES = {"fastvrrp.8": commands.page, "fastvrrp.conf.5": configuration.page}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page().text())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
