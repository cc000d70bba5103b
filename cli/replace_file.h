/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Write a file that no reader ever sees half of. */
#ifndef GMEM_REPLACE_FILE_H
#define GMEM_REPLACE_FILE_H

#include <stddef.h>

/*
 * Replace the file @name by one that holds @text.  A pipe, terminal or device is written
 * into instead.  Exits on failure, and then the old file is unchanged.
 */
void replace_file(const char *name, const char *text, size_t size);

#endif
