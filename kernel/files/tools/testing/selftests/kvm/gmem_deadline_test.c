// SPDX-License-Identifier: GPL-2.0
/*
 * How long a call waits for pages that are held: one second in all, however many of them
 * are released during it, and without holding a lock that others need.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "gmem_harness.h"
#include "gmem_util.h"
#include "gmem_wait.h"

static bool stop;

/*
 * Pages in pipes, the lowest first, and a thread that releases one after the other.  Nobody
 * holds the second half of the file.
 */
#define MOST_IN_PIPES	1024
#define PIPE_PAGES	256
#define NR_PIPES	(MOST_IN_PIPES / PIPE_PAGES)
#define DEADLINE_PAGES	(2 * MOST_IN_PIPES)
#define RELEASE_USECS	10000

/*
 * How many are released in the one second that a call may take, and more than twice that
 * for a machine that wakes up the call late.
 */
#define MOST_RELEASED	400

struct pipes {
	struct gmem_vm *g;
	int fds[NR_PIPES][2];
	u64 filled;
	u64 released;
	pthread_t releaser;
};

FIXTURE(deadline) {
	struct gmem_vm g;
	struct pipes pipes;
};

FIXTURE_SETUP(deadline)
{
	gmem_vm_create(&self->g, DEADLINE_PAGES, GMEM_IN_PLACE);
	memset(self->g.mem, 'a', DEADLINE_PAGES * PAGE_SIZE);
	self->pipes.g = &self->g;
}

FIXTURE_TEARDOWN(deadline)
{
	gmem_vm_destroy(&self->g);
}

static void put_into_pipes(struct pipes *p, u64 nr)
{
	u64 done, i;

	p->filled = nr;
	p->released = 0;
	for (i = 0; i < NR_PIPES; i++) {
		TEST_ASSERT(!pipe(p->fds[i]), "pipe() failed");
		TEST_ASSERT(fcntl(p->fds[i][1], F_SETPIPE_SZ, PIPE_PAGES * PAGE_SIZE) >= 0,
			    "Cannot make a pipe of %d pages", PIPE_PAGES);
	}
	for (i = 0; i < nr; i += done) {
		struct iovec iov = {
			.iov_base = p->g->mem + i * PAGE_SIZE,
			.iov_len = min_t(u64, nr - i, PIPE_PAGES - i % PIPE_PAGES) * PAGE_SIZE,
		};
		ssize_t r = vmsplice(p->fds[i / PIPE_PAGES][1], &iov, 1, 0);

		TEST_ASSERT(r > 0 && r % PAGE_SIZE == 0, "vmsplice() returned %ld", r);
		done = r / PAGE_SIZE;
	}
}

static void *release_one_after_the_other(void *data)
{
	struct pipes *p = data;
	char page[PAGE_SIZE];

	while (!READ_ONCE(stop) && p->released < p->filled) {
		usleep(RELEASE_USECS);
		TEST_ASSERT_EQ(read(p->fds[p->released / PIPE_PAGES][0], page, PAGE_SIZE),
			       PAGE_SIZE);
		WRITE_ONCE(p->released, p->released + 1);
	}

	return NULL;
}

static void release_start(struct pipes *p)
{
	WRITE_ONCE(stop, false);
	kvm_pthread_create(&p->releaser, NULL, release_one_after_the_other, p);
}

static void release_end(struct pipes *p)
{
	u64 i;

	WRITE_ONCE(stop, true);
	kvm_pthread_join(p->releaser, NULL);
	for (i = 0; i < NR_PIPES; i++)
		unpin_pipe(p->fds[i]);
}

