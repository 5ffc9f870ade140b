#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What mt3transcribe tells its users comes out in their language.

MT3_LOCALE_DIR holds the catalogues of this build, MT3_INSTALLED_LOCALE_DIR will
hold those that are installed. Each language has a process of its own, since a
process chooses once.
"""
import locale
import os
import subprocess
import sys
import unittest

import gi
gi.require_version('Gst', '1.0')
from gi.repository import Gst  # noqa: E402

DOMAIN = 'gst-mt3-1.0'
SAID = {
    'de': ['Das Modell wird geöffnet', 'Das Modell kann nicht geöffnet werden',
           'Das Modell „/no/such“ gibt es nicht.'],
    'es': ['Abriendo el modelo', 'No se puede abrir el modelo',
           'El modelo «/no/such» no existe.'],
    'fr': ['Ouverture du modèle', 'Impossible d’ouvrir le modèle',
           'Le modèle «\u00a0/no/such\u00a0» n’existe pas.'],
}


def texts_of_a_missing_model():
    """What is posted, to the error, when the model's file does not exist."""
    Gst.init(None)
    element = Gst.ElementFactory.make('mt3transcribe')
    assert locale.bindtextdomain(DOMAIN, None) == os.environ[
        'MT3_INSTALLED_LOCALE_DIR'], 'bound elsewhere'
    locale.bindtextdomain(DOMAIN, os.environ['MT3_LOCALE_DIR'])
    element.set_property('model-file', '/no/such')
    bus = Gst.Bus()
    element.set_bus(bus)
    element.set_state(Gst.State.READY)
    texts = []
    while True:
        message = bus.timed_pop_filtered(
            60 * Gst.SECOND, Gst.MessageType.PROGRESS | Gst.MessageType.ERROR)
        if message.type == Gst.MessageType.ERROR:
            texts.append(message.parse_error()[0].message)
            break
        texts.append(message.parse_progress()[2])
    element.set_state(Gst.State.NULL)
    return texts


def translating_locale():
    """Any locale but C lets gettext look at LANGUAGE; C.UTF-8 does in glibc 2.36
    and does not in 2.41. Or None."""
    for name in subprocess.run(['locale', '-a'], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.split():
        if name.lower().endswith(('.utf8', '.utf-8')) and name[:2] != 'C.':
            return name
    glibc = os.confstr('CS_GNU_LIBC_VERSION').split()[1].split('.')
    return 'C.UTF-8' if tuple(map(int, glibc)) <= (2, 36) else None


LOCALE = translating_locale()


class Messages(unittest.TestCase):
    def test_errors_and_progress_are_translated(self):
        for language, expected in SAID.items():
            with self.subTest(language):
                said = subprocess.run(
                    [sys.executable, __file__, 'speak'], check=True, text=True,
                    encoding='utf-8', stdout=subprocess.PIPE,
                    env={**os.environ, 'LC_ALL': LOCALE,
                         'LANGUAGE': language}).stdout
                self.assertEqual(said.splitlines(), expected)


if __name__ == '__main__':
    if sys.argv[1:] == ['speak']:
        locale.setlocale(locale.LC_ALL, '')
        print('\n'.join(texts_of_a_missing_model()))
    elif LOCALE is None:
        print('skipped: there is no locale but C.UTF-8, in which this C library '
              'translates nothing; generate one')
        sys.exit(77)
    else:
        unittest.main()
