/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Where the verbs write.  Each of these exits on failure, with the reason. */
#ifndef GMEM_OUTPUT_H
#define GMEM_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

/* Write what was printed so far. */
void output_flush(void);

/*
 * Write @text, all at once.  NULL and "-" are standard output.  A file @name is replaced,
 * so that no reader ever sees half of it, and after a failure it is unchanged.  A pipe,
 * terminal or device is written into instead.
 */
void output_write(const char *name, const char *text, size_t size);

/* Is standard output a terminal that knows escapes? */
bool output_knows_escapes(void);

#endif
