/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What this process, or a child, finds at an address.  For tests in the machine. */
#ifndef TESTS_LOOK_H
#define TESTS_LOOK_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf after_signal;
static void *signal_address;

static inline void on_signal(int number, siginfo_t *info, void *context)
{
	(void)context;
	signal_address = info->si_addr;
	siglongjmp(after_signal, number);
}

/* The byte at @at, or the signal that reading it raises, negative, and where that was. */
static inline int look(const volatile char *at)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	int number;

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	number = sigsetjmp(after_signal, 1);
	return number ? -number : *at;
}

/* Does @is_right hold in a child? */
static inline bool in_child(bool (*is_right)(void))
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child)
		_exit(is_right() ? 0 : 1);
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

#endif
