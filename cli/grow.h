/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* An array that grows by one element at a time. */
#ifndef GMEM_GROW_H
#define GMEM_GROW_H

#include <stdlib.h>
#include <string.h>

#include "cmd.h"

/*
 * Make room for another element of @size bytes, zeroed, after the first @nr.  The array
 * is full whenever @nr is a power of two; then it doubles.
 */
static inline void *grow(void *array, size_t nr, size_t size)
{
	if (!(nr & (nr - 1))) {
		array = realloc(array, (nr ? 2 * nr : 1) * size);
		if (!array)
			die("no memory for %zu more", nr);
	}
	memset((char *)array + nr * size, 0, size);

	return array;
}

#endif
