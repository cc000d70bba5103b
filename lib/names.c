// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The names of things in messages, and the version of the library. */
#include "internal.h"

/* The numbers of a table may have gaps. */
#define NAME(table, index)							\
	((unsigned int)(index) < sizeof(table) / sizeof((table)[0]) && (table)[index] ? \
	 (table)[index] : "unknown")

API const char *gmem_version(void)
{
	return GMEM_VERSION;
}

API const char *gmem_mechanism_name(enum gmem_mechanism mechanism)
{
	static const char *const names[] = {
		[GMEM_MECHANISM_NONE] = "none",
		[GMEM_TWO_BACKINGS] = "two backings",
		[GMEM_IN_PLACE_PLAIN] = "in place, plain",
		[GMEM_IN_PLACE] = "in place",
	};

	return NAME(names, mechanism);
}

API const char *gmem_policy_name(enum gmem_policy policy)
{
	static const char *const names[] = {
		[GMEM_ZERO] = "ZERO",
		[GMEM_PRESERVE] = "PRESERVE",
		[GMEM_NONE] = "NONE",
		[GMEM_DEFAULT] = "DEFAULT",
	};

	return NAME(names, policy);
}

API const char *gmem_step_name(enum gmem_step step)
{
	static const char *const names[] = {
		[GMEM_STEP_DONE] = "done",
		[GMEM_STEP_CHECK] = "checking the request",
		[GMEM_STEP_BEFORE_PRIVATE] = "telling a listener before it becomes private",
		[GMEM_STEP_PREPARE] = "emptying the other half",
		[GMEM_STEP_CONVERT] = "converting",
		[GMEM_STEP_ZERO] = "zeroing",
		[GMEM_STEP_TURN] = "waiting for other requests",
		[GMEM_STEP_AFTER_SHARED] = "telling a listener after it has become shared",
	};

	return NAME(names, step);
}
