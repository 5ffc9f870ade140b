/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Stands for the driver's library where the probe looks whether there is one.
 */
extern int fake_driver;
int fake_driver = 1;
