"""The web app of a study: what surrounds the pages (who asks, limits, headers, errors)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask, Response, g, render_template, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from mos_study import pages
from mos_study.store import RatingStore
from mos_study.study import read_study
from mos_study.texts import LANGUAGES, TEXTS

LARGEST_REQUEST = 4096
LIMITS = ["50/second", "2000/minute"]
"""A person rates once in some seconds, but a class of raters may share one address at first."""
JOIN_LIMIT = "120/minute"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def create_app(folder: Path) -> Flask:
    """The app for the study in a folder.

    Raises:
        MissingDataError, DamagedStudyError: there is no usable study.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_REQUEST
    app.extensions[pages.SERVED] = pages.Served(folder, read_study(folder), RatingStore(folder))
    # Flask escapes only in files that are called .html.
    app.jinja_env.autoescape = True
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.before_request(_recognise)
    # After that, since who asks counts.
    limiter = Limiter(_who, app=app, default_limits=[*LIMITS], storage_uri="memory://")
    app.register_blueprint(pages.blueprint)
    join = limiter.limit(JOIN_LIMIT, methods=["POST"])(pages.join)
    app.view_functions["pages.join"] = join
    app.after_request(_harden)
    app.register_error_handler(HTTPException, _explain)
    return app


def _recognise() -> None:
    g.rater = pages.rater_of(request.cookies.get(pages.RATER_COOKIE, ""))
    asked = request.args.get("language") or request.cookies.get(pages.LANGUAGE_COOKIE)
    preferred = request.accept_languages.best_match(LANGUAGES, default=next(iter(LANGUAGES)))
    g.language = asked if asked in LANGUAGES else preferred
    g.text = TEXTS[g.language]


def _who() -> str:
    """Whose requests count together: a rater's, else those of an address."""
    return get_remote_address() if g.rater is None else f"rater {g.rater}"


def _harden(response: Response) -> Response:
    response.headers.update(HEADERS)
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    if request.args.get("language") in LANGUAGES:
        pages.set_cookie(response, pages.LANGUAGE_COOKIE, g.language)
    return response


def _explain(error: HTTPException) -> Any:
    code = error.code or 500
    if request.endpoint in pages.ANSWERS_IN_JSON:
        return {"error": error.name}, code
    message = g.text.get(f"error_{code}", g.text["error_other"])
    return render_template("message.html.j2", title=g.text["error"], message=message), code
