// SPDX-License-Identifier: GPL-2.0
/*
 * Nobody waits for a stranger: what a call, a fault or a hole costs those that have nothing
 * to do with it.
 *
 * No case measures in seconds.  A case counts what others got done until a call returned,
 * or compares samples that it took alternately on the same machine, so a machine that is
 * busy slows down both sides.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "gmem_harness.h"
#include "gmem_util.h"
#include "gmem_wait.h"

static bool stop;

/*
 * One page is held, and a thread asks for it again and again, as a guest does that gets
 * EAGAIN.  Pages: 0 is held; host and guest touch those from HOST_PAGE and from GUEST_PAGE
 * on for the first time.
 */
#define HELD_PAGES	1024
#define HOST_PAGE	16
#define GUEST_PAGE	512
#define NR_SAMPLES	25

/* How much more than twice as much a sample may cost: noise of a clock tick. */
#define FLOOR_NSECS	1000000

enum holder {
	PIPE,
	PIN,
};

FIXTURE(held) {
	struct gmem_vm g;
	int pipefd[2];
	int pin;
};

FIXTURE_VARIANT(held) {
	enum holder holder;
	bool by_gpa;
};

FIXTURE_VARIANT_ADD(held, pipe) { .holder = PIPE };
FIXTURE_VARIANT_ADD(held, pin) { .holder = PIN };
FIXTURE_VARIANT_ADD(held, pipe_by_gpa) { .holder = PIPE, .by_gpa = true };
FIXTURE_VARIANT_ADD(held, pin_by_gpa) { .holder = PIN, .by_gpa = true };

FIXTURE_SETUP(held)
{
	struct gmem_vm *g = &self->g;

	gmem_vm_create(g, HELD_PAGES, GMEM_IN_PLACE);
	guest_start_touching(g, GUEST_PAGE, HELD_PAGES - GUEST_PAGE);
	if (variant->holder == PIPE)
		TEST_ASSERT_EQ(pin_in_pipe(g->mem, self->pipefd), 0);
	else
		TEST_ASSERT_EQ(pin_longterm(g->mem, &self->pin), 0);
}

FIXTURE_TEARDOWN(held)
{
	if (variant->holder == PIPE)
		unpin_pipe(self->pipefd);
	else
		close(self->pin);
	gmem_vm_destroy(&self->g);
}

static struct asker {
	int fd;
	u64 offset;
	u64 nr_asked;
	bool shall_ask;
	bool is_asking;
} asker;

static void *ask_again_and_again(void *data)
{
	u64 where;

	while (!READ_ONCE(stop)) {
		if (!READ_ONCE(asker.shall_ask)) {
			WRITE_ONCE(asker.is_asking, false);
			usleep(100);
			continue;
		}
		WRITE_ONCE(asker.is_asking, true);
		TEST_ASSERT_EQ(__gmem_convert(asker.fd, asker.offset, PAGE_SIZE, PRIVATE,
					      ANY_TO_PRIVATE, &where), -EAGAIN);
		TEST_ASSERT_EQ(where, asker.offset);
		WRITE_ONCE(asker.nr_asked, asker.nr_asked + 1);
	}

	return NULL;
}

static void let_ask(bool shall_ask)
{
	WRITE_ONCE(asker.shall_ask, shall_ask);
	while (READ_ONCE(asker.is_asking) != shall_ask)
		usleep(100);
	usleep(1000);
}

static u64 nsecs(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);

	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/*
 * A host without CPUs to spare delays some samples, as it preempts whoever has a lock for
 * a moment; waiting for the page would delay them all.
 */
static u64 lower_quartile(u64 *samples)
{
	qsort(samples, NR_SAMPLES, sizeof(*samples), compare);

	return samples[NR_SAMPLES / 4];
}

static void expect_as_quiet(const char *who, u64 quiet, u64 busy)
{
	printf("# measured: first touch by the %s %lu us, beside a page that is asked for %lu us\n",
	       who, quiet / 1000, busy / 1000);
	TEST_ASSERT(busy <= 2 * quiet + FLOOR_NSECS,
		    "First touch by the %s takes %lu us, %lu us when nobody asks", who,
		    busy / 1000, quiet / 1000);
}

TEST_F(held, first_touches_elsewhere_cost_at_most_twice)
{
	u64 host[2][NR_SAMPLES], guest[2][NR_SAMPLES], began, i, page = HOST_PAGE;
	struct gmem_vm *g = &self->g;
	pthread_t thread;
	int is_busy;

	asker.fd = variant->by_gpa ? g->vm->fd : g->fd;
	asker.offset = variant->by_gpa ? GMEM_GPA : 0;
	kvm_pthread_create(&thread, NULL, ask_again_and_again, NULL);

	/* Alternate, so that whatever else the machine does affects both. */
	for (i = 0; i < NR_SAMPLES; i++) {
		for (is_busy = 0; is_busy < 2; is_busy++) {
			let_ask(is_busy);
			began = nsecs();
			touch(g, page++);
			host[is_busy][i] = nsecs() - began;

			began = nsecs();
			guest_touch_next(g);
			guest[is_busy][i] = nsecs() - began;
		}
		show_progress("samples", i, NR_SAMPLES);
	}
	WRITE_ONCE(stop, true);
	kvm_pthread_join(thread, NULL);
	TEST_ASSERT(asker.nr_asked, "Nobody asked");

	expect_as_quiet("host", lower_quartile(host[0]), lower_quartile(host[1]));
	expect_as_quiet("guest", lower_quartile(guest[0]), lower_quartile(guest[1]));
}

