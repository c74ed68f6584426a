"""Values of calls to bytes and back, checked against the annotations; by msgspec.

`Values` is for transports without a form of their own: JSON and MessagePack. Those that have one
(thrift, D-Bus, gRPC) check what their form does not: `Values.arguments_of`, `check`.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
from sparts.errors import UsageError
from sparts.rpc.errors import InvalidArgumentsError
from sparts.rpc.types import INT64, MISSING, Kind, Type
from sparts.rpc.unions import at, shape_of, writer_of

if TYPE_CHECKING:
    from types import ModuleType

    from sparts.rpc.interface import Method

Reader = Callable[[Any], Any]
_LONG_INT = re.compile(rb"\d{19}").search
_STR = Type(Kind.STR, str)
WRONG = (
    msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError, AttributeError,
    KeyError,
)  # fmt: skip
"""What converting a wrong value raises."""
PLAIN = (bool, int, float, str, bytes, type(None))
"""The classes of defaults that calls need not copy."""


MOST_DECODED = 256 * 2**20
"""How many bytes of memory the arguments of a call in JSON may take."""
_WEIGHTS = ((b"{", 512), (b"[", 96), (b",", 40), (b'"', 32))  # what begins with them takes at most
_LIGHT = MOST_DECODED // 513  # no JSON of so many bytes can take more


def check_weight(data: bytes) -> None:
    """Refuse JSON that could take more than `MOST_DECODED` bytes of memory, before it is decoded.

    A list of ``{}`` may take 170 times as many bytes as its text.

    Raises:
        InvalidArgumentsError: it could.
    """
    if len(data) > _LIGHT:
        data = bytes(data)  # AMQP has a msgspec.Raw
        weight = len(data) + sum(data.count(sign) * size for sign, size in _WEIGHTS)
        if weight > MOST_DECODED:
            raise InvalidArgumentsError(
                f"The arguments would take up to {weight >> 20} MiB of memory, and "
                f"{MOST_DECODED >> 20} MiB are the limit."
            )


class Values:
    """Converts the arguments and the results of one method.

    A parameter that is a stream is carried as the list of its items.

    Args:
        method: the method.
        form: ``msgspec.json`` (the default) or ``msgspec.msgpack``.
        items: whether the result of a stream is one item at a time, and not the list of them.

    Raises:
        UsageError: msgspec cannot carry a type of the method.
    """

    def __init__(
        self, method: Method, form: ModuleType | None = None, *, items: bool = False
    ) -> None:
        self.method: Method = method
        try:
            self._prepare(method, form or msgspec.json, items)
        except TypeError as error:
            why = str(error).partition("\n")[0].rstrip(".")
            raise UsageError(f"msgspec cannot carry {method.qualified}: {why}.") from error

    def _prepare(self, method: Method, form: ModuleType, items: bool) -> None:
        self._json = form is msgspec.json
        self._lists = method.streams and not items
        self._encode = form.Encoder(decimal_format="string").encode
        fields, self._readers = [], {}
        for each in method.parameters:
            shape, read = shape_of(each.type, each.is_stream)
            if read is not None:
                self._readers[each.name] = read
            fields.append((each.name, shape, *_default(each.default)))
        self.arguments_type: Any = msgspec.defstruct(
            method.name, fields, forbid_unknown_fields=True, kw_only=True
        )
        """A msgspec.Struct with a field for each parameter."""
        self._decode_arguments = form.Decoder(self.arguments_type).decode
        self._pick = _picker(method.names)
        shape, self._read_result = shape_of(method.result, self._lists)
        self._decode_result = form.Decoder(shape).decode
        self._write = [_many(writer_of(each.type), each.is_stream) for each in method.parameters]
        self._write_result = _many(writer_of(method.result), self._lists)
        kinds = {part.kind for each in method.parameters for _, part in each.type.walk()}
        self._ints = bool(kinds & {Kind.INT, Kind.ANY})
        self._floats = self._json and bool(kinds & {Kind.FLOAT, Kind.ANY})
        kinds = {part.kind for _, part in method.result.walk()}
        self._result_ints = bool(kinds & {Kind.INT, Kind.ANY})
        self._result_floats = self._json and bool(kinds & {Kind.FLOAT, Kind.ANY})

    def read_arguments(self, data: bytes) -> tuple[Any, ...]:
        """Return the values of all parameters in order, defaults included.

        Raises:
            InvalidArgumentsError: they do not fit; the message names the path.
        """
        if self._json:
            check_weight(data)
        try:
            decoded = self._decode_arguments(data)
            if self._readers or (self._ints and self._has_long_int(data)):
                return self._taken(decoded)
            return self._pick(decoded)
        except WRONG as error:
            if self._json and "`int" in str(error) and str(error).find("got `float`") > 0:
                return self.arguments_of(_integral(msgspec.json.decode(data)))
            raise InvalidArgumentsError(explain(error)) from error

    def arguments_of(self, values: Mapping[str, Any], strict: bool = True) -> tuple[Any, ...]:
        """Return the same of builtin values by name, such as what a JSON decoder returns.

        Args:
            values: the values.
            strict: False: strings are converted, as of the query of a URL.
        """
        try:
            given = msgspec.convert(values, self.arguments_type, strict=strict)
            return self._taken(given, finite=self._json)
        except WRONG as error:
            raise InvalidArgumentsError(explain(error)) from error

    def _taken(self, decoded: Any, finite: bool = False) -> tuple[Any, ...]:
        for name, read in self._readers.items():
            setattr(decoded, name, at(f".{name}", read, getattr(decoded, name)))
        values: tuple[Any, ...] = self._pick(decoded)
        self._check_arguments(values, finite)
        return values

    def _check_arguments(self, values: tuple[Any, ...], finite: bool) -> None:
        for each, value in zip(self.method.parameters, values, strict=True):
            check(each.type, value, each.name, finite, each.is_stream)

    def write_arguments(self, values: tuple[Any, ...]) -> bytes:
        """Return the bytes of the values of all parameters in order.

        Raises:
            InvalidArgumentsError: a value is not of its type, or has no form.
        """
        try:
            if self.method.stream_parameter is not None:
                pairs = zip(self.method.parameters, values, strict=True)
                values = tuple(list(value) if each.is_stream else value for each, value in pairs)
            written = {
                name: value if write is None else write(value)
                for name, write, value in zip(self.method.names, self._write, values, strict=True)
            }
            data: bytes = self._encode(written)
            if (self._floats and b"null" in data) or (self._ints and self._has_long_int(data)):
                self._check_arguments(values, self._json)
        except WRONG as error:
            raise InvalidArgumentsError(explain(error)) from error
        return data

    def write_result(self, value: Any) -> bytes:
        """Return the bytes of what `Served` has returned; of a collected stream: of the list.

        Raises:
            InvalidArgumentsError: it has no form.
        """
        try:
            written = value if self._write_result is None else self._write_result(value)
            data: bytes = self._encode(written)
            if self._result_floats and b"null" in data:
                check(self.method.result, value, "result", self._json, self._lists)
        except WRONG as error:
            raise InvalidArgumentsError(f"result: {explain(error)}") from error
        return data

    def read_result(self, data: bytes) -> Any:
        """Return the result that bytes hold.

        Raises:
            InvalidArgumentsError: they hold none.
        """
        try:
            value = self._decode_result(data)
            if self._read_result is not None:
                value = self._read_result(value)
            if self._result_ints and self._has_long_int(data):
                check(self.method.result, value, "result", False, self._lists)
        except WRONG as error:
            raise InvalidArgumentsError(f"result: {explain(error)}") from error
        return value

    def _has_long_int(self, data: bytes) -> bool:
        """Return whether there may be an int of more than 64 bits.

        To look for its trace in the bytes costs much less than to look at all values.
        """
        # b"\xcf" begins an unsigned int of 64 bits.
        return _LONG_INT(data) is not None if self._json else b"\xcf" in data


def check(type_: Type, value: Any, path: str, finite: bool, is_list: bool = False) -> None:
    """Raise if a value has an int that is out of bounds or, where JSON lacks it, NaN or infinity.

    Args:
        type_: its type.
        value: the value; its type is right.
        path: where it is, for the message.
        finite: whether floats must be finite.
        is_list: whether it is a list of values of that type.

    Raises:
        InvalidArgumentsError: the message names the path.
    """
    kind = type_.kind
    if is_list or kind in (Kind.LIST, Kind.SET):
        item = type_ if is_list else type_.args[0]
        for number, each in enumerate(value):
            check(item, each, f"{path}[{number}]", finite)
    elif isinstance(value, float):
        if finite and not math.isfinite(value):
            raise InvalidArgumentsError(f"{path}: JSON has no {value}")
    elif isinstance(value, int):
        ints = [each for each in (type_, *type_.args) if each.kind is Kind.INT]
        low, high = ints[0].bounds if ints else INT64
        if kind is not Kind.ENUM and not low <= value <= high:
            raise InvalidArgumentsError(
                f"{path}: expected an int from {low} to {high}, got {value}"
            )
    elif kind is Kind.OPTIONAL and value is not None:
        check(type_.args[0], value, path, finite)
    elif kind is Kind.UNION:
        for each in type_.args:
            if each.cls is type(value):
                check(each, value, path, finite)
    elif kind is Kind.TUPLE:
        for number, (each, item) in enumerate(zip(value, type_.args, strict=True)):
            check(item, each, f"{path}[{number}]", finite)
    elif kind is Kind.DICT:
        for key, each in value.items():
            check(type_.args[0], key, path, finite)
            check(type_.args[1], each, f"{path}.{key}", finite)
    elif kind is Kind.STRUCT:
        for field in type_.fields:
            if not type_.is_typed_dict:
                check(field.type, getattr(value, field.name), f"{path}.{field.name}", finite)
            elif field.name in value:
                check(field.type, value[field.name], f"{path}.{field.name}", finite)
    elif kind is Kind.ANY and isinstance(value, list | dict):
        whole = Type(Kind.DICT, dict, (_STR, type_)) if isinstance(value, dict) else type_
        check(whole, value, path, finite, isinstance(value, list))


_EXPLAINED = re.compile(r"(.*?)(?: - at (`key` in )?`\$(.*)`)?", re.DOTALL)


def explain(error: BaseException) -> str:
    """Return what msgspec says of a wrong value as ``a.x: expected float, got str``."""
    if isinstance(error, RecursionError):
        return "the values are nested too deep"
    if isinstance(error, AttributeError | KeyError):
        return f"a value is not of its type: {error}"
    if isinstance(error, UnicodeError):
        return f"a string is no Unicode: {error}"
    match = _EXPLAINED.fullmatch(str(error))
    assert match is not None  # noqa: S101 - it fits any string
    text, path = match[1].replace("`", ""), (match[3] or "").lstrip(".")
    text += " as a key" if match[2] else ""
    text = text if text.startswith("JSON") else text[:1].lower() + text[1:]
    return f"{path}: {text}" if path else text


def _integral(value: Any) -> Any:
    """Return a decoded JSON value with 1.0 as 1: JSON knows no difference, and its schemas none."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        return [_integral(each) for each in value]
    return {k: _integral(v) for k, v in value.items()} if isinstance(value, dict) else value


def _default(default: Any) -> tuple[Any, ...]:
    if default is MISSING:
        return ()
    if isinstance(default, PLAIN):
        return (default,)
    return (msgspec.field(default_factory=partial(copy.deepcopy, default)),)


def _picker(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if not names:
        return lambda _: ()
    pick = attrgetter(*names)
    return pick if len(names) > 1 else lambda arguments: (pick(arguments),)


def _many(write: Reader | None, is_list: bool) -> Reader | None:
    return (lambda values: [write(each) for each in values]) if write and is_list else write
