#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What kernel-times.py makes of a small trace."""
import re
import subprocess
import sys
import tempfile
import unittest

# start, end (ns), stream, grid, registers, name: a run before, and in the last
# one a kernel that starts before the one that it waits for has ended.
TRACE = '''\
1000 2000 7 256 1 32 mel_kernel
3000 9000 7 8 1 32 other
50001000 50101000 7 256 1 32 mel_kernel
50102000 50112000 8 6 16 126 void attend<(bool)1>(Args, float)
50104000 50115000 8 32 1 56 product
50116000 50120000 8 32 1 56 product
'''


def times():
    with tempfile.NamedTemporaryFile('w', suffix='.trace') as file:
        file.write(TRACE)
        file.flush()
        return subprocess.run([sys.executable, sys.argv[1], file.name],
                              capture_output=True, text=True,
                              check=True).stdout


class KernelTimes(unittest.TestCase):
    def test_looks_at_the_last_run_alone(self):
        self.assertNotIn('other', times())

    def test_says_when_each_stream_worked(self):
        self.assertIn('stream 8: 0.10 to 0.12 ms, 0.02 at work, 3 kernels',
                      times())

    def test_counts_a_kernel_from_the_end_of_the_one_before(self):
        product, = re.findall(r'.*product', times())
        self.assertEqual(product.split(),
                         ['0.01', '2', '4.00', '4.00', '32x1', 'product'])

    def test_names_kernels_without_parameters(self):
        self.assertIn('6x16 attend<1>', times())


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
