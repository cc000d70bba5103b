// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <stdio.h>

#include "human.h"

#define LENGTH 32

static char *next_text(void)
{
	static char texts[4][LENGTH];
	static unsigned int nr;

	return texts[nr++ % 4];
}

const char *human_bytes(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	char *text = next_text();
	int unit = 0;

	while (bytes >= 1024 && !(bytes % 1024)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, LENGTH, "%llu %s", (unsigned long long)bytes, units[unit]);
	return text;
}

const char *human_time(uint64_t ns)
{
	char *text = next_text();

	if (ns < 1000)
		snprintf(text, LENGTH, "%u ns", (unsigned int)ns);
	else if (ns < 1000000)
		snprintf(text, LENGTH, "%.1f us", ns / 1e3);
	else if (ns < 1000000000)
		snprintf(text, LENGTH, "%.1f ms", ns / 1e6);
	else
		snprintf(text, LENGTH, "%.1f s", ns / 1e9);
	return text;
}