/*
 * While one call waits for the page in the pipe, others make progress: one step of each
 * kind, many times before that call gives up.
 */
#define CHANGED_PAGE	400
#define UNCHANGED_PAGE	401
#define ALLOCATED_PAGE	420
#define PUNCHED_PAGE	440
#define PINNED_PAGE	450

static void step_host(struct gmem_vm *g, u64 i)
{
	touch(g, HOST_PAGE + i);
}

static void step_guest(struct gmem_vm *g, u64 i)
{
	guest_touch_next(g);
}

static void step_convert(struct gmem_vm *g, u64 i)
{
	gmem_convert(g, CHANGED_PAGE, 1, PRIVATE, NONE);
	gmem_convert(g, CHANGED_PAGE, 1, SHARED, NONE);
}

static void step_convert_nothing(struct gmem_vm *g, u64 i)
{
	gmem_convert(g, UNCHANGED_PAGE, 1, SHARED, ZERO);
}

static void step_allocate(struct gmem_vm *g, u64 i)
{
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, (ALLOCATED_PAGE + i % 16) * PAGE_SIZE,
		      PAGE_SIZE);
}

static void step_punch(struct gmem_vm *g, u64 i)
{
	punch_hole(g, PUNCHED_PAGE, 1);
}

static void step_slot(struct gmem_vm *g, u64 i)
{
	const u64 gpa = GMEM_GPA + 2 * HELD_PAGES * PAGE_SIZE;

	TEST_ASSERT(!__vm_set_user_memory_region(g->vm, GMEM_SLOT + 1, 0, gpa, PAGE_SIZE, g->mem),
		    "Cannot add a slot");
	TEST_ASSERT(!__vm_set_user_memory_region(g->vm, GMEM_SLOT + 1, 0, gpa, 0, g->mem),
		    "Cannot delete a slot");
}

/* A refusal because of a pin does not wait for the pin. */
static void step_refuse(struct gmem_vm *g, u64 i)
{
	u64 where;

	TEST_ASSERT_EQ(__gmem_convert(g->fd, PINNED_PAGE * PAGE_SIZE, PAGE_SIZE, PRIVATE,
				      ANY_TO_PRIVATE, &where), -EAGAIN);
	TEST_ASSERT_EQ(where, PINNED_PAGE * PAGE_SIZE);
}

FIXTURE(meanwhile) {
	struct gmem_vm g;
	int pipefd[2];
	int pin;
};

FIXTURE_VARIANT(meanwhile) {
	void (*step)(struct gmem_vm *g, u64 i);
	u64 enough;
};

FIXTURE_VARIANT_ADD(meanwhile, host_touches) { .step = step_host, .enough = 20 };
FIXTURE_VARIANT_ADD(meanwhile, guest_touches) { .step = step_guest, .enough = 20 };
FIXTURE_VARIANT_ADD(meanwhile, pages_convert) { .step = step_convert, .enough = 10 };
FIXTURE_VARIANT_ADD(meanwhile, nothing_converts) { .step = step_convert_nothing, .enough = 20 };
FIXTURE_VARIANT_ADD(meanwhile, pages_are_allocated) { .step = step_allocate, .enough = 20 };
FIXTURE_VARIANT_ADD(meanwhile, holes_are_punched) { .step = step_punch, .enough = 10 };
FIXTURE_VARIANT_ADD(meanwhile, slots_come_and_go) { .step = step_slot, .enough = 4 };
FIXTURE_VARIANT_ADD(meanwhile, pins_are_refused) { .step = step_refuse, .enough = 5 };

FIXTURE_SETUP(meanwhile)
{
	struct gmem_vm *g = &self->g;

	gmem_vm_create(g, HELD_PAGES, GMEM_IN_PLACE);
	guest_start_touching(g, GUEST_PAGE, HELD_PAGES - GUEST_PAGE);
	TEST_ASSERT_EQ(pin_in_pipe(g->mem, self->pipefd), 0);
	TEST_ASSERT_EQ(pin_longterm(g->mem + PINNED_PAGE * PAGE_SIZE, &self->pin), 0);
}

FIXTURE_TEARDOWN(meanwhile)
{
	close(self->pin);
	unpin_pipe(self->pipefd);
	gmem_vm_destroy(&self->g);
}

static void expect_steps_during(struct gmem_vm *g, struct call *c, u64 enough,
				void (*step)(struct gmem_vm *g, u64 i))
{
	u64 nr, most = 0, i = 0;
	int tries;

	for (tries = 0; tries < TRIES && most < enough; tries++) {
		call_begin(c);
		for (nr = 0; nr < enough; nr++) {
			step(g, i++);
			usleep(STEP_USECS);
			if (!call_goes_on(c))
				break;
		}
		call_end(c);
		TEST_ASSERT_EQ(c->r, -EAGAIN);
		TEST_ASSERT_EQ(c->where, c->offset);
		most = max(most, nr);
		show_progress("tries", tries, TRIES);
	}
	TEST_ASSERT(most >= enough, "At most %lu of %lu steps while a call waited", most, enough);
}

