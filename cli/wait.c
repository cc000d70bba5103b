// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <signal.h>
#include <stddef.h>
#include <time.h>

#include "wait.h"

#define NS_PER_S	1000000000ull
/* Not longer at once, so that the time does not overflow. */
#define MOST_NS		(86400 * NS_PER_S)

static volatile sig_atomic_t ended;

static void end(int number)
{
	(void)number;
	ended = 1;
}

static void handle(void (*handler)(int number), int flags)
{
	/* No SA_RESTART: a write to a reader that has stopped reading has to end, too. */
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags }, before;
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaction(signals[i], &action, &before);
		if (before.sa_handler == SIG_IGN)
			sigaction(signals[i], &before, NULL);
	}
}

void wait_catch(bool once)
{
	ended = 0;
	handle(end, once ? SA_RESETHAND : 0);
}

void wait_release(void)
{
	handle(SIG_DFL, 0);
}

bool wait_is_ended(void)
{
	return ended;
}

uint64_t wait_deadline(double seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec + (uint64_t)(seconds * 1e9);
}

bool wait_for(struct pollfd *fds, unsigned int nr, uint64_t deadline_ns)
{
	struct timespec timeout;
	sigset_t all, before;
	uint64_t now, left;
	int r = 0;

	/*
	 * A signal that arrives after the check of @ended interrupts ppoll(), or comes
	 * after it.
	 */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	while (!ended && r <= 0 && (now = wait_deadline(0)) < deadline_ns) {
		left = deadline_ns - now < MOST_NS ? deadline_ns - now : MOST_NS;
		timeout = (struct timespec){ .tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S };
		r = ppoll(fds, nr, &timeout, &before);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);

	return r > 0;
}
