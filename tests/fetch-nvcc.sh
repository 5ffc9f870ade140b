#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: tests/fetch-nvcc.sh FOLDER
#
# Puts NVIDIA's compiler and what it compiles with into FOLDER, from the Python
# package index: 100 MB. Neither a GPU nor a driver is needed. FOLDER/bin has
# nvcc then.
set -euo pipefail

packages=(nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88
  nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96)

if [[ $# -ne 1 || $1 == -* ]]; then
  sed -n '3,7s/^# \?//p' "${BASH_SOURCE[0]}"
  exit 2
fi
[[ -x $1/bin/nvcc ]] && exit

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" "${packages[@]}"
for wheel in "$work"/*.whl; do
  python3 -m zipfile -e "$wheel" "$work"
done
chmod +x "$work"/nvidia/cu13/{bin,nvvm/bin}/*
mkdir -p "$(dirname "$1")"
mv "$work/nvidia/cu13" "$1"
