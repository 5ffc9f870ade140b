#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Links of the HTML pages lead somewhere.

usage: html-pages.py FOLDER
"""
import sys
import unittest
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

FOLDER = Path(sys.argv[1])
REFERENCE = FOLDER / 'GstMt3-1.0' / 'index.html'
sys.argv[1:] = []


class Page(HTMLParser):
    """The links and the anchors of a file."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = set(), set()
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == 'id':
                self.anchors.add(value)
            elif name in ('href', 'src'):
                self.links.add(value)


class Html(unittest.TestCase):
    def setUp(self):
        self.pages = {path.name: Page(path) for path in FOLDER.glob('*.html')}

    def test_links_lead_somewhere(self):
        if not self.pages:
            self.skipTest('no pandoc has built the pages')
        for name, page in self.pages.items():
            for link in page.links:
                if ':' in link:
                    continue
                with self.subTest(page=name, link=link):
                    file, _, anchor = unquote(link).partition('#')
                    self.assertTrue((FOLDER / (file or name)).exists())
                    if anchor:
                        self.assertIn(anchor,
                                      self.pages[file or name].anchors)

    def test_every_page_can_be_found(self):
        if not self.pages:
            self.skipTest('no pandoc has built the pages')
        listed = {link.partition('#')[0]
                  for link in self.pages['index.html'].links}
        self.assertEqual(set(self.pages) - listed, {'index.html'})

    def test_the_reference_names_the_library(self):
        if not REFERENCE.exists():
            self.skipTest('no gi-docgen has built the reference')
        self.assertIn('GstMt3', REFERENCE.read_text(encoding='utf-8'))


if __name__ == '__main__':
    unittest.main()
