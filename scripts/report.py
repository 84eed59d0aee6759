"""Show all runs below a folder on one self-contained HTML page, or as Markdown in the terminal.

    python scripts/report.py                          # runs/report.html
    python scripts/report.py --runs runs/nightly --output /srv/www/report.html
    python scripts/report.py --format markdown

Runs that cannot be read are left out and named.
"""

from __future__ import annotations

import argparse
import signal
import sys

from jobs.runtime.command import command
from jobs.runtime.errors import EXIT_OK, MissingDataError
from jobs.runtime.files import ROOT
from jobs.runtime.places import local_path
from reports.page import write_page
from reports.text import render_text


@command("report")
def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=local_path, default=ROOT / "runs", metavar="DIR")
    parser.add_argument(
        "--output", type=local_path, metavar="FILE", help="the page [DIR/report.html]"
    )
    parser.add_argument("--format", choices=("html", "markdown"), default="html")
    options = parser.parse_args()
    if not options.runs.is_dir():
        raise MissingDataError(f"--runs {options.runs}: no such folder")
    if options.format == "markdown":
        # As other programs end whose reader (`| head`) has read enough.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        print(render_text(options.runs))
        return EXIT_OK
    output = options.output or options.runs / "report.html"
    write_page(options.runs, output)
    print(output)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
