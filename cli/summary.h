/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What conversions were like: how many, how large, how long, refused for what. */
#ifndef GMEM_SUMMARY_H
#define GMEM_SUMMARY_H

#include <stdbool.h>
#include <stdio.h>

#include "conversion.h"

#define SUMMARY_BUCKETS	64
/* No kernel has a larger errno. */
#define SUMMARY_ERRORS	4096

struct summary_direction {
	/* Those that changed something, those that had nothing to change, and the refused ones. */
	uint64_t nr;
	uint64_t nr_unchanged;
	uint64_t nr_refused;
	uint64_t changed;
	/* Of those that were not refused, [i] from 2^i on; in bytes, in nanoseconds. */
	uint64_t sizes[SUMMARY_BUCKETS];
	uint64_t times[SUMMARY_BUCKETS];
	uint64_t locked[SUMMARY_BUCKETS];
	uint64_t errors[SUMMARY_ERRORS];
};

struct summary {
	struct summary_direction directions[2];
	uint64_t lost;
};

void summary_add(struct summary *summary, const struct conversion *c);
void summary_print(const struct summary *summary, double seconds, bool json);

#endif
