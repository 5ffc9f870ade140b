#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: build-package.sh OUTPUT
#
# Builds the Debian packages of this source tree (debian/) into the folder
# OUTPUT, installing first what that needs. CPU only, like Debian itself.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[[ $# -eq 1 && $1 != -* ]] || usage_and_exit "$@"
mkdir -p "$1"
output=$(cd "$1" && pwd)
"$mt3_root/pipelines/install-packages.sh" build package

# dpkg-buildpackage writes into the tree and beside it: it gets a copy.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/gst-mt3"
git -C "$mt3_root" ls-files -z --cached --others --exclude-standard |
  tar -C "$mt3_root" --null --ignore-failed-read -T - -c |
  tar -C "$copy/gst-mt3" -x

cd "$copy/gst-mt3"
dpkg-buildpackage --unsigned-source --unsigned-changes --build=binary
lintian --fail-on error ../gst-mt3_*.changes
mv ../*.deb ../*.changes ../*.buildinfo "$output"
