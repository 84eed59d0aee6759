"""The pages of a study: join by an invitation, read, rate one picture at a time.

A rater is known by a cookie with a number and a secret. Pictures go by their position in the
rater's own order, so neither the method nor a path is ever in a URL.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from random import SystemRandom
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    g,
    redirect,
    render_template,
    request,
    send_file,
    url_for,
)

from mos_study.order import trials_for_a_rater
from mos_study.store import NameTakenError, RatingStore
from mos_study.study import NEAREST, ORIGINAL, REFERENCES, Study
from mos_study.texts import LANGUAGES

SERVED = "served study"
RATER_COOKIE, LANGUAGE_COOKIE = "rater", "language"
COOKIE_SECONDS = 90 * 24 * 3600
NAME = re.compile(r"[^\W_][\w .-]{0,39}")
"""A letter or digit first: a name must not become a formula when the CSV is opened."""
SECONDS_A_RATING = 6
ANSWERS_IN_JSON = ("pages.state", "pages.rating")

blueprint = Blueprint("pages", __name__)


@dataclass(frozen=True)
class Served:
    """What an app serves: a study, its folder and its ratings."""

    folder: Path
    study: Study
    store: RatingStore


def rater_of(cookie: str) -> int | None:
    """The number of the rater whom a cookie proves; None if it proves nobody."""
    number, _, secret = cookie.partition(".")
    if not re.fullmatch(r"[0-9]{1,9}", number):
        return None
    return int(number) if _served().store.knows(int(number), secret) else None


def set_cookie(response: Any, name: str, value: str) -> None:
    """Set a cookie that scripts cannot read and other sites' forms do not send."""
    response.set_cookie(name, value, max_age=COOKIE_SECONDS, httponly=True, samesite="Lax")


@blueprint.app_context_processor
def _for_templates() -> dict[str, Any]:
    return {"text": g.text, "language": g.language, "languages": LANGUAGES}


@blueprint.get("/")
def home() -> Any:
    """The page to rate on, and thanks when all is done."""
    progress = _served().store.progress(_rater())
    if progress.done < progress.total:
        return render_template("rate.html.j2")
    message = g.text["thanks_text"].format(total=progress.total)
    return render_template("message.html.j2", title=g.text["thanks"], message=message)


@blueprint.route("/join/<token>", methods=["GET", "POST"])
def join(token: str) -> Any:
    """Where the invitation leads to: asks for a name."""
    served = _served()
    if not secrets.compare_digest(token.encode(), served.study.token.encode()):
        abort(404)
    if g.rater is not None:
        return redirect(url_for(".instructions"))
    trials = trials_for_a_rater(served.study, SystemRandom())
    name, problem = "", ""
    if request.method == "POST":
        name = " ".join(request.form.get("name", "").split())
        try:
            if not NAME.fullmatch(name):
                problem = g.text["name_bad"]
            else:
                rater, secret = served.store.add_rater(name, trials)
                response = redirect(url_for(".instructions"), 303)
                set_cookie(response, RATER_COOKIE, f"{rater}.{secret}")
                return response
        except NameTakenError:
            problem = g.text["name_taken"]
    minutes = ceil(len(trials) * SECONDS_A_RATING / 60)
    page = render_template("join.html.j2", minutes=minutes, name=name, problem=problem)
    return page, 422 if problem else 200


@blueprint.get("/instructions")
def instructions() -> Any:
    """What to do, the scale, and two examples."""
    served = _served()
    return render_template(
        "instructions.html.j2",
        progress=served.store.progress(_rater()),
        calibrating=len(served.study.calibration) * len(REFERENCES),
    )


@blueprint.get("/state")
def state() -> Any:
    """Where the rater is: `position` of `total`, and whether this is `calibration`."""
    return _state(_rater())


@blueprint.post("/rating")
def rating() -> Any:
    """Take a rating; the answer is the state after it.

    One that is sent twice, or out of turn, changes nothing: the answer says where the rater
    really is.
    """
    rater, store = _rater(), _served().store
    sent = request.get_json()
    position, value = (sent.get("position"), sent.get("rating")) if type(sent) is dict else (0, 0)
    if type(position) is not int or type(value) is not int or not 1 <= value <= 5:
        abort(400)
    trial = store.trial(rater, position) if 0 <= position < 1 << 31 else None
    if trial is None:
        abort(400)
    store.rate(rater, position, value)
    answer = _state(rater)
    if trial.kind == "calibration" and position < answer["position"]:
        answer["reference"] = REFERENCES[trial.version]
    return answer


@blueprint.get("/picture/<int(max=1000000):position>")
def picture(position: int) -> Response:
    """The picture at a position of the rater's order."""
    rater, store = _rater(), _served().store
    trial = store.trial(rater, position)
    # The one to be rated, and the next, which the page loads meanwhile.
    if trial is None or position > store.progress(rater).done + 1:
        abort(404)
    return _send(trial.image, trial.version)


@blueprint.get("/example/<any(low, high):which>")
def example(which: str) -> Response:
    """A picture that stands for the scale's end."""
    _rater()
    return _send(_served().study.calibration[0], NEAREST if which == "low" else ORIGINAL)


def _served() -> Served:
    served: Served = current_app.extensions[SERVED]
    return served


def _rater() -> int:
    """The number of the rater who asks; others may not."""
    if g.rater is None:
        abort(403)
    rater: int = g.rater
    return rater


def _state(rater: int) -> dict[str, Any]:
    done, total = _served().store.progress(rater)
    trial = _served().store.trial(rater, done)
    is_calibration = trial is not None and trial.kind == "calibration"
    return {"position": done, "total": total, "calibration": is_calibration}


def _send(image: int, version: str) -> Response:
    served = _served()
    path = served.study.picture(served.folder.absolute(), image, version)
    return send_file(path, mimetype="image/png", etag=False, last_modified=None)
