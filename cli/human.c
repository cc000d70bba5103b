// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <stdio.h>

#include "human.h"

#define LENGTH 32

static char *next_text(void)
{
	static char texts[8][LENGTH];
	static unsigned int nr;

	return texts[nr++ % 8];
}

/* Each is 1024 times the previous one. */
static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };

const char *human_bytes(uint64_t bytes)
{
	char *text = next_text();
	int unit = 0;

	while (bytes >= 1024 && !(bytes % 1024)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, LENGTH, "%llu %s", (unsigned long long)bytes, units[unit]);
	return text;
}

const char *human_size(uint64_t bytes)
{
	char *text = next_text();
	double size = bytes;
	int unit = 0;

	/* A value that would be rounded to 1024 is 1 of the next unit. */
	for (; size >= 1023.5; unit++)
		size /= 1024;
	snprintf(text, LENGTH, unit && size < 99.95 ? "%.1f%c" : "%.0f%c", size, *units[unit]);

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
