"""No secret reaches a log: message, arguments, exceptions, extra fields, other spellings."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sparts.logs.formats import SecretFilter
from sparts.masking import hide_secret
from sparts.options import option, reload_options

from tests.core.log_helpers import FakeStderr, logging_as, no_secrets
from tests.core.option_owners import environment, made, parser_of, service_of, task_of
from tests.core.scripts import ended

pytestmark = pytest.mark.usefixtures("stderr")
SECRET = 'p"ss\nwörd \\ 1'


class Holder:
    def __repr__(self) -> str:
        return f"Holder({SECRET!r})"


def log_everywhere(logger: logging.Logger) -> None:
    """Log the secret in every place that a record has."""
    logger.info("in the text: %s", SECRET)
    logger.info(f"formatted: {SECRET}")
    logger.info("quoted: %r and %r", SECRET, {"password": SECRET})
    logger.info("as bytes: %r", SECRET.encode())
    logger.info("by name: %(pw)s", {"pw": SECRET})
    logger.info("as JSON: %s", json.dumps({"pw": SECRET}))
    logger.info("an object: %s", Holder())
    logger.info(
        "extra",
        extra={
            "pw": SECRET,
            "deep": {"list": [SECRET, (SECRET,)], (SECRET,): {SECRET}},
            "held": Holder(),
            SECRET: 1,
        },
    )
    try:
        try:
            raise ValueError(SECRET)
        except ValueError as cause:
            logger.exception("failed")
            raise KeyError("outer") from cause
    except KeyError:
        logger.exception("failed")
    logger.info("stack", stack_info=True)


def assert_no_secret(text: str) -> None:
    for part in ('p"ss', 'p\\"ss', "wörd", "w\\u00f6rd", "w\\xf6rd", "w\\xc3"):
        assert part not in text
    assert "********" in text


@pytest.mark.parametrize("form", ["text", "json", "file"])
def test_secret_is_masked_in_every_place_of_record(
    stderr: FakeStderr, form: str, tmp_path: Path
) -> None:
    hide_secret(SECRET)
    how = {"logfile": tmp_path / "log"} if form == "file" else {"format": form}
    with logging_as(**how):
        log_everywhere(logging.getLogger("Svc.Task"))
    text = (tmp_path / "log").read_text() if form == "file" else stderr.getvalue()
    assert_no_secret(text)
    if form == "json":
        assert len([json.loads(line) for line in text.splitlines()]) == 11


def test_secret_is_masked_in_handlers_of_applications(stderr: FakeStderr) -> None:
    hide_secret(SECRET)
    handler = logging.StreamHandler(stderr)
    logging.getLogger().addHandler(handler)
    logging.getLogger("Svc").setLevel(logging.INFO)
    with logging_as() as logger:
        log_everywhere(logger)
    logging.getLogger("Svc").setLevel(logging.NOTSET)
    assert_no_secret(stderr.getvalue())


def test_broken_message_is_reported_without_secret(stderr: FakeStderr) -> None:
    hide_secret(SECRET)
    with logging_as() as logger:
        logger.info("%d things", SECRET)
        logger.info("%s %s", SECRET)
        logger.info("%(absent)s", {"pw": SECRET})
    assert stderr.getvalue().count("cannot be formatted with") == 3
    assert 'p"ss' not in stderr.getvalue()
    assert "wörd" not in stderr.getvalue()


def test_each_line_of_a_secret_is_masked(stderr: FakeStderr) -> None:
    hide_secret("-----BEGIN KEY-----\nMIIEvgIBADANBg\nkqhkiG9w0BAQ\n-----END KEY-----\n")
    with logging_as() as logger:
        logger.info("first line: MIIEvgIBADANBg")
    assert stderr.getvalue() == "INFO:Svc:first line: ********\n"


def test_secret_that_contains_another_is_masked_whole(stderr: FakeStderr) -> None:
    hide_secret(["abc-123", "abc-123-456", b"bytes-secret", None, "", 987654])
    with logging_as(format="json") as logger:
        logger.info("abc-123-456 abc-123 bytes-secret", extra={"pin": 987654, "n": 5})
    (line,) = map(json.loads, stderr.getvalue().splitlines())
    assert line["message"] == "******** ******** ********"
    assert (line["pin"], line["n"]) == ("********", 5)


def test_keys_and_stacks_are_masked_too() -> None:
    hide_secret(SECRET)
    fields = {"held": {SECRET: 1, (SECRET,): 2}, "stack_info": f"Stack:\n{SECRET}"}
    record = logging.makeLogRecord({"msg": "x", **fields})
    SecretFilter().filter(record)
    assert "wörd" not in repr(vars(record))
    assert list(vars(record)["held"].values()) == [1, 2]


def test_secret_in_a_repr_is_masked_in_json(stderr: FakeStderr) -> None:
    class Sly(Holder):
        def __str__(self) -> str:
            return "nothing to see"

    hide_secret(SECRET)
    with logging_as(format="json") as logger:
        logger.info("x", extra={"odd": {(1,): Sly()}})
    assert_no_secret(stderr.getvalue())


def test_records_are_untouched_while_there_is_no_secret() -> None:
    record = logging.makeLogRecord({"msg": "%s", "args": ("x",), "extra_field": [1]})
    before = dict(vars(record))
    assert SecretFilter().filter(record) is True
    assert vars(record) == before


@given(secret=st.text(min_size=1), around=st.tuples(st.text(), st.text()))
def test_any_secret_is_masked_in_any_message(secret: str, around: tuple[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        no_secrets(patch)
        hide_secret(secret)
        message = around[0] + secret + around[1]
        record = logging.makeLogRecord({"msg": "%s", "args": (message,), "field": [message]})
        SecretFilter().filter(record)
        # The field's name is masked too, if it holds the secret.
        (field,) = (value for value in vars(record).values() if type(value) is list)
        found = (record.getMessage(), field[0])
        if not set(secret) <= {"*"}:
            assert all(
                secret not in text.replace("********", "") or secret in "".join(around)
                for text in found
            )
            assert all("********" in text for text in found)


# -- from options ----------------------------------------------------------------------------------

VAULT = service_of(
    task_of(token=option(secret=True, default="token-default-1"), pin=option(type=int, secret=True))
)


def logged(stderr: FakeStderr, *texts: Any) -> str:
    """What these become in the log."""
    with logging_as("MyService") as logger:
        for text in texts:
            logger.info("%s", text)
    found = stderr.getvalue()
    stderr.truncate(0)
    stderr.seek(0)
    return found


def test_secret_is_masked_once_it_is_read(stderr: FakeStderr, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[http]\ntoken = 'token-file-1'\n")
    made(VAULT, "--config", str(tmp_path / "x.toml"))
    made(VAULT, "--http-token", "token-flag-1", "--http-pin", "0012345")
    with environment(MYSERVICE_HTTP_TOKEN="token-env-1"):
        made(VAULT)
    VAULT(parser_of(VAULT).parse_args(["--http-token", "token-plain-1"]))
    words = "token-default-1 token-file-1 token-flag-1 token-env-1 token-plain-1 0012345"
    text = logged(stderr, *words.split(), 12345)
    assert text == "INFO:MyService:********\n" * 7


def test_changed_secret_and_old_one_are_masked(stderr: FakeStderr, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[http]\ntoken = 'token-first-1'\n")
    service = made(VAULT, "--config", str(file))
    file.write_text("[http]\ntoken = 'token-second-2'\n")
    reload_options(service)
    service.setOption("http_token", "token-third-3")
    service.requireTask("HTTP").token = "token-fourth-4"
    words = "token-first-1 token-second-2 token-third-3 token-fourth-4"
    text = logged(stderr, *words.split(), service.options)
    assert "token-" not in text


def test_secret_in_text_of_exit_is_masked(tmp_path: Path) -> None:
    body = """
from sparts.options import option
class S(VService):
    password = option(secret=True)
    def preprocessOptions(self):
        raise SystemExit("wrong: " + self.password)
"""
    output = ended(tmp_path, body, "--password", "hidden-word", status=1).output
    assert "hidden-word" not in output
    assert "wrong: " in output
