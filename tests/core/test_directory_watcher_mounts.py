"""DirectoryWatcherTask and file systems that are mounted on the directory, or above it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import subprocess, sys
from pathlib import Path
from tests.core.watching import watching

home = Path(sys.argv[1])
folder = home / "above" / "folder"
with watching(folder, "inotify") as task:
    for mount, place, unmount in (
        ("mount -t tmpfs none", folder, "umount"),
        (f"mount --bind {home / 'other'}", folder, "umount"),
        ("mount -t tmpfs none", folder, "umount --lazy"),
        ("mount -t tmpfs none", home / "above", "umount"),
    ):
        subprocess.run([*mount.split(), place], check=True)
        task.sees(("deleted", "below"), *[("gone",)] * (place != folder))
        if place != folder:
            folder.mkdir()
            task.sees(("back",))
        (folder / "mounted").touch()
        task.sees(("created", "mounted"))
        used = open(folder / "mounted") if "lazy" in unmount else None
        while subprocess.run([*unmount.split(), place]).returncode:
            pass  # the task has just looked at it
        task.sees(("deleted", "mounted"), ("created", "below"))
        (folder / "more").touch()
        task.sees(("created", "more"))
        (folder / "more").unlink()
        task.sees(("deleted", "more"))
    assert task.n_iterations() < 200  # it sleeps in between
"""


@pytest.mark.needs_namespace("mount")
def test_mounts_on_and_above_the_folder_are_seen(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    folder = tmp_path / "above" / "folder"
    folder.mkdir(parents=True)
    (folder / "below").touch()
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = ["unshare", *user, "--mount", sys.executable, "-c", SCRIPT, str(tmp_path)]
    here = Path(__file__).parents[2]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=here)
    assert done.returncode == 0, done.stderr
