/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Numbers with units, for people.  Each is good for the seven that follow it. */
#ifndef GMEM_HUMAN_H
#define GMEM_HUMAN_H

#include <stdint.h>

/* "4 KiB", never rounded. */
const char *human_bytes(uint64_t bytes);

/* "4.0K", five characters at most. */
const char *human_size(uint64_t bytes);

/* "12.3 us" */
const char *human_time(uint64_t ns);

#endif
