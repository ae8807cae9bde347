"""A pickle read as data: its opcodes build plain values, and nothing that it names is imported or called.

Python's own unpickler imports what a file names and calls it. Here a name stays a `Name`; where the file calls one,
the caller's `build` says what comes of it, and by default that is a `Foreign`, which remembers its name and what it
is filled with. The opcodes are those of Python's pickletools; work, sizes and keys are bounded, so that no file of any
content takes long, grows large or overflows the stack.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from litepose.errors import LiteposeError

MAX_OPERATIONS = 1_000_000  # a training checkpoint of the largest network here takes about 150,000
MAX_ARGUMENT = 1 << 26  # bytes of one string or number
MAX_REASON = 200  # characters of an error's text, which may quote the file
MAX_KEY = 1 << 60  # integers up to here have hashes of their own; beyond, a file could make them all collide

_NAME = re.compile(r"[\w.<>-]{1,300}")


class MalformedPickle(Exception):
    """The bytes are no pickle, a truncated one, or one that could not be what it says."""


@dataclass(frozen=True, eq=False)
class Name:
    """A class or function that a file names: "torch.FloatStorage". It is not looked up."""

    text: str


@dataclass(frozen=True, eq=False)
class Foreign:
    """What a file wanted to be made by calling a name. entries: what it was filled with, as a dict is."""

    name: str
    entries: dict[Any, Any] = field(default_factory=dict)


Build = Callable[[str, tuple[Any, ...]], Any]


def inert(name: str, arguments: tuple[Any, ...]) -> Any:
    """Return the placeholder of a call that is not made."""
    return Foreign(name)


def read_pickle(
    file: BinaryIO,
    *,
    check: Callable[[str], None] = lambda name: None,
    build: Build = inert,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """Return the value of the pickle that starts here; the file stands behind it afterwards.

    check: called with every dotted name that the file holds, to raise where it must not go on.
    build: called for (name, arguments) where the file calls a name; returns what stands for the result.
    persistent: called with the id of what is kept outside of the pickle. Raises MalformedPickle.
    """
    machine = _Machine(check, build, persistent)
    try:
        return machine.run(pickletools.genops(_Bounded(file)))  # type: ignore[arg-type]
    except (MalformedPickle, LiteposeError):
        raise
    except Exception as error:  # untrusted bytes break the parsing in any way
        raise MalformedPickle(
            readable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        ) from error


def readable(text: str) -> str:
    """Return text out of a file as one short line without control characters."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text[: MAX_REASON + 1])
    return line if len(line) <= MAX_REASON else line[:MAX_REASON] + "..."


