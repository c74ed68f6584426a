"""The four sources: which counts, how each names an option, and what is said of bad input."""

from __future__ import annotations

import os
import re
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sparts import logs
from sparts.errors import OptionError
from sparts.option_types import duration, endpoint, file_mask, listof, port, regex, size
from sparts.options import option, parse_options, source_of
from sparts.vservice import VService

from tests.core.option_owners import environment, made, parsed, parser_of, service_of, task_of


def table(value: Any) -> dict[str, Any]:
    return dict(value)


TASK = task_of(
    "TornadoHTTPTask",
    DEFAULT_PORT=1,
    port=option(type=port, default=lambda cls: cls.DEFAULT_PORT),
    sock_group=option(),
    hosts=option(nargs="*"),
    fast=option(type=bool, default=False),
)
SERVICE = service_of(
    TASK,
    limit=option(type=int, default=10),
    pause=option(type=duration),
    tags=option(type=listof(int)),
    headers=option(type=table),
    mode=option(choices=["a", "b"]),
    match=option(type=regex),
)


class Level(Enum):
    SOME = 1


def write(folder: Path, text: str, name: str = "service.toml") -> str:
    """The path of a file with this text."""
    (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    return str(folder / name)


def test_each_source_counts_before_those_after_it(tmp_path: Path) -> None:
    service = service_of(TASK, DEFAULT_PORT=2)
    file = write(tmp_path, "[http]\nport = 3\n")
    found = [parsed(service_of(TASK)), parsed(service), parsed(service, "--config", file)]
    with environment(MYSERVICE_HTTP_PORT="4"):
        found.append(parsed(service, "--config", file))
        found.append(parsed(service, "--config", file, "--http-port", "5"))
    assert [(ns.http_port, str(source_of(ns, "http_port"))) for ns in found] == [
        (1, "task class: TornadoHTTPTask"),
        (2, "service class: MyService.DEFAULT_PORT"),
        (3, f"file: {file}: [http] port"),
        (4, "environment: MYSERVICE_HTTP_PORT"),
        (5, "command line: --http-port"),
    ]
    assert [source_of(ns, "http_port").explicit for ns in found] == [False, False, True, True, True]


def test_flag_that_gives_default_counts_before_environment() -> None:
    with environment(MYSERVICE_LIMIT="4", MYSERVICE_HTTP_FAST="yes"):
        ns = parsed(SERVICE, "--limit", "10", "--no-http-fast")
    assert (ns.limit, ns.http_fast) == (10, False)


def test_repeated_config_files_later_wins_key_by_key(tmp_path: Path) -> None:
    first = write(tmp_path, "limit = 1\npause = '1s'\n", "a.toml")
    second = write(tmp_path, "limit = 2\n", "b.toml")
    ns = parsed(SERVICE, "--config", first, "--config", second)
    assert (ns.limit, ns.pause) == (2, 1.0)


@pytest.mark.parametrize("section", ["TornadoHTTPTask", "http"])
@pytest.mark.parametrize("key", ["sock_group", "sock-group"])
def test_section_and_key_have_several_spellings(tmp_path: Path, section: str, key: str) -> None:
    file = write(tmp_path, f"[{section}]\n{key} = 'www'\n")
    assert parsed(SERVICE, "--config", file).http_sock_group == "www"


def test_sections_of_one_prefix_are_one(tmp_path: Path) -> None:
    service = service_of(task_of("A", a=option(type=int)), task_of("B", b=option(type=int)))
    ns = parsed(service, "--config", write(tmp_path, "[http]\na = 1\nb = 2\n"))
    assert (ns.http_a, ns.http_b) == (1, 2)


VALUES: dict[str, dict[str, Any]] = {
    "limit = 5\npause = 1.5\ntags = [1, 2]\n": {"limit": 5, "pause": 1.5, "tags": [1, 2]},
    "[http]\nfast = true\nhosts = ['a', 'b']\n": {"http_fast": True, "http_hosts": ["a", "b"]},
    "[http]\nhosts = 'a'\n": {"http_hosts": ["a"]},
    "[headers]\na = 1\nb = 'x'\n": {"headers": {"a": 1, "b": "x"}},
    "\ufefflimit = 20\n": {"limit": 20},
}


@pytest.mark.parametrize("text", VALUES)
def test_values_of_a_file_have_tomls_types(tmp_path: Path, text: str) -> None:
    ns = parsed(SERVICE, "--config", write(tmp_path, text))
    assert vars(ns) | VALUES[text] == vars(ns)


def test_lists_and_booleans_have_form_in_environment() -> None:
    with environment(MYSERVICE_TAGS="1, 2", MYSERVICE_HTTP_HOSTS="a,b", MYSERVICE_HTTP_FAST="yes"):
        ns = parsed(SERVICE)
    assert (ns.tags, ns.http_hosts, ns.http_fast) == ([1, 2], ["a", "b"], True)


def test_empty_variable_is_empty_text_or_unset() -> None:
    with environment(MYSERVICE_LIMIT="", MYSERVICE_HTTP_SOCK_GROUP="", MYSERVICE_HTTP_HOSTS=""):
        ns = parsed(SERVICE)
    assert (ns.limit, ns.http_sock_group, ns.http_hosts) == (10, "", None)


def test_prefix_of_the_environment_can_be_set() -> None:
    with environment(APP_LIMIT="4", LIMIT="5", MYSERVICE_LIMIT="6"):
        assert parsed(service_of(limit=option(type=int), ENV_PREFIX="APP_")).limit == 4
        assert parsed(service_of(limit=option(type=int), ENV_PREFIX="")).limit == 5


def test_flag_replaces_config_files_of_the_environment(tmp_path: Path) -> None:
    first = write(tmp_path, "limit = 1\n", "a.toml")
    second = write(tmp_path, "pause = 2\n", "b.toml")
    with environment(MYSERVICE_CONFIG=f"{first}{os.pathsep}{second}"):
        assert (parsed(SERVICE).limit, parsed(SERVICE).pause) == (1, 2.0)
        assert parsed(SERVICE, "--config", second).limit == 10


def test_option_named_config_replaces_ours() -> None:
    service = service_of(config=option(type=int))
    with environment(MYSERVICE_CONFIG="7"):
        assert parsed(service).config == 7
    assert parsed(service, "--config", "8").config == 8


def test_unknown_variables_are_nobodys_business() -> None:
    with environment(MYSERVICE_PORT_80_TCP="tcp://10.0.0.1:80", MYSERVICE_HTTP_PROT="x"):
        parsed(SERVICE)


NEAR = "Did you mean"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[http]\nprot = 1\n", f"{{file}}: [http] prot: no such key. {NEAR} 'port'?"),
        ("limitt = 1\n", f"{{file}}: limitt: no such key. {NEAR} 'limit'?"),
        ("otel-endpoint = 'x'\n", "{file}: otel-endpoint: no such key. It comes with sparts-otel"),
        ("[htpp]\nport = 1\n", f"{{file}}: [htpp]: no such section. {NEAR} 'http'?"),
        ("http = 3\n", "{file}: http: expected a section: [http], its keys below it."),
        ("http_port = 1", "{file}: http_port: no such key. It goes into [TornadoHTTPTask] as 'por"),
        ("[http]\nport = 'x'\n", "{file}: [http] port: expected a port from 0 to 65535, got 'x'"),
        ("[http]\nport = 70000", "{file}: [http] port: expected a port from 0 to 65535, got 70000"),
        ("limit = true\n", "{file}: limit: expected a whole number, got True"),
        ("limit = 1.5\n", "{file}: limit: expected a whole number, got 1.5"),
        ("[http]\nhosts = [1]\n", "{file}: [http] hosts: expected a string, got [1]"),
        ("[http]\nhosts = {{}}\n", "{file}: [http] hosts: expected a list, each of it a string"),
        ("[http]\nport = 1\n[TornadoHTTPTask]\nport = 2", "{file}: [TornadoHTTPTask] port: given"),
        ("limit = 1\n\nlimit = = 2\n", "{file}: line 3: not valid TOML: Invalid value (a str"),
        ("limit = 1\nlimit = 2\n", "{file}: line 2: not valid TOML: Cannot overwrite a value."),
        ("limit = [1,\n", "{file}: line 2: not valid TOML:"),
        ("limit = " + "9" * 5000, "{file}: not valid TOML: Exceeds the limit"),
        ("limit = 1\n# \udcff\n", "{file}: line 2: not UTF-8"),
    ],
)
def test_bad_file_is_named_with_section_and_key(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text.replace("{{", "{").replace("}}", "}"))
    with pytest.raises(OptionError, match=re.escape(message.format(file=file))):
        parsed(SERVICE, "--config", file)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent.toml", "No such file or directory."),
        ("", "Is a directory."),
        ("a\0b", "embedded null byte."),
    ],
)
def test_unreadable_file_is_named_with_reason(tmp_path: Path, name: str, reason: str) -> None:
    file = str(tmp_path / name)
    with pytest.raises(OptionError) as error:
        parsed(SERVICE, "--config", file)
    assert str(error.value) == f"{file}: cannot be read: {reason}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--limit x", "--limit: expected a whole number, got 'x'"),
        ("--http-port 65536", "--http-port: expected a port from 0 to 65535, got '65536'"),
        ("--pause soon", "--pause: expected a duration such as 250ms, 5s, 2m or 1h, got 'soon'"),
        ("--limit", "--limit: expected one argument"),
        ("--nothing", "unrecognized arguments: --nothing"),
        ("--mode c", "--mode: expected one of a, b, got 'c'"),
        ("--match (", "--match: expected a regular expression ("),
        ("MYSERVICE_LIMIT x", "MYSERVICE_LIMIT: expected a whole number, got 'x'"),
        ("MYSERVICE_HTTP_FAST maybe", "MYSERVICE_HTTP_FAST: expected true or false, got 'maybe'"),
        ("MYSERVICE_TAGS 1,x", "MYSERVICE_TAGS: expected a whole number, got '1,x'"),
    ],
)
def test_bad_flag_or_variable_is_told_by_name(given: str, message: str) -> None:
    words = given.split()
    argv, variables = (words, {}) if given.startswith("-") else ([], dict([words]))
    with environment(**variables), pytest.raises(OptionError) as error:
        parsed(SERVICE, *argv)
    assert str(error.value).startswith(message)


