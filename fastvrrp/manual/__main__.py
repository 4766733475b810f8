"""`python -m fastvrrp.manual FOLDER` writes the manual pages there, fastvrrp.8 and fastvrrp.conf.5.

Those of docs/man are made so, and are installed with the package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fastvrrp.manual import commands, configuration

PAGES = {"fastvrrp.8": commands.page, "fastvrrp.conf.5": configuration.page}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page().text())


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m fastvrrp.manual", description="Write manual pages.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to write them")
    main(parser.parse_args().folder)
