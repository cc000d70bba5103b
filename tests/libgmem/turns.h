/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Threads that queue for the library's turns one after the other, while one turn is held. */
#ifndef TESTS_LIBGMEM_TURNS_H
#define TESTS_LIBGMEM_TURNS_H

/* The queue itself, to see who is in it.  Before cmocka, which has a macro fail(). */
#include "internal.h"
#include "unit_vm.h"

/* Wait until so many have a turn or wait for one; fails if one is served that should wait. */
void wait_for_turns(unsigned int nr);
/* Does it end although a conversion is held?  With a limit, or it would wait for ever. */
bool ends(pthread_t thread);

/* All of b to private, which waits for a page until @busy has let go of it. */
void convert_b_and(int (*busy)(void *arg, uint64_t where, unsigned int attempts));
/* The last thing that a busy hook does. */
void let_go(void);

/* By guest page, or by page of @gmem. */
struct conversion {
	struct gmem **gmem;
	unsigned int page;
	unsigned int nr;
	uint64_t attributes;
	/* NULL: the library's. */
	const struct gmem_convert_opts *opts;
	pthread_t thread;
	int r;
	struct gmem_result result;
};

void *run_conversion(void *arg);

/* For threads, in which cmocka cannot report it; NULL at first. */
extern const char *thread_error;
#define MUST(condition) do { if (!(condition)) thread_error = #condition; } while (0)

#endif