class _Bounded:
    """A file that is read in small pieces only, whatever lengths it states."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def read(self, count: int) -> bytes:
        if count > MAX_ARGUMENT:
            raise MalformedPickle(f"one value of it claims {count:,} bytes")
        return self.file.read(count)

    def readline(self) -> bytes:
        return self.file.readline(MAX_ARGUMENT)

    def tell(self) -> int:
        return self.file.tell()


class _Machine:
    """The stack, the marks and the memo that pickle's opcodes work on."""

    def __init__(self, check: Callable[[str], None], build: Build, persistent: Callable[[Any], Any] | None) -> None:
        self.check, self.build, self.persistent = check, build, persistent
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # the stacks below the open marks
        self.memo: dict[int, Any] = {}

    def run(self, operations: Iterator[tuple[Any, Any, Any]]) -> Any:
        for count, (opcode, argument, _) in enumerate(operations):
            if count > MAX_OPERATIONS:
                raise MalformedPickle(f"it has more than {MAX_OPERATIONS:,} steps")
            name = opcode.name
            if name == "STOP":
                return self.stack.pop()
            if name in _PUSHED:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name]())
            elif name in _STEPS:
                _STEPS[name](self, argument)
            elif name not in ("PROTO", "FRAME"):
                raise MalformedPickle(f"opcode {name} has no place in a checkpoint")
        raise MalformedPickle("it ends in the middle")

    # --- the stack and the memo ---

    def mark(self, _: Any) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def pop_mark(self, _: Any) -> None:
        self.since_mark()

    def duplicate(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    # --- containers ---

    def make_tuple(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) < count:
            raise MalformedPickle("a tuple lacks its parts")
        self.stack[-count:] = [items]

    def marked_tuple(self, _: Any) -> None:
        items = self.since_mark()
        self.stack.append(tuple(items))

    def marked_list(self, _: Any) -> None:
        items = self.since_mark()
        self.stack.append(items)

    def marked_dict(self, _: Any) -> None:
        found: dict[Any, Any] = {}
        _fill(found, self.since_mark())
        self.stack.append(found)

    def marked_set(self, _: Any) -> None:
        self.since_mark()
        self.stack.append(Foreign("builtins.frozenset"))

    def append(self, _: Any) -> None:
        self._extend([self.stack.pop()])

    def appends(self, _: Any) -> None:
        self._extend(self.since_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Foreign):
            raise MalformedPickle(f"it appends to a {type(target).__name__}")

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _fill(self.stack[-1], [key, value])

    def set_items(self, _: Any) -> None:
        items = self.since_mark()
        _fill(self.stack[-1], items)

    def add_items(self, _: Any) -> None:
        self.since_mark()

    # --- names and calls ---

    def named(self, text: str) -> None:
        self.stack.append(self._name(*text.split(" ", 1)))

    def stack_named(self, _: Any) -> None:
        leaf, module = self.stack.pop(), self.stack.pop()
        if not isinstance(leaf, str) or not isinstance(module, str):
            raise MalformedPickle("a name of it is no text")
        self.stack.append(self._name(module, leaf))

    def _name(self, module: str, leaf: str) -> Name:
        text = f"{module}.{leaf}"
        if not _NAME.fullmatch(text):
            raise MalformedPickle("a name of it is no name")
        self.check(text)
        return Name(text)

    def call(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self._call(function, arguments)

    def call_with_keywords(self, _: Any) -> None:
        self.stack.pop()  # keywords of metadata's constructors
        self.call(None)

    def call_marked(self, _: Any) -> None:
        function, *arguments = self.since_mark()
        self._call(function, tuple(arguments))

    def call_named(self, text: str) -> None:
        arguments = self.since_mark()
        self._call(self._name(*text.split(" ", 1)), tuple(arguments))

    def _call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise MalformedPickle(f"it calls a {type(function).__name__}")
        self.stack.append(self.build(function.text, arguments))

    def set_state(self, _: Any) -> None:
        self.stack.pop()  # attributes and the like: of no use without their class
        if not self.stack:
            raise MalformedPickle("it gives a state to nothing")

    def from_outside(self, identifier: Any) -> None:
        if self.persistent is None:
            raise MalformedPickle("it refers to something outside of it")
        self.stack.append(self.persistent(identifier))

    def stack_from_outside(self, _: Any) -> None:
        self.from_outside(self.stack.pop())


def _fill(target: Any, items: list[Any]) -> None:
    """Set keys and values, which alternate; keys that are neither text nor number are dropped."""
    entries = target.entries if isinstance(target, Foreign) else target
    if not isinstance(entries, dict) or len(items) % 2:
        raise MalformedPickle(f"it sets keys of a {type(target).__name__}")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, str) or (isinstance(key, int) and abs(key) < MAX_KEY):
            entries[key] = value


_PUSHED = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_LIST": list, "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple, "EMPTY_SET": lambda: Foreign("builtins.set"),
}  # fmt: skip
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark, "POP": _Machine.pop, "POP_MARK": _Machine.pop_mark, "DUP": _Machine.duplicate,
    "GET": _Machine.get, "BINGET": _Machine.get, "LONG_BINGET": _Machine.get,
    "PUT": _Machine.put, "BINPUT": _Machine.put, "LONG_BINPUT": _Machine.put, "MEMOIZE": _Machine.memoize,
    "TUPLE": _Machine.marked_tuple, "TUPLE1": lambda machine, _: machine.make_tuple(1),
    "TUPLE2": lambda machine, _: machine.make_tuple(2), "TUPLE3": lambda machine, _: machine.make_tuple(3),
    "LIST": _Machine.marked_list, "DICT": _Machine.marked_dict, "FROZENSET": _Machine.marked_set,
    "APPEND": _Machine.append, "APPENDS": _Machine.appends, "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items, "ADDITEMS": _Machine.add_items,
    "GLOBAL": _Machine.named, "STACK_GLOBAL": _Machine.stack_named, "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call, "NEWOBJ_EX": _Machine.call_with_keywords, "OBJ": _Machine.call_marked,
    "INST": _Machine.call_named, "BUILD": _Machine.set_state,
    "PERSID": _Machine.from_outside, "BINPERSID": _Machine.stack_from_outside,
}  # fmt: skip
