"""The MOS test: people rate pictures from 1 to 5 in their browsers, and the methods are compared.

    python scripts/mos.py prepare --study runs/mos --runs runs/small,bicubic,original \\
        --images data/Set5,data/Set14
    python scripts/mos.py serve --study runs/mos --host 0.0.0.0
    python scripts/mos.py results --study runs/mos

prepare renders every method on every image once, and measures PSNR and, where its weights are
there, LPIPS. A method is a run folder or a model file of train_srgan.py, a model that comes along
(as for upscale.py, such as default), bicubic, nearest or original; each folder of images is an
image set.

serve prints the invitation, a link that you send to your raters, and runs until it is
stopped. It listens on this machine alone (127.0.0.1) unless --host says otherwise. Ratings are on
the disk before a rater sees the next picture; start it again at any time.

results prints mean opinion scores, PSNR and LPIPS of the same pictures beside them, and Wilcoxon
tests, and writes results.md, results.json, ratings.csv and mos.png into the study's folder.

Exit codes: 0 done; 2 usage; 65 bad data; 66 missing data; 69 the address is taken.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import shlex
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.runtime import remote
from jobs.runtime.cluster.node import address_towards
from jobs.runtime.command import command
from jobs.runtime.errors import EXIT_OK, UnavailableError, UsageError
from jobs.runtime.names import split_paths
from jobs.runtime.text import as_text, counted

THREADS = 8


@command("mos")
def main(argv: Sequence[str] | None = None) -> int:
    """Do what was asked for and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parser().parse_args(argv)
    if remote.is_remote(options.study):
        raise UsageError(f"--study {options.study}: must be a local folder")
    options.study = Path(remote.plain_path(options.study))
    options.action(options)
    return EXIT_OK


def prepare(options: argparse.Namespace) -> None:
    """Render the pictures."""
    # torch takes seconds to import, and only this needs it.
    from mos_study.prepare import prepare as render

    methods, images = split_paths(options.runs), split_paths(options.images)
    weights = options.lpips_weights and remote.plain_path(options.lpips_weights)
    study = render(options.study, methods, images, weights)
    folder = as_text(shlex.quote(str(options.study)))
    scenes = counted(len(study.images), "image")
    print(f"{counted(len(study.methods), 'method')} on {scenes}: {folder}")
    print(f"next: python scripts/mos.py serve --study {folder}")


def serve(options: argparse.Namespace) -> None:
    """Serve the study until SIGINT or SIGTERM."""
    from waitress import create_server

    from mos_study.app import create_app
    from mos_study.pages import SERVED

    # It warns whenever a request has to wait for a moment.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    app = create_app(options.study)
    try:
        server: Any = create_server(
            app,
            host=options.host,
            port=options.port,
            threads=THREADS,
            connection_limit=400,
            channel_timeout=30,
            max_request_header_size=16 << 10,
            max_request_body_size=64 << 10,
            ident="",
        )
    except (OSError, ValueError, OverflowError) as error:
        raise UnavailableError(
            f"--host {options.host} --port {options.port}: cannot listen there ({error}); "
            "choose another"
        ) from error
    host = _name_for_others() if options.host in ("0.0.0.0", "::") else options.host
    shown = f"[{host}]" if ":" in host else host
    token = app.extensions[SERVED].study.token
    print(f"invitation: http://{shown}:{server.effective_port}/join/{token}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server.run()
    print("stopped; all ratings are saved")


def _name_for_others() -> str:
    """This machine's name, or its address where the name leads others nowhere.

    A name is of use if it stands for the address at which the network reaches this machine; in many
    a /etc/hosts (Debian's) it stands for loopback.
    """
    name = socket.getfqdn()
    try:
        # Nothing is sent there: the address is one that nobody has (RFC 5737).
        address = address_towards("203.0.113.1")
    except UnavailableError:
        return name
    with contextlib.suppress(OSError):
        if socket.gethostbyname(name) == address:
            return name
    return address


def results(options: argparse.Namespace) -> None:
    """Analyse, write and print."""
    from mos_study.output import as_text, write_results
    from mos_study.results import analyse
    from mos_study.store import read_trials
    from mos_study.study import read_study

    study = read_study(options.study)
    trials = read_trials(options.study)
    found = analyse(study, trials)
    write_results(options.study, study, trials, found)
    print(as_text(found))
    if not found.scores:
        print(f"no scores yet: {len(found.raters)} raters have begun, none who counts has finished")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(required=True, metavar="prepare|serve|results")
    for action, text in (
        (prepare, "render every method on every image"),
        (serve, "let people rate"),
        (results, "count"),
    ):
        own = actions.add_parser(action.__name__, help=text)
        own.set_defaults(action=action)
        own.add_argument("--study", required=True, metavar="DIR", help="its folder")
        if action is prepare:
            own.add_argument("--runs", required=True, metavar="RUN,RUN,...", help="the methods")
            own.add_argument("--images", required=True, metavar="DIR,DIR,...", help="image sets")
            own.add_argument(
                "--lpips-weights", metavar="FILE", help="[what fetch_data.py lpips fetched]"
            )
        elif action is serve:
            own.add_argument("--host", default="127.0.0.1", help="to listen on [127.0.0.1]")
            own.add_argument("--port", type=int, default=8321, help="0: any free one [8321]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
