// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"

void die(const char *format, ...)
{
	int error = errno;
	va_list args;

	fflush(stdout);
	fputs("gmem: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	if (error)
		fprintf(stderr, ": %s", strerror(error));
	fputc('\n', stderr);
	exit(EXIT_WRONG);
}

void die_usage(const char *format, ...)
{
	va_list args;

	fputs("gmem: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs("; --help says more\n", stderr);
	exit(EXIT_USAGE);
}

void die_unsupported(const char *lacking)
{
	fprintf(stderr, "gmem: %s\n", lacking);
	exit(EXIT_UNSUPPORTED);
}
