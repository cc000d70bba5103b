/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* TAP for a program that counts its cases itself. */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* One, however many files of a program include this. */
__attribute__((weak)) struct {
	/* What comes before the name of each case. */
	const char *area;
	int number;
	int failed;
} tap;

static inline void plan(const char *area, int nr)
{
	tap.area = area;
	/* After a crash the last line is still printed. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..%d\n", nr);
}

__attribute__((format(printf, 2, 3)))
static inline void result(bool ok, const char *format, ...)
{
	va_list args;

	printf("%sok %d - %s.", ok ? "" : "not ", ++tap.number, tap.area);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	tap.failed += !ok;
}

/* Run the next @nr cases in a child, with which everything that it opened ends: true there. */
static inline bool plan_alone(int nr)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		tap.failed = 0;
		return true;
	}
	tap.number += nr;
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		tap.failed += nr;
	else
		tap.failed += WEXITSTATUS(status);
	return false;
}

/* End that process. */
static inline void __attribute__((noreturn)) end_alone(void)
{
	fflush(stdout);
	_exit(tap.failed);
}

/* For main(). */
static inline int exit_status(void)
{
	return tap.failed ? 1 : 0;
}

#endif