static u64 one_deadline(struct pipes *p, int fd, u64 base)
{
	struct call c = {
		.fd = fd,
		.offset = base,
		.size = DEADLINE_PAGES / 2 * PAGE_SIZE,
		.attributes = PRIVATE,
		.policy = PRESERVE,
		.counter = &p->released,
	};
	struct gmem_vm *g = p->g;
	u64 touched = 0, page;

	/* Nothing is mapped, so each touch is a fault. */
	kvm_munmap(g->mem, DEADLINE_PAGES * PAGE_SIZE);
	g->mem = kvm_mmap(DEADLINE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
	put_into_pipes(p, MOST_IN_PIPES);
	release_start(p);
	call_begin(&c);
	while (call_goes_on(&c)) {
		page = MOST_IN_PIPES + touched % MOST_IN_PIPES;
		touch(g, page);
		TEST_ASSERT(!madvise(g->mem + page * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED),
			    "madvise() failed");
		touched += call_goes_on(&c);
		show_progress("pages let go", READ_ONCE(p->released), MOST_IN_PIPES);
	}
	call_end(&c);
	release_end(p);

	TEST_ASSERT(c.r == -EAGAIN, "%s after %lu pages were let go", strerror(-c.r), c.counted);
	TEST_ASSERT(c.counted <= MOST_RELEASED, "The call ended after %lu pages were let go",
		    c.counted);
	page = (c.where - base) / PAGE_SIZE;
	TEST_ASSERT(c.where >= base && page <= c.counted, "Page %lu refused, %lu were let go",
		    page, c.counted);
	expect_state(g, 0, DEADLINE_PAGES, SHARED);
	TEST_ASSERT_EQ(host_read(g, 0), 'a');

	return touched;
}

static void expect_one_deadline(struct pipes *p, int fd, u64 base)
{
	u64 touched = 0;
	int tries;

	for (tries = 0; tries < TRIES && touched < 20; tries++)
		touched = one_deadline(p, fd, base);
	TEST_ASSERT(touched >= 20, "%lu first touches while a call went on", touched);
}

TEST_F(deadline, one_for_a_call_on_the_file)
{
	expect_one_deadline(&self->pipes, self->g.fd, 0);
}

TEST_F(deadline, one_for_a_call_on_the_vm)
{
	expect_one_deadline(&self->pipes, self->g.vm->fd, GMEM_GPA);
}

/* A few references that are dropped in time are no reason to refuse, if the machine keeps up. */
TEST_F(deadline, references_that_pass_are_waited_for)
{
	struct gmem_vm *g = &self->g;
	int tries, r = -EAGAIN;
	u64 where;

	for (tries = 0; tries < TRIES && r; tries++) {
		put_into_pipes(&self->pipes, 16);
		release_start(&self->pipes);
		r = __gmem_convert(g->fd, 0, 32 * PAGE_SIZE, PRIVATE, PRESERVE, &where);
		TEST_ASSERT(!r || r == -EAGAIN, "%s", strerror(-r));
		release_end(&self->pipes);
	}
	TEST_ASSERT(!r, "Refused %d times, at last at %#lx", tries, where);
	expect_state(g, 0, 32, PRIVATE);
}

static void ignore(int sig)
{
}

/*
 * Memory failure takes one lock for the whole host, and while holding it waits for the
 * file's lock.  It must not have to wait until the call ends, neither for a page of the
 * file that nobody waits for, nor for an unrelated page.
 */
TEST_F(deadline, memory_failures_do_not_wait_for_a_call)
{
	struct sigaction sa = { .sa_handler = ignore };
	struct gmem_vm *g = &self->g;
	struct call c = {
		.fd = g->fd,
		.size = MOST_IN_PIPES * PAGE_SIZE,
		.attributes = PRIVATE,
		.policy = PRESERVE,
	};
	bool in_time = false;
	u8 *elsewhere;
	int tries;

	sigaction(SIGBUS, &sa, NULL);
	for (tries = 0; tries < 5 && !in_time; tries++) {
		elsewhere = kvm_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1);
		*elsewhere = 'e';
		touch(g, MOST_IN_PIPES + 8 + tries);
		put_into_pipes(&self->pipes, MOST_IN_PIPES);
		release_start(&self->pipes);
		call_begin(&c);
		while (READ_ONCE(self->pipes.released) < 3 && call_goes_on(&c))
			usleep(1000);
		if (madvise(g->mem + (MOST_IN_PIPES + 8 + tries) * PAGE_SIZE, PAGE_SIZE,
			    MADV_HWPOISON) && errno == EINVAL)
			SKIP(exit(KSFT_SKIP), "MADV_HWPOISON needs CONFIG_MEMORY_FAILURE");
		TEST_ASSERT(!madvise(elsewhere, PAGE_SIZE, MADV_HWPOISON),
			    "Cannot poison another page: %s", strerror(errno));
		usleep(STEP_USECS);
		in_time = call_goes_on(&c);
		call_end(&c);
		release_end(&self->pipes);
		gmem_convert(g, 0, MOST_IN_PIPES, SHARED, PRESERVE);
		kvm_munmap(elsewhere, PAGE_SIZE);
	}
	TEST_ASSERT(in_time, "A call ended before two memory failures, %d times", tries);
}

TEST_HARNESS_MAIN