def test_overridden_bad_value_is_still_reported() -> None:
    with environment(MYSERVICE_LIMIT="x"), pytest.raises(OptionError, match="MYSERVICE_LIMIT"):
        parsed(SERVICE, "--limit", "1")


def test_refused_default_is_named_with_flag() -> None:
    with pytest.raises(
        OptionError, match="the default of --limit: expected a whole number, got 'x"
    ):
        parsed(service_of(limit=option(type=int, default="x")))


def test_required_option_comes_from_any_source(tmp_path: Path) -> None:
    service = service_of(task_of(key=option(type=int, required=True)))
    file = write(tmp_path, "[http]\nkey = 3\n")
    assert parsed(service, "--http-key", "1").http_key == 1
    assert parsed(service, "--config", file).http_key == 3
    with environment(MYSERVICE_HTTP_KEY="2"):
        assert parsed(service).http_key == 2
    with pytest.raises(OptionError) as error:
        made(service)
    assert str(error.value) == (
        "--http-key is required: give the flag, the variable MYSERVICE_HTTP_KEY, or 'key' of "
        "[http] in a file for --config."
    )


def test_lists_are_checked_for_their_length(tmp_path: Path) -> None:
    service = service_of(pair=option(type=int, nargs=2), some=option(nargs="+"))
    for text, expected in [("pair = [1]", "2 values"), ("some = []", "at least one value")]:
        with pytest.raises(OptionError, match=f"expected {expected}, got"):
            parsed(service, "--config", write(tmp_path, text))


