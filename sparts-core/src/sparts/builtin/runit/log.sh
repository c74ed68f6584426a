#!/bin/sh
# {mark}: keeps what the service prints, rotated, in main/.
mkdir -p main && exec svlogd -tt main
