# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files of a folder, also behind links."""
import os
from pathlib import Path


def files_below(folder):
    """All files of a folder and its subfolders, also of those that are links.

    Each folder counts once, so that links in a circle end; those that are no
    links come first. Links to what holds the folder itself are left alone.
    """
    seen = {str(path) for path in Path(folder).resolve().parents}
    links = [str(folder)]
    while links:
        for place, folders, files in os.walk(links.pop(0)):
            real = os.path.realpath(place)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            links += (path for path in (os.path.join(place, name)
                                        for name in folders)
                      if os.path.islink(path))
            yield from (path for path in (Path(place, name) for name in files)
                        if path.is_file())
