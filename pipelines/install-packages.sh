#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: install-packages.sh GROUP...
#
# Installs the Debian packages of the named groups of packages.txt that are not
# there yet, as root or through sudo.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
packages=$mt3_root/pipelines/packages.txt

packages_of () {
  awk -v group="[$1]" '/^\[/ { found = $0 == group; next }
    found && NF && !/^#/ { print $1 }' "$packages"
}

is_installed () {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

[[ $# -ge 1 && $1 != -* ]] || usage_and_exit "$@"

for group in "$@"; do
  [[ $(packages_of "$group") ]] ||
    fail "there is no group $group, only" \
      $(sed -n 's/^\[\(.*\)\]$/\1/p' "$packages")
done

missing=()
for group in "$@"; do
  for package in $(packages_of "$group"); do
    is_installed "$package" || missing+=("$package")
  done
done
if [[ ${#missing[@]} -eq 0 ]]; then
  echo "Packages ($*): all installed."
  exit 0
fi

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "These packages are missing; install them as root:" >&2
    echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "Installing packages ($*): ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
