"""How hooks are called: the dispatcher of the core and pluggy do the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest
from sparts import dispatch, hookspecs
from sparts import plugins as defaults
from sparts.dispatch import Hooks
from sparts.dispatch.through_pluggy import PluginHooks
from sparts.errors import PluginError
from sparts.hookspecs import hookimpl

from tests.threads import in_threads

INIT = "sparts_task_init"
CHANGE = {"service": None, "old": "A", "new": "B"}


@pytest.fixture(params=[Hooks, PluginHooks], ids=["dispatcher", "pluggy"])
def hooks(request: pytest.FixtureRequest) -> Hooks:
    made: Hooks = request.param(plugins={"sparts": defaults})
    return made


@pytest.fixture
def said() -> list[str]:
    """What plugins have said."""
    return []


def plugin(name: str, function: Callable[..., Any], hook: str = "", **marks: Any) -> Any:
    """Make a plugin with one implementation, of the hook that the function is named after."""
    body = {hook or function.__name__: staticmethod(hookimpl(**marks)(function)), "__name__": name}
    return type(name, (), body)()


def teller(
    name: str,
    said: list[str],
    result: Any = None,
    hook: str = "sparts_service_change",
    **marks: Any,
) -> Any:
    """Make a plugin that notes its name and gives a result when its hook is called."""

    def note() -> Any:
        said.append(name)
        return result

    return plugin(name, note, hook, **marks)


def change(hooks: Hooks, *plugins: Any) -> Any:
    """Register plugins, and say that a service changes."""
    for each in plugins:
        hooks.register(each)
    return hooks.call("sparts_service_change", **CHANGE)


def init(hooks: Hooks, *plugins: Any) -> Any:
    """Register plugins, and initialise a task."""
    for each in plugins:
        hooks.register(each)
    return hooks.call("sparts_task_init", task=Task())


class Task:
    inits = 0

    def initTask(self) -> None:  # noqa: N802
        self.inits += 1


def test_the_newest_plugin_is_called_first(hooks: Hooks, said: list[str]) -> None:
    change(hooks, *(teller(name, said) for name in "abc"))
    assert said == ["c", "b", "a"]


def test_tryfirst_and_trylast_change_the_order(hooks: Hooks, said: list[str]) -> None:
    first, last = {"tryfirst": True}, {"trylast": True}
    names: dict[str, Any] = {"first": first, "last": last, "plain": {}}
    names |= {"first2": first, "last2": last, "plain2": {}}
    change(hooks, *(teller(name, said, **marks) for name, marks in names.items()))
    assert said == ["first2", "first", "plain2", "plain", "last", "last2"]


def test_results_come_in_order_of_calls_without_none(hooks: Hooks, said: list[str]) -> None:
    assert change(hooks) == []
    results = {"a": 1, "b": None, "c": 3}.items()
    assert change(hooks, *(teller(name, said, result) for name, result in results)) == [3, 1]


def test_first_result_ends_the_call(hooks: Hooks, said: list[str]) -> None:
    assert init(hooks, teller("a", said, "from a", INIT), teller("b", said, None, INIT)) == "from a"
    assert said == ["b", "a"]


def test_what_sparts_does_comes_after_the_plugins(hooks: Hooks, said: list[str]) -> None:
    task = Task()
    hooks.register(plugin("a", lambda: said.append(f"inits: {task.inits}"), "sparts_task_init"))
    assert hooks.call("sparts_task_init", task=task) is True
    assert (said, task.inits) == (["inits: 0"], 1)


def test_implementation_takes_only_the_arguments_that_it_names(hooks: Hooks) -> None:
    def sparts_service_change(new: Any, old: Any) -> tuple[Any, Any]:
        return new, old

    assert change(hooks, plugin("p", sparts_service_change)) == [("B", "A")]


def wrapping(name: str, said: list[str], **marks: Any) -> Any:
    def sparts_task_init() -> Generator[None, Any, Any]:
        said.append(f"{name} before")
        result = yield
        said.append(f"{name} after {result}")
        return f"{name}({result})"

    return plugin(name, sparts_task_init, wrapper=True, **marks)


def test_wrappers_go_around_and_see_the_result(hooks: Hooks, said: list[str]) -> None:
    outer, inner = wrapping("outer", said, tryfirst=True), wrapping("inner", said)
    assert init(hooks, outer, inner, teller("a", said, "x", INIT)) == "outer(inner(x))"
    assert said == ["outer before", "inner before", "a", "inner after x", "outer after inner(x)"]


def test_wrapper_sees_the_exception_and_may_replace_it(hooks: Hooks) -> None:
    def sparts_task_init() -> Generator[None, Any, Any]:
        try:
            yield
        except ValueError as error:
            return f"mended {error}"
        return "no error"

    def failing() -> None:
        raise ValueError("broken")

    wrapper = plugin("w", sparts_task_init, wrapper=True)
    assert init(hooks, wrapper, plugin("f", failing, "sparts_task_init")) == "mended broken"


def test_exception_of_a_wrapper_reaches_the_outer_ones(hooks: Hooks) -> None:
    seen: list[str] = []

    def sparts_task_init() -> Generator[None, Any, Any]:
        try:
            return (yield)
        except KeyError as error:
            seen.append(repr(error))
            raise

    def inner() -> Generator[None, Any, Any]:
        yield
        raise KeyError("inner")

    outer = plugin("outer", sparts_task_init, wrapper=True, tryfirst=True)
    with pytest.raises(KeyError):
        init(hooks, outer, plugin("inner", inner, "sparts_task_init", wrapper=True))
    assert seen == ["KeyError('inner')"]


@pytest.mark.parametrize("yields", [0, 2])
def test_wrapper_must_yield_once(hooks: Hooks, yields: int) -> None:
    def sparts_task_init() -> Generator[None, Any, Any]:
        for _ in range(yields):
            yield

    with pytest.raises(RuntimeError, match="yield"):
        init(hooks, plugin("w", sparts_task_init, wrapper=True))


def test_exception_ends_call_but_no_notification(hooks: Hooks, said: list[str]) -> None:
    def sparts_service_change() -> None:
        raise LookupError("mine")

    hooks.register(teller("a", said))
    hooks.register(plugin("b", sparts_service_change), "the broken one")
    with pytest.raises(LookupError):
        change(hooks, teller("c", said))
    assert said == ["c"]
    failures = hooks.notify("sparts_service_change", **CHANGE)
    assert said == ["c", "c", "a"]
    assert [(name, type(error)) for name, error in failures] == [("the broken one", LookupError)]


def test_contributions_come_singly_and_errors_name_plugin(hooks: Hooks) -> None:
    def sparts_tasks_add() -> list[str]:
        return ["x", "y"]

    def single() -> str:
        return "z"

    def broken() -> str:
        raise OSError("no")

    hooks.register(plugin("a", sparts_tasks_add))
    hooks.register(plugin("b", single, "sparts_tasks_add"))
    assert hooks.collect("sparts_tasks_add", str.upper, service_class=None) == ["Z", "X", "Y"]
    hooks.register(plugin("c", broken, "sparts_tasks_add"), "the broken one")
    with pytest.raises(PluginError, match="the broken one failed in sparts_tasks_add: OSError"):
        hooks.collect("sparts_tasks_add", service_class=None)


def test_unregistered_plugin_is_called_no_more(hooks: Hooks, said: list[str]) -> None:
    one = teller("a", said)
    hooks.register(one)
    hooks.unregister(one)
    hooks.unregister(one)
    change(hooks)
    assert said == []
    change(hooks, one)
    assert said == ["a"]


def test_plugin_registers_and_unregisters_during_a_call(hooks: Hooks, said: list[str]) -> None:
    late = teller("late", said)
    early = plugin("early", lambda: hooks.register(late), "sparts_service_change")
    change(hooks, early)
    assert said == []
    hooks.unregister(early)
    change(hooks)
    assert said == ["late"]


def test_plugin_is_registered_once(hooks: Hooks) -> None:
    one = teller("a", [])
    with pytest.raises(PluginError, match="registered already"):
        change(hooks, one, one)


def test_object_with_properties_is_asked_for_none(hooks: Hooks) -> None:
    class Mine:
        @property
        def trap(self) -> Any:
            raise AssertionError("a property was read")

        @hookimpl
        def sparts_service_change(self, new: Any) -> Any:
            return new

    assert change(hooks, Mine()) == ["B"]


def test_marks_of_pluggy_itself_are_understood(hooks: Hooks) -> None:
    import pluggy

    mark = pluggy.HookimplMarker("sparts")

    class Mine:
        @mark(tryfirst=True, specname="sparts_service_change")
        def changed(self) -> str:
            return "mine"

    assert change(hooks, Mine()) == ["mine"]


@pytest.mark.parametrize(
    ("written", "wrapper"),
    [
        ("def sparts_service_chnage(): pass", False),
        ("def sparts_service_change(servise): pass", False),
        ("def sparts_service_change(): pass", True),
        ("def sparts_service_change(): yield", False),
        ("async def sparts_service_change(): pass", False),
        ("async def sparts_service_change(): yield", True),
    ],
    ids=[
        "unknown-hook",
        "unknown-parameter",
        "no-generator",
        "no-wrapper",
        "async",
        "async-generator",
    ],
)
def test_wrong_plugin_is_refused(hooks: Hooks, written: str, wrapper: bool) -> None:
    namespace: dict[str, Any] = {}
    exec(written, namespace)
    wrong = plugin("wrong", next(f for n, f in namespace.items() if n[0] == "s"), wrapper=wrapper)
    with pytest.raises(PluginError, match="Hook plugin mine is wrong"):
        hooks.register(wrong, "mine")
    change(hooks)


def test_plugin_without_a_hook_is_refused(hooks: Hooks) -> None:
    with pytest.raises(PluginError, match="implements no hook"):
        hooks.register(object(), "mine")


def test_old_wrappers_are_refused(hooks: Hooks) -> None:
    import pluggy

    class Mine:
        @pluggy.HookimplMarker("sparts")(hookwrapper=True)
        def sparts_service_change(self) -> Generator[None, Any, None]:
            yield

    with pytest.raises(PluginError, match="wrapper=True"):
        hooks.register(Mine(), "mine")


def test_hooks_run_in_threads_while_plugins_change(hooks: Hooks, said: list[str]) -> None:
    stop = threading.Event()
    hooks.register(teller("stable", said))

    def churn() -> None:
        while not stop.is_set():
            other = teller(threading.current_thread().name, [])
            hooks.register(other)
            hooks.unregister(other)

    with in_threads(churn, churn):
        for _ in range(300):
            change(hooks)
        stop.set()
    assert said == ["stable"] * 300


def test_every_specification_is_known() -> None:
    names = [name for name in vars(hookspecs) if name.startswith("sparts_")]
    assert names
    for name in names:
        assert name in dispatch.specifications
    assert "hookimpl" not in dispatch.specifications


def test_hook_that_will_go_warns_its_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "specifications", dict(dispatch.specifications))
    monkeypatch.setattr("sparts.dispatch.through_pluggy.specifications", dispatch.specifications)

    @dispatch.hookspec(warn_on_impl=DeprecationWarning("use sparts_task_change"))
    def sparts_task_old(task: object) -> None: ...

    class Plugin:
        @hookimpl
        def sparts_task_old(self) -> None: ...

    with pytest.warns(DeprecationWarning, match="use sparts_task_change"):
        PluginHooks({"old": Plugin()})
