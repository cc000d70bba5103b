// SPDX-License-Identifier: GPL-2.0
/* What those tests share that wait for others, or make others wait. */
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/mman.h>

#include "gmem_wait.h"

bool is_allocated(struct gmem_vm *g, u64 page)
{
	struct cachestat_range range = { .off = page * PAGE_SIZE, .len = PAGE_SIZE };
	struct cachestat cached;

	TEST_ASSERT(!syscall(__NR_cachestat, g->fd, &range, &cached, 0), "cachestat() failed");

	return cached.nr_cache;
}

void tell(int fd)
{
	TEST_ASSERT_EQ(write(fd, "", 1), 1);
}

void hear(int fd)
{
	char c;

	TEST_ASSERT_EQ(read(fd, &c, 1), 1);
}

static void *make_call(void *data)
{
	struct call *c = data;

	WRITE_ONCE(c->has_begun, true);
	c->r = __gmem_convert(c->fd, c->offset, c->size, c->attributes, c->policy, &c->where);
	if (c->counter)
		c->counted = READ_ONCE(*c->counter);
	WRITE_ONCE(c->has_ended, true);

	return NULL;
}

void call_begin(struct call *c)
{
	c->has_begun = false;
	c->has_ended = false;
	kvm_pthread_create(&c->thread, NULL, make_call, c);
	while (!READ_ONCE(c->has_begun))
		sched_yield();
	/* No test depends on this: it lets the call get to where a buggy one would block others. */
	usleep(2000);
}

void call_end(struct call *c)
{
	kvm_pthread_join(c->thread, NULL);
}

bool child_ends(pid_t pid, int *status)
{
	int i;

	for (i = 0; i < 6000; i++) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		show_progress("waits for a child", i, 6000);
		usleep(10000);
	}

	return false;
}
