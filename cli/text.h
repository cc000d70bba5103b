/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Strings for output.  A process may give itself any bytes as its name, so they are
 * escaped for whatever reads the output: a terminal, too, which obeys some of them.
 */
#ifndef GMEM_TEXT_H
#define GMEM_TEXT_H

#include <stdio.h>

/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void text_json(FILE *to, const char *string);

/* The same for the value of a Prometheus label. */
void text_label(FILE *to, const char *string);

/* For a terminal: what is not printable ASCII becomes '?'; in a static buffer. */
const char *text_plain(const char *string);

#endif
