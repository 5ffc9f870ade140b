#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Collects what training needs of a build, with the libraries it needs, for a
# machine that has Python, PyTorch and SciPy but none of the rest:
#
#   bundle.sh BUILD OUT
#
# There, source OUT/env.sh. The renderer's many libraries lie apart, so that
# only few are put before the machine's own.
set -euo pipefail
build=${1:?build folder?} out=${2:?output folder?}
bin=$build/ext/mt3/training
mkdir -p "$out/lib" "$out/lib-render"

libraries() {
  ldd "$@" | awk '$3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s)\.so'
}
cp "$bin/libmt3training.so" "$out/"
cp "$bin/mt3-render-bank" "$out/mt3-render-bank.bin"
sndfile=$(libraries "$bin/mt3-render-bank" | grep /libsndfile)
libraries "$bin/libmt3training.so" "$sndfile" | xargs -I{} cp -L {} "$out/lib/"
cp -L "$sndfile" "$out/lib/"
libraries "$bin/mt3-render-bank" | xargs -I{} cp -L {} "$out/lib-render/"
for library in "$out"/lib/*; do
  rm -f "$out/lib-render/$(basename "$library")"
done

cat > "$out/mt3-render-bank" <<'RUN'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
LD_LIBRARY_PATH=$here/lib:$here/lib-render exec "$here/mt3-render-bank.bin" "$@"
RUN
chmod +x "$out/mt3-render-bank"
cat > "$out/env.sh" <<'ENV'
MT3_TRAINING_BIN=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export MT3_TRAINING_BIN
export LD_LIBRARY_PATH=$MT3_TRAINING_BIN/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
ENV
du -sh "$out"