def test_parsers_error_is_its_own_again_afterwards() -> None:
    parser = parser_of(SERVICE)
    with pytest.raises(OptionError):
        parse_options(parser, ["--limit", "x"])
    with pytest.raises(SystemExit):
        parser.parse_args(["--limit", "x"])


# -- secrets from files ----------------------------------------------------------------------------

VAULT = service_of(task_of(token=option(secret=True)))


def test_secret_comes_from_file_that_its_variable_names(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cr3t-from-file\n")
    with environment(MYSERVICE_HTTP_TOKEN_FILE=str(tmp_path / "token")):
        ns = parsed(VAULT)
    assert ns.http_token == "s3cr3t-from-file"
    assert str(source_of(ns, "http_token")) == "environment: MYSERVICE_HTTP_TOKEN_FILE"


@pytest.mark.parametrize("name", ["http_token", "http-token"])
def test_secret_comes_from_systemds_credentials_after_the_environment(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("s3cr3t-credential")
    with environment(CREDENTIALS_DIRECTORY=str(tmp_path)):
        assert parsed(VAULT).http_token == "s3cr3t-credential"
        with environment(MYSERVICE_HTTP_TOKEN="s3cr3t-variable"):
            assert parsed(VAULT).http_token == "s3cr3t-variable"


def test_plain_option_has_no_file_variable(tmp_path: Path) -> None:
    with environment(
        MYSERVICE_LIMIT_FILE=str(tmp_path / "absent"), CREDENTIALS_DIRECTORY=str(tmp_path)
    ):
        (tmp_path / "limit").write_text("5")
        assert parsed(SERVICE).limit == 10


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"MYSERVICE_HTTP_TOKEN": "a-secret-1"},
            "TOKEN and MYSERVICE_HTTP_TOKEN_FILE are both set",
        ),
        ({}, "MYSERVICE_HTTP_TOKEN_FILE: .*absent: cannot be read: No such"),
    ],
)
def test_bad_secret_file_is_named_with_variable(
    tmp_path: Path, variables: dict[str, str], message: str
) -> None:
    variables = {"MYSERVICE_HTTP_TOKEN_FILE": str(tmp_path / "absent"), **variables}
    with environment(**variables), pytest.raises(OptionError, match=message):
        parsed(VAULT)


