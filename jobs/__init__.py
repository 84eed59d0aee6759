"""The entry scripts for spark-submit; `jobs.runtime` is what they share.

An environment knows the code of the checkout that it was made in, whichever other one a script lies
in (a git worktree, a copy): whoever starts such a script there would run code that he does not see.
"""

from __future__ import annotations

import sys
from pathlib import Path

EXIT_UNAVAILABLE = 69


def refuse_another_checkout() -> None:
    """End with 69 if the program that runs lies in another checkout than this package.

    Raises:
        SystemExit: it does; one line on stderr has said so.
    """
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    if program is None:
        return
    path, here = Path(program).resolve(), Path(__file__).resolve().parents[1]
    for folder in path.parents[:3]:
        if folder != here and (folder / "jobs" / "runtime").is_dir():
            words = (
                f"it lies in {folder}, but the environment {sys.prefix} runs the code of {here}; "
                f"make and enter one of its own: bash {folder}/scripts/setup.sh"
            )
            print(f"{path.stem}: error: {words}", file=sys.stderr)
            raise SystemExit(EXIT_UNAVAILABLE)


refuse_another_checkout()
