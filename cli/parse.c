// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "parse.h"

uint64_t parse_number(const char *text, const char *what)
{
	uint64_t number;
	char *end;

	/* strtoull() takes "-1" for a large one. */
	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno || !isdigit((unsigned char)*text) || *end)
		die_usage("'%s' is not %s", text, what);

	return number;
}

pid_t parse_pid(const char *text)
{
	uint64_t number = parse_number(text, "a process");

	if (!number || number > INT_MAX)
		die_usage("'%s' is not a process", text);

	return number;
}

void parse_file(const char *text, pid_t *pid, int *fd)
{
	size_t length = strcspn(text, ":");
	char process[32];
	uint64_t number;

	snprintf(process, sizeof(process), "%.*s", (int)length, text);
	*pid = parse_pid(process);
	*fd = PARSE_ANY;
	if (!text[length])
		return;
	text += length + 1;
	*fd = PARSE_GPA;
	if (!strcmp(text, "gpa"))
		return;
	number = parse_number(text, "a descriptor");
	if (number > INT_MAX)
		die_usage("'%s' is not a descriptor", text);
	*fd = number;
}

double parse_seconds(const char *text, double least, double most)
{
	double seconds;
	char *end;

	/* Neither hexadecimal nor "inf". */
	seconds = strtod(text, &end);
	if (end == text || text[strspn(text, "0123456789.e")] || *end || !(seconds >= least && seconds <= most))
		die_usage("'%s' seconds, where %g to %.0f are possible", text, least, most);

	return seconds;
}