def test_message_about_bad_secret_does_not_show_it(tmp_path: Path) -> None:
    service = service_of(
        pin=option(type=int, secret=True), kind=option(choices=["a-choice"], secret=True)
    )
    file = write(tmp_path, "pin = 'hunter-two'\n")
    for argv in [["--config", file], ["--pin", "hunter-two"], ["--kind", "hunter-two"]]:
        with pytest.raises(OptionError, match="secret") as error:
            parsed(service, *argv)
        assert "hunter-two" not in str(error.value)
        assert error.value.__cause__ is None
    with environment(MYSERVICE_PIN="hunter-two"), pytest.raises(OptionError) as error:
        parsed(service)
    assert "hunter-two" not in str(error.value)


# -- arbitrary text --------------------------------------------------------------------------------

OPTIONS: dict[str, Any] = {
    "limit": option(type=int),
    "pause": option(type=duration),
    "tags": option(type=listof(int)),
    "match": option(type=regex),
    "mode": option(choices=["a", "b"]),
    "verbose": option(action="count"),
    "title": option(),
    "ratio": option(type=float),
}
OF_TASK: dict[str, Any] = {
    "port": option(type=port),
    "fast": option(type=bool),
    "pin": option(secret=True),
}
FUZZED = service_of(task_of(hosts=option(nargs="+"), **OF_TASK), **OPTIONS)
KEYS = [*OPTIONS, *OF_TASK, "http", "HTTP"]
WORDS = [" = ", "[[", '"""', "-1", "1e400", "nan", "true", "2026-01-01", "07:00:00", "\\u00"]
TOML_LIKE = st.lists(
    st.sampled_from([*KEYS, *WORDS, *"=\n[]{},.#'\"1\0\r\xe9"]) | st.text(max_size=3), max_size=14
).map("".join)
VARIABLE = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def value_or_error(*argv: str) -> None:
    """Parse; an `OptionError` that says something is right, any other exception fails the test."""
    try:
        parsed(FUZZED, *argv)
    except OptionError as error:
        said = str(error)
    else:
        said = "values"
    assert said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arbitrary")


@settings(max_examples=150)
@given(content=(st.text() | TOML_LIKE).map(str.encode) | st.binary())
def test_any_content_of_file_is_read_or_refused(folder: Path, content: bytes) -> None:
    (folder / "any.toml").write_bytes(content)
    value_or_error("--config", str(folder / "any.toml"))


@given(key=st.sampled_from(KEYS), value=VARIABLE)
def test_any_text_in_environment_is_read_or_refused(key: str, value: str) -> None:
    names: dict[str, Any] = {
        f"MYSERVICE_{key.upper()}": value,
        f"MYSERVICE_HTTP_{key.upper()}": value,
    }
    with environment(**names):
        value_or_error()


@given(st.lists(st.sampled_from([f"--{key}" for key in KEYS]) | VARIABLE, max_size=5))
def test_arbitrary_command_lines_are_values_or_clear_error(argv: list[str]) -> None:
    if not {"-h", "--help"} & set(argv):
        try:
            value_or_error(*argv)
        except SystemExit as end:  # an abbreviation of --help or --show-config
            if end.code:
                raise


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "5", 5),
        (float, "0.5", 0.5),
        (bool, "yes", True),
        (port, "80", 80),
        (size, "4KiB", 4096),
        (duration, "5s", 5.0),
        (file_mask, "027", 0o27),
        (endpoint, ":80", ("", 80)),
        (listof(port), "1, 2", [1, 2]),
        (Level, "SOME", Level.SOME),
        (logs.level_name, "INFO", "INFO"),
    ],
)
@pytest.mark.parametrize("form", ["{}\r", " {} ", "\t{}\r\n"])
def test_blanks_around_numbers_in_variables_do_not_matter(
    kind: Any, text: str, value: object, form: str
) -> None:
    service = service_of(number=option(type=kind))
    with environment(MYSERVICE_NUMBER=form.format(text)):
        assert parsed(service).number == value
    with environment(MYSERVICE_NUMBER=form.format("")):
        assert parsed(service).number is None  # as if empty


def test_instances_read_what_was_parsed() -> None:
    with environment(MYSERVICE_HTTP_PORT="4"):
        service: VService = made(SERVICE)
    assert service.requireTask(TASK).port == 4
