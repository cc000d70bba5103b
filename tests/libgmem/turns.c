// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "turns.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

const char *thread_error;

void wait_for_turns(unsigned int nr)
{
	unsigned int there = 0, tries;
	const struct turn *turn;

	for (tries = 0; there != nr && tries < 10000; tries++) {
		usleep(1000);
		there = 0;
		pthread_mutex_lock(&vm->lock);
		for (turn = vm->turns; turn; turn = turn->next)
			there++;
		pthread_mutex_unlock(&vm->lock);
	}
}

void *run_conversion(void *arg)
{
	struct conversion *c = arg;

	c->result = GMEM_INIT(struct gmem_result);
	if (c->gmem)
		c->r = gmem_convert(*c->gmem, c->page * PAGE, c->nr * PAGE, c->attributes,
				    c->opts, &c->result);
	else
		c->r = gmem_convert_gpa(vm, FAKE_GPA + c->page * PAGE, c->nr * PAGE, c->attributes,
					c->opts, &c->result);
	return NULL;
}

void let_go(void)
{
	memset(fake.held, 0, sizeof(fake.held));
}

void convert_b_and(int (*busy)(void *arg, uint64_t where, unsigned int attempts))
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	fake.held[fake_file(gmem_private_fd(b)) - fake.files][3] = true;
	opts.timeout_ms = 10000;
	opts.busy = busy;
	assert_int_equal(gmem_convert(b, 0, SLOT_SIZE, GMEM_PRIVATE, &opts, NULL), 0);
}

bool ends(pthread_t thread)
{
	struct timespec limit = { .tv_sec = time(NULL) + 60 };

	return !pthread_timedjoin_np(thread, NULL, &limit);
}
