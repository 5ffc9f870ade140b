#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""How mt3transcribe is registered: found by who asks, never put in unasked."""
import unittest

import gi
gi.require_version('Gst', '1.0')
from gi.repository import Gst  # noqa: E402


class Registration(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        Gst.init(None)
        cls.factory = Gst.ElementFactory.find('mt3transcribe')

    def metadata(self, key):
        return self.factory.get_metadata(key)

    def test_the_klass_says_what_it_does_to_what(self):
        # The functions and media of GStreamer's draft-klass.
        self.assertEqual(set(self.metadata('klass').split('/')),
                         {'Converter', 'Analyzer', 'Audio'})

    def test_it_is_not_plugged_by_itself(self):
        # As with other analyzers: decodebin and playsink take what has a rank.
        self.assertEqual(self.factory.get_rank(), Gst.Rank.NONE)
        for kind in (Gst.ELEMENT_FACTORY_TYPE_DECODABLE,
                     Gst.ELEMENT_FACTORY_TYPE_ENCODER,
                     Gst.ELEMENT_FACTORY_TYPE_MUXER,
                     Gst.ELEMENT_FACTORY_TYPE_SINK):
            self.assertFalse(self.factory.list_is_type(kind))

    def test_it_says_who_made_it_and_what_it_is(self):
        for key in ('long-name', 'description', 'author'):
            with self.subTest(key):
                self.assertTrue(self.metadata(key))

    def test_the_plugin_names_licence_and_origin(self):
        plugin = self.factory.get_plugin()
        self.assertEqual(plugin.get_license(), 'LGPL')
        self.assertTrue(plugin.get_origin().startswith('https://'))
        self.assertRegex(plugin.get_version(), r'^\d+\.\d+\.\d+$')


if __name__ == '__main__':
    unittest.main()
