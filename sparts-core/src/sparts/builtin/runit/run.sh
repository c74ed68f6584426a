#!/bin/sh
# {mark}: what runsv runs, again whenever it has ended.
exec 2>&1
cd {folder} || exit 1
{variables}exec {command}
