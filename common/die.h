/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* How gmem ends when it cannot continue.  Each prints "gmem: ..." on standard error. */
#ifndef GMEM_DIE_H
#define GMEM_DIE_H

enum exit_code {
	EXIT_OK = 0,		/* everything read as promised */
	EXIT_WRONG = 1,		/* something did not, or a call failed */
	EXIT_USAGE = 2,		/* the command line is wrong */
	EXIT_UNSUPPORTED = 4,	/* this kernel does not offer it */
};

/* Followed by the message of errno, unless that is 0. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* For a wrong command line. */
void die_usage(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* For what this kernel lacks. */
void die_unsupported(const char *lacking) __attribute__((noreturn));

#endif
