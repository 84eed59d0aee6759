"""What the pages say, in the languages of the raters."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parent / "texts"
LANGUAGES = {"en": "English", "ja": "日本語"}
TEXTS: dict[str, dict[str, str]] = {
    language: json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    for language in LANGUAGES
}
