/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* How gmem ends when it cannot go on.  Each prints "gmem: ..." on standard error. */
#ifndef GMEM_DIE_H
#define GMEM_DIE_H

enum exit_code {
	EXIT_OK = 0,		/* everything read as promised */
	EXIT_WRONG = 1,		/* something did not, or a call failed */
	EXIT_USAGE = 2,		/* the command line makes no sense */
	EXIT_UNSUPPORTED = 4,	/* this kernel does not offer it */
};

/* With what errno says unless it is 0. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* For a command line that makes no sense. */
void die_usage(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* For what this kernel lacks. */
void die_unsupported(const char *lacking) __attribute__((noreturn));

#endif
