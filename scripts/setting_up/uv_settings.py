"""Print pip's settings as shell commands that give uv the same: uv reads none of them itself.

    eval "$(python scripts/setting_up/uv_settings.py)"

Machines behind a mirror of the package index, with certificates of their own, or with a folder of
wheels have them in pip's files or variables. What is set for uv already stays as it is.
"""

from __future__ import annotations

import configparser
import os
import shlex
import sys

HOME = os.path.expanduser("~")
CONFIG = os.environ.get("XDG_CONFIG_HOME") or os.path.join(HOME, ".config")
FILES = (
    "/etc/xdg/pip/pip.conf",
    "/etc/pip.conf",
    os.path.join(HOME, ".pip", "pip.conf"),
    os.path.join(CONFIG, "pip", "pip.conf"),
)
"""Later ones win, as they do for pip."""
VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX",),
    "extra-index-url": ("UV_INDEX",),
    "find-links": ("UV_FIND_LINKS",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "cert": ("SSL_CERT_FILE",),
    "proxy": ("HTTPS_PROXY", "HTTP_PROXY"),
}


def pip_settings() -> dict[str, str]:
    """pip's settings for installing, by their names in its files."""
    settings: dict[str, str] = {}
    named = os.environ.get("PIP_CONFIG_FILE")
    files = FILES if named is None else () if named == os.devnull else (*FILES, named)
    for path in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            print(f"setup: {path} cannot be read; going on without it", file=sys.stderr)
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                settings.update(parser.items(section))
    for name in VARIABLES:
        given = os.environ.get("PIP_" + name.upper().replace("-", "_"))
        if given:
            settings[name] = given
    return settings


def main() -> None:
    """Print one line a variable."""
    settings = pip_settings()
    for name, variables in VARIABLES.items():
        # pip takes blanks and line breaks between several; uv takes blanks, or commas for folders.
        words = settings.get(name, "").split()
        value = ("," if name == "find-links" else " ").join(words)
        for variable in variables:
            if value and not os.environ.get(variable):
                print(f"export {variable}={shlex.quote(value)}")
    if settings.get("extra-index-url") and not os.environ.get("UV_INDEX_STRATEGY"):
        # pip takes the best version of all indexes.
        print("export UV_INDEX_STRATEGY=unsafe-best-match")


if __name__ == "__main__":
    main()