TEST_F(meanwhile, a_call_on_the_file_waits)
{
	struct call c = {
		.fd = self->g.fd,
		.size = PAGE_SIZE,
		.attributes = PRIVATE,
		.policy = PRESERVE,
	};

	ONLY_IF(SLOTS_CAN_GO || variant->step != step_slot);
	expect_steps_during(&self->g, &c, variant->enough, variant->step);
}

TEST_F(meanwhile, a_call_on_the_vm_waits)
{
	struct call c = {
		.fd = self->g.vm->fd,
		.offset = GMEM_GPA,
		.size = PAGE_SIZE,
		.attributes = PRIVATE,
		.policy = PRESERVE,
	};

	ONLY_IF(SLOTS_CAN_GO || variant->step != step_slot);
	expect_steps_during(&self->g, &c, variant->enough, variant->step);
}

/*
 * fallocate() and holes of a large range.  Pages: others use [0, LARGE_PAGE), the rest is
 * allocated and punched from start to end.
 */
#define LARGE_PAGE	1024
#define LARGE_PAGES	65536
#define LARGE_END	(LARGE_PAGE + LARGE_PAGES)

static void *allocate_large(void *data)
{
	struct gmem_vm *g = data;

	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, LARGE_PAGE * PAGE_SIZE, LARGE_PAGES * PAGE_SIZE);

	return NULL;
}

static void *punch_large(void *data)
{
	punch_hole(data, LARGE_PAGE, LARGE_PAGES);

	return NULL;
}

static void *convert_once(void *data)
{
	struct gmem_vm *g = data;

	gmem_convert(g, 0, 1, PRIVATE, NONE);
	gmem_convert(g, 0, 1, SHARED, NONE);

	return NULL;
}

FIXTURE(large) {
	struct gmem_vm g;
};

FIXTURE_VARIANT(large) {
	bool punch;
};

FIXTURE_VARIANT_ADD(large, fallocate) { .punch = false };
FIXTURE_VARIANT_ADD(large, hole) { .punch = true };

FIXTURE_SETUP(large)
{
	gmem_vm_create(&self->g, LARGE_END, GMEM_IN_PLACE);
	guest_start_touching(&self->g, GUEST_PAGE, LARGE_PAGE - GUEST_PAGE);
}

FIXTURE_TEARDOWN(large)
{
	gmem_vm_destroy(&self->g);
}

/* Returns when it has started, with most of the range still to do. */
static void large_begin(struct gmem_vm *g, bool punch, pthread_t *thread)
{
	if (punch)
		allocate_large(g);
	else
		punch_large(g);
	kvm_pthread_create(thread, NULL, punch ? punch_large : allocate_large, g);
	while (is_allocated(g, LARGE_PAGE) == punch)
		sched_yield();
}

static bool large_goes_on(struct gmem_vm *g, bool punch)
{
	return is_allocated(g, LARGE_END - 1) == punch;
}

TEST_F(large, lets_conversions_and_first_touches_in)
{
	bool punch = variant->punch, in_time = false;
	struct gmem_vm *g = &self->g;
	pthread_t thread;
	int tries, i;

	for (tries = 0; tries < TRIES && !in_time; tries++) {
		large_begin(g, punch, &thread);
		for (i = 0; i < 3; i++) {
			convert_once(g);
			touch(g, HOST_PAGE + tries * 3 + i);
			guest_touch_next(g);
		}
		in_time = large_goes_on(g, punch);
		kvm_pthread_join(thread, NULL);
		show_progress("tries", tries, TRIES);
	}
	TEST_ASSERT(in_time, "The whole range came first, %d times", tries);
}

/* First touches that wait for a conversion that itself waits, in another process. */
TEST_F(large, killed_waiter_ends_before_it)
{
	bool punch = variant->punch, in_time = false;
	struct gmem_vm *g = &self->g;
	pthread_t thread, converter;
	int tries, status;
	pid_t pid;
	u64 i;

	for (tries = 0; tries < TRIES && !in_time; tries++) {
		large_begin(g, punch, &thread);
		kvm_pthread_create(&converter, NULL, convert_once, g);
		pid = fork();
		if (!pid) {
			for (i = HOST_PAGE; ; i = i + 1 < LARGE_PAGE ? i + 1 : HOST_PAGE) {
				(void)madvise(g->mem + i * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
				touch(g, i);
			}
		}
		usleep(20000);
		kill(pid, SIGKILL);
		TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
		in_time = large_goes_on(g, punch);
		kvm_pthread_join(converter, NULL);
		kvm_pthread_join(thread, NULL);
		show_progress("tries", tries, TRIES);
	}
	TEST_ASSERT(in_time, "The whole range came first, %d times", tries);
}

TEST_HARNESS_MAIN
