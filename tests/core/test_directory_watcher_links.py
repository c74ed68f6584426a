"""DirectoryWatcherTask and symbolic links: by inotify and by polling, the same is reported."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.core.watching import put, watching


def link(place: Path, target: str) -> None:
    """Make a symbolic link, or give it another target, in one step."""
    scratch = place.parent.parent / "scratch-link"
    scratch.symlink_to(target)
    scratch.replace(place)


def config_map(folder: Path, number: int, text: str) -> None:
    """Do what Kubernetes does to a volume of a ConfigMap."""
    old = (folder / "..data").readlink() if (folder / "..data").exists() else None
    (folder / f"..version{number}").mkdir()
    (folder / f"..version{number}" / "conf").write_text(text)
    (folder / "..data_tmp").symlink_to(f"..version{number}")
    (folder / "..data_tmp").rename(folder / "..data")
    if old is not None:
        shutil.rmtree(folder / old)


def test_config_map_of_kubernetes(watched: Path, way: str) -> None:
    config_map(watched, 1, "1")
    (watched / "conf").symlink_to("..data/conf")
    with watching(watched, way) as task:
        for number in range(2, 6):
            config_map(watched, number, "x" * number)
            task.sees(("changed", "conf", str(number)))
        (watched / "conf").unlink()
        task.sees(("deleted", "conf"))


def test_target_is_written_removed_and_replaced(watched: Path, way: str) -> None:
    target = watched.parent / "one" / "target"
    target.write_text("1")
    (watched / "link").symlink_to("../one/target")
    with watching(watched, way) as task:
        with target.open("a") as file:
            file.write("2")
        task.sees(("changed", "link", "2"))
        put(target, "333")
        task.sees(("changed", "link", "3"))
        size = os.lstat(watched / "link").st_size
        target.unlink()
        task.sees(("changed", "link", str(size)))
        put(target, "4444")
        task.sees(("changed", "link", "4"))
        target.rename(watched.parent / "two" / "away")
        task.sees(("changed", "link", str(size)))
        shutil.rmtree(target.parent)
        target.parent.mkdir()
        put(target, "55555")
        task.sees(("changed", "link", "5"))


def test_link_gets_another_target_and_is_followed_there(watched: Path, way: str) -> None:
    for name in ("one", "two"):
        (watched.parent / name / "target").write_text(name)
    (watched.parent / "two" / "target").write_text("longer")
    link(watched / "link", str(watched.parent / "one" / "target"))
    with watching(watched, way) as task:
        link(watched / "link", str(watched.parent / "two" / "target"))
        task.sees(("changed", "link", "6"))
        put(watched.parent / "one" / "target", "")
        put(watched.parent / "two" / "target", "1")
        task.sees(("changed", "link", "1"))


def test_folder_on_way_is_replaced_or_linked_elsewhere(watched: Path, way: str) -> None:
    for number, name in enumerate(("one", "two"), 1):
        (watched.parent / name / "target").write_text("x" * number)
    link(watched.parent / "current", "one")
    (watched / "link").symlink_to("../current/target")
    with watching(watched, way) as task:
        link(watched.parent / "current", "two")
        task.sees(("changed", "link", "2"))
        put(watched.parent / "two" / "target", "333")
        task.sees(("changed", "link", "3"))
        (watched.parent / "two").rename(watched.parent / "away")
        (watched.parent / "one").rename(watched.parent / "two")
        task.wait_for(lambda found: found[-1:] == [("changed", "link", "1")])


def test_link_to_a_folder_becomes_a_file(watched: Path, way: str) -> None:
    (watched / "link").symlink_to("../one")
    with watching(watched, way) as task:
        (watched.parent / "one").rmdir()
        task.sees(("created", "link"))  # it leads nowhere, and stands for itself
        put(watched.parent / "one", "1")
        task.sees(("changed", "link", "1"))
        (watched.parent / "one").unlink()
        (watched.parent / "one").mkdir()
        task.wait_for(lambda found: found[-1:] == [("deleted", "link")])


def test_link_to_a_folder_replaces_a_file(watched: Path, way: str) -> None:
    (watched / "inside").symlink_to("../one")
    (watched / "first").touch()
    (watched / "second").touch()
    with watching(watched, way) as task:
        link(watched / "first", "../one")
        task.sees(("deleted", "first"))
        (watched / "inside").replace(watched / "second")
        task.sees(("deleted", "second"))


def test_links_to_a_file_of_the_same_folder(watched: Path, way: str) -> None:
    put(watched / "real", "1")
    (watched / "alias").symlink_to("real")
    (watched / "other").symlink_to("alias")
    with watching(watched, way) as task:
        with (watched / "real").open("a") as file:
            file.write("2")
        found = task.wait_for(lambda found: len(found) == 3)
        assert set(found) == {("changed", name, "2") for name in ("real", "alias", "other")}


def loop(folder: Path) -> None:
    (folder / "bad").symlink_to("bad")


def far_loop(folder: Path) -> None:
    (folder.parent / "one" / "back").symlink_to("../watched/bad")
    (folder / "bad").symlink_to("../one/back")


def long_name(folder: Path) -> None:
    (folder / "bad").symlink_to("x" * 300)


def through_a_file(folder: Path) -> None:
    (folder.parent / "file").touch()
    (folder / "bad").symlink_to("../file/inner")


def nowhere(folder: Path) -> None:
    (folder / "bad").symlink_to("../missing/folder/file")


@pytest.mark.parametrize("make", [loop, far_loop, long_name, through_a_file, nowhere])
def test_bad_link_is_file_and_hides_no_other(
    watched: Path, way: str, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    put(watched / "old", "1")
    with watching(watched, way, IGNORE_INITIAL_FILES=False) as task:
        task.sees(("created", "old"))
        make(watched)
        task.sees(("created", "bad"))
        put(watched / "zebra", "1")
        task.sees(("created", "zebra"))
        assert caplog.text.count("Cannot look at") == (make is not nowhere)
        link(watched / "bad", "old")
        task.sees(("changed", "bad", "1"))
    with watching(watched, way, IGNORE_INITIAL_FILES=False) as task:
        task.sees(("created", "bad"), ("created", "old"), ("created", "zebra"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else for a moment")
def test_forbidden_target_is_a_file_and_ends_nothing(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    def become_nobody(self: Any) -> None:
        ctypes.CDLL(None).setfsuid(65534)  # this thread alone; it loses root's rights to files

    with tempfile.TemporaryDirectory() as above:
        folder, secret = Path(above) / "watched", Path(above) / "secret"
        for place in (folder, secret):
            place.mkdir()
        Path(above).chmod(0o711)
        secret.chmod(0o700)
        (secret / "target").write_text("1")
        with watching(folder, way, initTaskThread=become_nobody) as task:
            (folder / "bad").symlink_to(secret / "target")
            put(folder / "good", "1")
            task.sees(("created", "bad"), ("created", "good"))
            secret.chmod(0o755)
            task.sees(("changed", "bad", "1"))
            put(secret / "target", "22")
            task.sees(("changed", "bad", "2"))
        assert caplog.text.count("Cannot look at") == 1


def test_unreadable_folder_keeps_its_files(
    watched: Path, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    refused = True

    def listdir(self: Any, path: str) -> list[str]:
        if refused:
            raise PermissionError(13, "Permission denied", path)
        return os.listdir(path)

    with watching(watched, way, listdir=listdir) as task:
        put(watched / "a", "1")
        for _ in range(3):
            task.execute_async().result(30)
        refused = False
        put(watched / "b", "1")
        task.sees(("created", "a"), ("created", "b"))
    assert caplog.text.count("Permission denied") == 1
