#!/bin/sh
# {mark}: called with the exit status after each end of the service.
if [ "$1" = 2 ]; then
    echo "{name}: wrong use, not started again until it is corrected: sv up {name}"
    exec sv d "$(pwd)"
fi
