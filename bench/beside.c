// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * First touches of pages, by a vCPU and by the host, while another thread keeps
 * the same file busy elsewhere:
 *
 *	quiet		nobody does
 *	pipe, pin	asks again and again to have a page that is held in a pipe, or
 *			pinned, made private
 *	fallocate	allocates and punches 512 MiB, and converts a page a thousand
 *			times a second
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define GUEST_GPA	GIB
#define SLOT		1
#define TOUCHED		(2 * MIB)
#define BUSY		(32 * MIB)
#define BUSY_SIZE	(512 * MIB)
#define NR_ROUNDS	4
#define NR_TOUCHES	20
#define INTERVAL_NS	1000000
#define PRESERVE	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE

/* Page 0 is the one that is held, page 1 the one that is converted. */
static struct memory memory;
static struct guest guest;
static atomic_bool stop;
static uint64_t next_page = TOUCHED;

static void pause_ns(long ns)
{
	struct timespec pause = { .tv_nsec = ns };

	nanosleep(&pause, NULL);
}

static void *ask(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		int r = memory_try_convert(&memory, 0, BENCH_PAGE, true, PRESERVE);

		errno = r;
		if (r != EAGAIN)
			die("a page that is held has been asked for");
	}
	return NULL;
}

static void *convert_on(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		memory_convert(&memory, BENCH_PAGE, BENCH_PAGE, true, PRESERVE);
		memory_convert(&memory, BENCH_PAGE, BENCH_PAGE, false, PRESERVE);
		pause_ns(INTERVAL_NS);
	}
	return NULL;
}

static void *allocate_and_punch(void *arg)
{
	int mode = FALLOC_FL_KEEP_SIZE;

	(void)arg;
	while (!atomic_load(&stop)) {
		if (fallocate(memory.fd, mode, BUSY, BUSY_SIZE))
			die("fallocate");
		mode ^= FALLOC_FL_PUNCH_HOLE;
	}
	if (fallocate(memory.fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, BUSY, BUSY_SIZE))
		die("punching a hole");
	return NULL;
}

static void hold_in_pipe(int fds[2])
{
	struct iovec iov = { .iov_base = memory.host, .iov_len = BENCH_PAGE };

	if (pipe(fds) || vmsplice(fds[1], &iov, 1, 0) != (ssize_t)BENCH_PAGE)
		die("holding a page in a pipe");
}

static void hold_by_pin(int fds[2])
{
	struct iovec iov = { .iov_base = memory.host, .iov_len = BENCH_PAGE };
	struct io_uring_params params = { };

	fds[0] = syscall(SYS_io_uring_setup, 1, &params);
	fds[1] = -1;
	if (fds[0] < 0 ||
	    syscall(SYS_io_uring_register, fds[0], IORING_REGISTER_BUFFERS, &iov, 1))
		die("pinning a page as a buffer of io_uring");
}

static void let_go(int fds[2])
{
	if (fds[1] < 0)
		syscall(SYS_io_uring_register, fds[0], IORING_UNREGISTER_BUFFERS, NULL, 0);
	else
		close(fds[1]);
	close(fds[0]);
}

static const struct mode {
	const char *name;
	void (*hold)(int fds[2]);
	void *(*busy[2])(void *arg);
} modes[] = {
	{ .name = "quiet" },
	{ .name = "pipe", .hold = hold_in_pipe, .busy = { ask } },
	{ .name = "pin", .hold = hold_by_pin, .busy = { ask } },
	{ .name = "fallocate", .busy = { allocate_and_punch, convert_on } },
};

static void touch_sample(const char *measure, const struct mode *mode, double cost)
{
	struct key key = {
		.measure = measure, .way = "in_place", .direction = "-", .policy = "preserve",
		.touched = mode->name, .unit = clock_unit(), .bytes = BENCH_PAGE, .count = 1,
	};

	record(&key, cost);
}

static void touches(const struct mode *mode)
{
	struct budget budget;
	uint64_t began;
	double cost;

	budget_start(&budget, 3);
	while (budget_left(&budget, 5, NR_TOUCHES)) {
		guest_aim(&guest, GUEST_GPA + next_page, BENCH_PAGE);
		pause_ns(3 * INTERVAL_NS);
		began = clock_now();
		guest_run(&guest);
		cost = clock_since(began);
		touch_sample("vcpu_first_touch", mode, cost);
		next_page += BENCH_PAGE;

		pause_ns(3 * INTERVAL_NS);
		began = clock_now();
		memory_host_touch(&memory, next_page, BENCH_PAGE);
		cost = clock_since(began);
		touch_sample("host_first_touch", mode, cost);
		/* The neighbours must stay untouched. */
		next_page += 15 * BENCH_PAGE;
	}
}

static void beside(const struct mode *mode)
{
	pthread_t threads[2];
	int fds[2], i;

	if (mode->hold)
		mode->hold(fds);
	atomic_store(&stop, false);
	for (i = 0; i < 2 && mode->busy[i]; i++) {
		errno = pthread_create(&threads[i], NULL, mode->busy[i], NULL);
		if (errno)
			die("pthread_create");
	}
	pause_ns(30 * INTERVAL_NS);
	touches(mode);
	atomic_store(&stop, true);
	while (i-- > 0)
		pthread_join(threads[i], NULL);
	if (mode->hold)
		let_go(fds);
}

static void run(void)
{
	unsigned int round;
	size_t i;

	guest_create(&guest, 1);
	memory_create(&memory, &guest, NEW, SLOT, GUEST_GPA, BUSY + BUSY_SIZE, true);
	memory_host_touch(&memory, 0, 2 * BENCH_PAGE);
	for (round = 0; round < NR_ROUNDS; round++) {
		for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
			beside(&modes[i]);
	}
	memory_destroy(&memory);
	guest_destroy(&guest);
}

const struct bench bench_beside = {
	.name = "beside",
	.help = "first touches beside a page that is held, and beside fallocate and conversions",
	.run = run,
};
