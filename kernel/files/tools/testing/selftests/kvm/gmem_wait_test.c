// SPDX-License-Identifier: GPL-2.0
/*
 * Nobody waits for a stranger: what a call, a fault or a hole costs those who have
 * nothing to do with it, and that each of them ends.
 *
 * No case measures in seconds.  A case compares what others got done until a call
 * returned, or samples that it took in turn on the same machine, so a machine without
 * time to spare slows down both sides.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/sizes.h>

#include "gmem_harness.h"
#include "gmem_util.h"

/* How often a case tries that a machine without time to spare may spoil. */
#define TRIES	10

/* In an entry of pagemap. */
#define PAGEMAP_PRESENT	BIT_ULL(63)

static bool is_mapped(void *hva)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	u64 entry;

	TEST_ASSERT(fd >= 0, "open(/proc/self/pagemap) failed");
	TEST_ASSERT_EQ(pread(fd, &entry, sizeof(entry), (u64)hva / PAGE_SIZE * sizeof(entry)),
		       sizeof(entry));
	close(fd);

	return entry & PAGEMAP_PRESENT;
}

/* Is there a page, filled or not?  Asks without the file's lock. */
static bool is_allocated(struct gmem_vm *g, u64 page)
{
	struct cachestat_range range = { .off = page * PAGE_SIZE, .len = PAGE_SIZE };
	struct cachestat cached;

	TEST_ASSERT(!syscall(__NR_cachestat, g->fd, &range, &cached, 0), "cachestat() failed");

	return cached.nr_cache;
}

static u8 touch(struct gmem_vm *g, u64 page)
{
	return READ_ONCE(g->mem[page * PAGE_SIZE]);
}

static void tell(int fd)
{
	TEST_ASSERT_EQ(write(fd, "", 1), 1);
}

static void hear(int fd)
{
	char c;

	TEST_ASSERT_EQ(read(fd, &c, 1), 1);
}

/* A thread of its own for one conversion, so that others can look at how far it is. */
struct call {
	pthread_t thread;
	int fd;
	u64 offset;
	u64 size;
	u64 attributes;
	u64 policy;
	u64 where;
	int r;
	/* What @counter was when the call returned. */
	u64 *counter;
	u64 counted;
	bool has_begun;
	bool has_ended;
};

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

static void call_begin(struct call *c)
{
	c->has_begun = false;
	c->has_ended = false;
	kvm_pthread_create(&c->thread, NULL, make_call, c);
	while (!READ_ONCE(c->has_begun))
		sched_yield();
	/* Tests no promise: lets the call come to where a wrong one would stand in the way. */
	usleep(2000);
}

static bool call_goes_on(struct call *c)
{
	return !READ_ONCE(c->has_ended);
}

static void call_end(struct call *c)
{
	kvm_pthread_join(c->thread, NULL);
}

/*
 * Waits for a child that should end.  One that cannot be killed is left behind, as to
 * wait for it would hide which case found it.  How much time it has does not decide
 * whether a case passes on a slow machine: nothing that ends takes as long.
 */
static bool child_ends(pid_t pid, int *status)
{
	int i;

	for (i = 0; i < 6000; i++) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		show_progress("steps of patience with a child", i, 6000);
		usleep(10000);
	}

	return false;
}

/* Faults map neighbours */

#define AROUND_PAGES	(SZ_2M / PAGE_SIZE)
#define WINDOW_PAGES	(SZ_64K / PAGE_SIZE)
#define MOST_FAULTS	40

FIXTURE(around) {
	struct gmem_vm g;
};

FIXTURE_SETUP(around)
{
	gmem_vm_create(&self->g, AROUND_PAGES, GMEM_IN_PLACE);
	memset(self->g.mem, 'a', SZ_2M);
}

FIXTURE_TEARDOWN(around)
{
	gmem_vm_destroy(&self->g);
}

static long nr_faults(void)
{
	struct rusage usage;

	TEST_ASSERT(!getrusage(RUSAGE_THREAD, &usage), "getrusage() failed");

	return usage.ru_minflt;
}

static long faults_of_reading(struct gmem_vm *g)
{
	long before = nr_faults();
	u64 i;

	for (i = 0; i < AROUND_PAGES; i++)
		TEST_ASSERT_EQ(touch(g, i), 'a');

	return nr_faults() - before;
}

static long faults_of_writing(struct gmem_vm *g)
{
	long before = nr_faults();
	u64 i;

	for (i = 0; i < AROUND_PAGES; i++)
		WRITE_ONCE(g->mem[i * PAGE_SIZE], 'a');

	return nr_faults() - before;
}

static void back_and_forth(struct gmem_vm *g)
{
	gmem_convert(g, 0, AROUND_PAGES, PRIVATE, PRESERVE);
	gmem_convert(g, 0, AROUND_PAGES, SHARED, PRESERVE);
}

TEST_F(around, host_touches_two_mebibytes_in_forty_faults)
{
	struct gmem_vm *g = &self->g;
	long faults;

	back_and_forth(g);
	faults = faults_of_reading(g);
	TEST_ASSERT(faults <= MOST_FAULTS, "%ld faults to read 2 MiB", faults);

	back_and_forth(g);
	faults = faults_of_writing(g);
	TEST_ASSERT(faults <= MOST_FAULTS, "%ld faults to write 2 MiB", faults);

	/* A mapping that was made to read can be written to. */
	back_and_forth(g);
	faults = faults_of_reading(g) + faults_of_writing(g);
	TEST_ASSERT(faults <= MOST_FAULTS, "%ld faults to read and write 2 MiB", faults);
}

TEST_F(around, so_does_another_process_that_maps_the_file)
{
	int to_child[2], to_parent[2], status;
	struct gmem_vm *g = &self->g, other;
	long faults;
	pid_t pid;

	TEST_ASSERT(!pipe(to_child) && !pipe(to_parent), "pipe() failed");
	pid = fork();
	if (!pid) {
		other = *g;
		other.mem = kvm_mmap(SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
		faults_of_reading(&other);
		tell(to_parent[1]);
		hear(to_child[0]);
		faults = faults_of_reading(&other);
		TEST_ASSERT(faults <= MOST_FAULTS, "%ld faults in the child", faults);
		_exit(0);
	}

	close(to_parent[1]);
	hear(to_parent[0]);
	back_and_forth(g);
	faults = faults_of_reading(g);
	TEST_ASSERT(faults <= MOST_FAULTS, "%ld faults in the parent", faults);
	tell(to_child[1]);
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT_EQ(status, 0);
}

TEST_F(around, only_neighbours_that_are_shared_and_there)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	/* Odd pages private, page 20 a hole, page 22 not filled, if NONE does that. */
	gmem_convert(g, 0, AROUND_PAGES, PRIVATE, PRESERVE);
	for (i = 0; i < AROUND_PAGES; i += 2)
		gmem_convert(g, i, 1, SHARED, i == 22 ? NONE : PRESERVE);
	punch_hole(g, 20, 1);

	TEST_ASSERT_EQ(touch(g, 18), 'a');
	for (i = 0; i < AROUND_PAGES; i++) {
		if (is_mapped(g->mem + i * PAGE_SIZE))
			TEST_ASSERT(i + WINDOW_PAGES > 18 && i < 18 + WINDOW_PAGES && i % 2 == 0 &&
				    i != 20 && (i != 22 || expected(NONE, 'a') == 'a'),
				    "Page %lu is mapped", i);
	}
	TEST_ASSERT(!is_allocated(g, 20), "A hole was filled that nobody touched");

	for (i = AROUND_PAGES; i-- > 0; ) {
		TEST_ASSERT(is_mappable(g, i) == !(i % 2), "Page %lu", i);
		if (i % 2 == 0)
			TEST_ASSERT_EQ(host_read(g, i), i == 20 ? 0 :
				       i == 22 ? expected(NONE, 'a') : 'a');
	}
}

TEST_F(around, nothing_outside_of_the_mapping)
{
	struct gmem_vm *g = &self->g;
	u8 *mem;
	u64 i;

	/* The middle of a window, between two pages that are somebody else's. */
	mem = kvm_mmap(3 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	mem = mmap(mem + PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		   g->fd, 24 * PAGE_SIZE);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() in the middle failed");

	TEST_ASSERT_EQ(READ_ONCE(*mem), 'a');
	for (i = 0; i < 3; i++)
		TEST_ASSERT(is_mapped(mem + (i - 1) * PAGE_SIZE) == (i == 1),
			    "Page %lu of three", i);
	TEST_ASSERT_EQ(READ_ONCE(mem[PAGE_SIZE]), 0);
	kvm_munmap(mem - PAGE_SIZE, 3 * PAGE_SIZE);
}

/* In KiB, of the mapping that begins at @hva. */
static long smaps_kib(void *hva, const char *name)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long start = 0, first;
	long kib = -1, value;
	char line[256], key[32];

	TEST_ASSERT(file, "fopen(/proc/self/smaps) failed");
	while (kib < 0 && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%*x ", &first) == 1)
			start = first;
		else if (start == (unsigned long)hva &&
			 sscanf(line, "%31[^:]: %ld kB", key, &value) == 2 && !strcmp(key, name))
			kib = value;
	}
	fclose(file);
	TEST_ASSERT(kib >= 0, "No %s for %p", name, hva);

	return kib;
}

/* What smaps says of a new mapping of @fd in which one page was written to. */
static void write_one_page(int fd, long *rss, long *referenced)
{
	u8 *mem = kvm_mmap(SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd);

	TEST_ASSERT_EQ(smaps_kib(mem, "Rss"), 0);
	WRITE_ONCE(mem[18 * PAGE_SIZE], 'w');
	*rss = smaps_kib(mem, "Rss");
	*referenced = smaps_kib(mem, "Referenced");
	kvm_munmap(mem, SZ_2M);
}

/* What smaps says of a new mapping of @fd in which one page was read. */
static void read_one_page(int fd, long *rss, long *referenced)
{
	u8 *mem = kvm_mmap(SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd);

	READ_ONCE(mem[18 * PAGE_SIZE]);
	*rss = smaps_kib(mem, "Rss");
	*referenced = smaps_kib(mem, "Referenced");
	kvm_munmap(mem, SZ_2M);
}

/*
 * Neighbours look as used as those that the kernel maps in any other file, which
 * is for the architecture to say: x86 has no mapping that begins old.
 */
TEST_F(around, neighbours_look_as_used_as_in_any_file)
{
	long rss, referenced, other_rss, other_referenced;
	struct gmem_vm *g = &self->g;
	u8 *mem;
	int fd;

	fd = memfd_create("other", MFD_CLOEXEC);
	TEST_ASSERT(fd >= 0 && !ftruncate(fd, SZ_2M), "memfd_create() failed");
	mem = kvm_mmap(SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	memset(mem, 'o', SZ_2M);
	kvm_munmap(mem, SZ_2M);
	read_one_page(fd, &other_rss, &other_referenced);
	if (other_rss != SZ_64K / SZ_1K)
		SKIP(return, "fault_around_bytes is not 64 KiB");

	/* Faults that found no neighbour let the next ones do without looking. */
	back_and_forth(g);
	kvm_munmap(g->mem, SZ_2M);
	read_one_page(g->fd, &rss, &referenced);
	TEST_ASSERT_EQ(rss, other_rss);
	TEST_ASSERT_EQ(referenced, other_referenced);
	write_one_page(g->fd, &rss, &referenced);
	TEST_ASSERT_EQ(rss, other_rss);
	TEST_ASSERT_EQ(referenced, other_referenced);

	g->mem = kvm_mmap(SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
	close(fd);
}

static bool stop;

static void *map_and_drop(void *data)
{
	struct gmem_vm *g = data;

	while (!READ_ONCE(stop)) {
		touch(g, 16);
		TEST_ASSERT(!madvise(g->mem + 16 * PAGE_SIZE, WINDOW_PAGES * PAGE_SIZE,
				     MADV_DONTNEED), "madvise() failed");
	}

	return NULL;
}

/* A neighbour of what is faulted in all the time: no fault may bring it back. */
TEST_F(around, a_neighbour_stays_away_once_it_is_private)
{
	struct gmem_vm *g = &self->g;
	pthread_t thread;
	u64 round, i;

	kvm_pthread_create(&thread, NULL, map_and_drop, g);
	for (round = 0; round < 200; round++) {
		gmem_convert(g, 17, 4, PRIVATE, PRESERVE);
		for (i = 17; i < 21; i++)
			TEST_ASSERT(!is_mapped(g->mem + i * PAGE_SIZE),
				    "Round %lu: private page %lu is mapped", round, i);
		gmem_convert(g, 17, 4, SHARED, PRESERVE);
		TEST_ASSERT_EQ(touch(g, 17 + round % 4), 'a');
		show_progress("rounds", round, 200);
	}
	WRITE_ONCE(stop, true);
	kvm_pthread_join(thread, NULL);
}

/*
 * One page is held, and somebody asks for it again and again, as a guest does that is
 * told EAGAIN.  Pages: 0 is held, from HOST_PAGE and from GUEST_PAGE on are those that
 * host and guest touch for the first time.
 */
#define HELD_PAGES	1024
#define HOST_PAGE	16
#define GUEST_PAGE	512
#define NR_SAMPLES	25

/* What a sample may cost more than twice the median: a tick of the clock's noise. */
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

static u64 median(u64 *samples)
{
	qsort(samples, NR_SAMPLES, sizeof(*samples), compare);

	return samples[NR_SAMPLES / 2];
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

	/* In turn, so that whatever else the machine does meets both. */
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

	expect_as_quiet("host", median(host[0]), median(host[1]));
	expect_as_quiet("guest", median(guest[0]), median(guest[1]));
}

/*
 * While one call waits for the page in the pipe, others get things done: a step of each
 * kind, many times before that call gives up.
 */
#define STEP_USECS	3000
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

/* What is refused because of a pin is decided, not waited for. */
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
			/* Longer than it takes between a call's end and has_ended. */
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
 * Pages that lie in pipes, the lowest first, and somebody who lets one go after the
 * other.  The second half of the file is nobody's.
 */
#define MOST_IN_PIPES	1024
#define PIPE_PAGES	256
#define NR_PIPES	(MOST_IN_PIPES / PIPE_PAGES)
#define DEADLINE_PAGES	(2 * MOST_IN_PIPES)
#define RELEASE_USECS	10000

/*
 * How many are let go in the one second that a call may take, with as much again and
 * more for a machine that wakes up the call late.
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

	/* Nothing is mapped, so that each touch is a fault. */
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

/* A few that go in time are no reason to refuse, if the machine has any time. */
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
 * Memory failure takes one lock for the whole host, and with it waits for the file's.
 * Neither a page of the file, beside those that are waited for, nor one that has nothing
 * to do with it takes until the call ends.
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

/*
 * Another process that maps, drops, locks, moves and splices the pages, looks for them
 * in the page cache and takes futexes in them.  It holds none of them for long.
 */
#define STORM_PAGES	64
#define STORM_SIZE	(STORM_PAGES * PAGE_SIZE)
#define STORM_ROUNDS	200

struct storm {
	int fd;
	/* Grows whenever the thread that splices has let its page go. */
	u64 spliced;
};

static u8 *storm_map(struct storm *storm)
{
	return kvm_mmap(STORM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, storm->fd);
}

static void *storm_map_and_unmap(void *data)
{
	u8 *mem;

	for (;;) {
		mem = storm_map(data);
		(void)madvise(mem, STORM_SIZE, MADV_POPULATE_READ);
		kvm_munmap(mem, STORM_SIZE);
	}
	return NULL;
}

static void *storm_lock(void *data)
{
	u8 *mem = storm_map(data);
	u64 i;

	for (i = 0; ; i++) {
		(void)mlock(mem + i % STORM_PAGES * PAGE_SIZE, PAGE_SIZE);
		(void)munlock(mem + i % STORM_PAGES * PAGE_SIZE, PAGE_SIZE);
	}
	return NULL;
}

static void *storm_move(void *data)
{
	u8 *mem = storm_map(data), *to = storm_map(data), *was;

	for (;;) {
		(void)madvise(mem, STORM_SIZE, MADV_POPULATE_WRITE);
		was = mem;
		/* The old place stays taken, as others map all the time. */
		mem = mremap(mem, STORM_SIZE, STORM_SIZE,
			     MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);
		TEST_ASSERT(mem != MAP_FAILED, "mremap() failed");
		to = was;
	}
	return NULL;
}

static void *storm_look(void *data)
{
	unsigned char resident[STORM_PAGES];
	u8 *mem = storm_map(data);

	for (;;)
		TEST_ASSERT(!mincore(mem, STORM_SIZE, resident), "mincore() failed");
	return NULL;
}

static void *storm_splice(void *data)
{
	struct storm *storm = data;
	u8 *mem = storm_map(storm);
	char page[PAGE_SIZE];
	int pipefd[2];
	u64 i;

	TEST_ASSERT(!pipe(pipefd), "pipe() failed");
	for (i = 0; ; i++) {
		struct iovec iov = {
			.iov_base = mem + i % STORM_PAGES * PAGE_SIZE,
			.iov_len = PAGE_SIZE,
		};

		if (vmsplice(pipefd[1], &iov, 1, 0) == PAGE_SIZE)
			TEST_ASSERT_EQ(read(pipefd[0], page, PAGE_SIZE), PAGE_SIZE);
		WRITE_ONCE(storm->spliced, i);
	}
	return NULL;
}

static void *storm_futex(void *data)
{
	u8 *mem = storm_map(data);
	u64 i;

	for (i = 0; ; i++)
		(void)syscall(__NR_futex, mem + i % STORM_PAGES * PAGE_SIZE, FUTEX_WAKE, 1, NULL,
			      NULL, 0);
	return NULL;
}

FIXTURE(storm) {
	struct gmem_vm g;
};

FIXTURE_SETUP(storm)
{
	gmem_vm_create(&self->g, STORM_PAGES, GMEM_IN_PLACE);
	memset(self->g.mem, 'a', STORM_SIZE);
}

FIXTURE_TEARDOWN(storm)
{
	gmem_vm_destroy(&self->g);
}

TEST_F(storm, what_passes_is_no_reason_to_refuse)
{
	static void *(*const threads[])(void *) = {
		storm_map_and_unmap, storm_lock, storm_move, storm_look, storm_splice, storm_futex,
		storm_map_and_unmap,
	};
	struct gmem_vm *g = &self->g;
	u64 where, spliced, round, i;
	struct storm *storm;
	pthread_t thread;
	int r, status;
	pid_t pid;

	storm = kvm_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	storm->fd = g->fd;
	pid = fork();
	if (!pid) {
		for (i = 0; i < ARRAY_SIZE(threads); i++)
			kvm_pthread_create(&thread, NULL, threads[i], storm);
		pause();
		_exit(0);
	}
	while (READ_ONCE(storm->spliced) < STORM_PAGES)
		usleep(1000);

	for (round = 0; round < STORM_ROUNDS; round++) {
		u64 first = rand() % STORM_PAGES, nr = min_t(u64, 8, STORM_PAGES - first);

		do {
			spliced = READ_ONCE(storm->spliced);
			r = __gmem_convert(g->fd, first * PAGE_SIZE, nr * PAGE_SIZE, PRIVATE,
					   PRESERVE, &where);
			/* A thread that had no CPU did hold its page all the time. */
		} while (r == -EAGAIN && spliced == READ_ONCE(storm->spliced));
		TEST_ASSERT(!r, "Round %lu: %s at %#lx, which nobody holds", round,
			    strerror(-r), where);
		gmem_convert(g, first, nr, SHARED, PRESERVE);
		/* Time for the others to take hold of the pages again. */
		usleep(rand() % 1000);
		show_progress("rounds", round, STORM_ROUNDS);
	}
	TEST_ASSERT_EQ(waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT_EQ(host_read(g, STORM_PAGES - 1), 'a');
}

/*
 * A real-time thread that keeps its CPU, as a pinned vCPU of a real-time guest does,
 * on a host that does not throttle it.  It has touched a page just now, so the page is
 * in whatever the CPU keeps for itself.
 */
#define RT_NSECS	(5ull * NSEC_PER_SEC)
#define RT_PRIORITY	50

static const char rt_runtime[] = "/proc/sys/kernel/sched_rt_runtime_us";

static struct {
	struct gmem_vm *g;
	int cpu;
	bool has_touched;
	bool shall_end;
	bool has_given_up;
} rt;

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	kvm_sched_setaffinity(0, sizeof(set), &set);
}

static void *keep_the_cpu(void *data)
{
	struct sched_param param = { .sched_priority = RT_PRIORITY };
	struct timespec used = {};

	stay_on(rt.cpu);
	TEST_ASSERT(!sched_setscheduler(0, SCHED_FIFO, &param), "sched_setscheduler() failed");
	touch(rt.g, 0);
	touch(rt.g, 1);
	WRITE_ONCE(rt.has_touched, true);

	/* What it had of its CPU, not what has passed meanwhile. */
	while (!READ_ONCE(rt.shall_end) && used.tv_sec * NSEC_PER_SEC + used.tv_nsec < RT_NSECS)
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	WRITE_ONCE(rt.has_given_up, !READ_ONCE(rt.shall_end));

	return NULL;
}

/* How much of a CPU others get beside real-time threads; old kernels have no such file. */
static void set_fair_server(const char *nsecs)
{
	char path[80];
	int cpu;

	for (cpu = 0; cpu < 8; cpu++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/sched/fair_server/cpu%d/runtime",
			 cpu);
		(void)write_file(path, nsecs);
	}
}

FIXTURE(realtime) {
	struct gmem_vm g;
};

FIXTURE_SETUP(realtime)
{
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(realtime)
{
	gmem_vm_destroy(&self->g);
}

TEST_F(realtime, thread_that_keeps_its_cpu_holds_up_no_conversion)
{
	struct gmem_vm *g = &self->g;
	bool before_it_gave_up;
	int cpu, cpus[2], n = 0;
	pthread_t thread;
	cpu_set_t set;

	kvm_sched_getaffinity(0, sizeof(set), &set);
	for (cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++) {
		if (CPU_ISSET(cpu, &set))
			cpus[n++] = cpu;
	}
	if (n < 2)
		SKIP(return, "needs two CPUs");
	/* In this order: without a limit for real-time threads the other cannot be set. */
	set_fair_server("0");
	if (write_file(rt_runtime, "-1"))
		SKIP(return, "needs root, for %s", rt_runtime);

	stay_on(cpus[0]);
	rt.g = g;
	rt.cpu = cpus[1];
	kvm_pthread_create(&thread, NULL, keep_the_cpu, NULL);
	while (!READ_ONCE(rt.has_touched))
		usleep(1000);
	gmem_convert(g, 0, 2, PRIVATE, PRESERVE);
	touch(g, 8);
	gmem_convert(g, 8, 1, PRIVATE, ANY_TO_PRIVATE);
	punch_hole(g, 8, 1);
	before_it_gave_up = !READ_ONCE(rt.has_given_up);
	WRITE_ONCE(rt.shall_end, true);
	kvm_pthread_join(thread, NULL);

	TEST_ASSERT(!write_file(rt_runtime, "950000"), "Cannot throttle again");
	set_fair_server("50000000");
	TEST_ASSERT(before_it_gave_up, "The conversions took until the thread gave up its CPU");
}

/*
 * fallocate() and holes of a large range.  Pages: [0, LARGE_PAGE) others use, the rest
 * is allocated and punched from its start to its end.
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

/* Returns when it has begun, and has most of the range in front of it. */
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

/* First touches that wait behind a conversion that waits, in another process. */
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

/*
 * The VM ioctl over more guest physical addresses than there are.  Each case is a
 * process of its own, as one that cannot be killed must not take the test with it.
 */
#define EVERYTHING	BIT_ULL(52)
#define FAR_GPA		BIT_ULL(40)
#define OLD_GPA		(GMEM_GPA + 64 * PAGE_SIZE)

FIXTURE(everything) {
};

FIXTURE_SETUP(everything)
{
	struct gmem_vm probe;

	/* Skips where there is nothing to convert. */
	gmem_vm_create(&probe, 1, GMEM_IN_PLACE);
	gmem_vm_destroy(&probe);
}

FIXTURE_TEARDOWN(everything)
{
}

static int convert_vm(struct gmem_vm *g, u64 gpa, u64 size, u64 attributes, u64 policy, u64 *where)
{
	return __gmem_convert(g->vm->fd, gpa, size, attributes, policy, where);
}

/* An in-place slot, one of two backings, and private gfns that have no slot. */
static void everything_create(struct gmem_vm *g)
{
	u64 where;

	gmem_vm_create(g, GMEM_PAGES, GMEM_IN_PLACE);
	vm_userspace_mem_region_add(g->vm, VM_MEM_SRC_ANONYMOUS, OLD_GPA, GMEM_SLOT + 1, 4,
				    KVM_MEM_GUEST_MEMFD);
	virt_map(g->vm, OLD_GPA, OLD_GPA, 4);
	host_write(g, 3, 'a');
	memset(addr_gpa2hva(g->vm, OLD_GPA), 's', PAGE_SIZE);
	TEST_ASSERT_EQ(convert_vm(g, GMEM_GPA, 128 * PAGE_SIZE, PRIVATE, NONE, &where), 0);
	TEST_ASSERT_EQ(convert_vm(g, FAR_GPA, PAGE_SIZE, PRIVATE, NONE, &where), 0);
	TEST_ASSERT_EQ(convert_vm(g, EVERYTHING - PAGE_SIZE, PAGE_SIZE, PRIVATE, NONE, &where), 0);
}

static void run_in_child(void (*fn)(void))
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		fn();
		_exit(0);
	}
	if (!child_ends(pid, &status)) {
		kill(pid, SIGKILL);
		TEST_FAIL("The call does not end");
	}
	TEST_ASSERT(!status, "The child ended with status %#x", status);
}

static void everything_to_shared(void)
{
	struct gmem_vm g;
	u64 where;

	everything_create(&g);
	TEST_ASSERT_EQ(convert_vm(&g, 0, EVERYTHING, SHARED, NONE, &where), 0);
	TEST_ASSERT_EQ(where, POISON);
	expect_state(&g, 0, GMEM_PAGES, SHARED);
	TEST_ASSERT_EQ(host_read(&g, 3), expected(NONE, 0));
	/* Page 64 of the guest is page 0 of the old slot. */
	TEST_ASSERT_EQ(guest_read(&g, 64), 's');
	TEST_ASSERT_EQ(convert_vm(&g, 0, EVERYTHING, SHARED, NONE, &where), 0);
	gmem_vm_destroy(&g);
}

TEST_F(everything, becomes_shared)
{
	ONLY_IF(HAS_TWO_BACKINGS);
	run_in_child(everything_to_shared);
}

static void everything_that_is_refused(void)
{
	struct gmem_vm g;
	u64 where;

	everything_create(&g);
	TEST_ASSERT_EQ(convert_vm(&g, GMEM_GPA, EVERYTHING - GMEM_GPA, SHARED, ZERO, &where),
		       -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, GMEM_GPA + GMEM_PAGES * PAGE_SIZE);
	TEST_ASSERT_EQ(convert_vm(&g, 0, EVERYTHING, SHARED, ZERO, &where), -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, 0);
	TEST_ASSERT_EQ(convert_vm(&g, PAGE_SIZE, -PAGE_SIZE, SHARED, NONE, &where), -EINVAL);
	TEST_ASSERT_EQ(where, POISON);
	expect_state(&g, 0, GMEM_PAGES, PRIVATE);
	gmem_vm_destroy(&g);
}

TEST_F(everything, is_refused_at_the_lowest_address)
{
	ONLY_IF(HAS_TWO_BACKINGS);
	run_in_child(everything_that_is_refused);
}

static void everything_with_a_poisoned_page(void)
{
	struct gmem_vm g;
	char pfn[24];
	u64 where;
	int r;

	gmem_vm_create(&g, GMEM_PAGES, GMEM_IN_PLACE);
	host_write(&g, 5, 'b');
	snprintf(pfn, sizeof(pfn), "%#lx", pfn_of(&g, 5));
	gmem_convert(&g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(convert_vm(&g, FAR_GPA, PAGE_SIZE, PRIVATE, NONE, &where), 0);
	r = write_file("/sys/kernel/debug/hwpoison/corrupt-pfn", pfn);
	/* EBUSY says that the page stays in the file, as it does until it is punched out. */
	TEST_ASSERT(!r || r == -EBUSY || r == -ENOENT, "Cannot poison frame %s: %s", pfn,
		    strerror(-r));
	if (r == -ENOENT)
		return;

	TEST_ASSERT_EQ(convert_vm(&g, 0, EVERYTHING, SHARED, NONE, &where), -EHWPOISON);
	TEST_ASSERT_EQ(where, GMEM_GPA + 5 * PAGE_SIZE);
	expect_state(&g, 0, GMEM_PAGES, PRIVATE);
	punch_hole(&g, 5, 1);
	TEST_ASSERT_EQ(convert_vm(&g, 0, EVERYTHING, SHARED, NONE, &where), 0);
	gmem_vm_destroy(&g);
}

TEST_F(everything, is_refused_because_of_a_poisoned_page)
{
	ONLY_IF(HAS_TWO_BACKINGS);
	run_in_child(everything_with_a_poisoned_page);
}

/* More gfns than there is memory to track: ends by itself, or is killed. */
TEST_F(everything, becomes_private_until_it_is_killed)
{
	int to_parent[2], status;
	struct gmem_vm g;
	u64 where;
	pid_t pid;

	ONLY_IF(HAS_TWO_BACKINGS);
	TEST_ASSERT(!pipe(to_parent), "pipe() failed");
	pid = fork();
	if (!pid) {
		gmem_vm_create(&g, GMEM_PAGES, GMEM_IN_PLACE);
		tell(to_parent[1]);
		convert_vm(&g, 0, BIT_ULL(40), PRIVATE, NONE, &where);
		_exit(0);
	}
	close(to_parent[1]);
	hear(to_parent[0]);
	usleep(100000);
	kill(pid, SIGKILL);
	TEST_ASSERT(child_ends(pid, &status), "The call does not end, nor is it killed");
}

/*
 * Mixed memory.  What each page of a file holds is compared with a model, for a
 * conversion of the whole file, at the boundaries of a word, a leaf and a node of the
 * tracking.
 */
enum mark {
	NOTHING,
	NONE_MARK,
	NONE_MARK_WITH_PAGE,
	DATA,
	NR_MARKS,
};

#define NR_KINDS	(2 * NR_MARKS)

static const u64 boundaries[] = { 64, 1024, 65536, 131072 };

#define MIXED_PAGES	(BIT_ULL(18))

FIXTURE(mixed) {
	struct gmem_vm g;
};

FIXTURE_SETUP(mixed)
{
	struct gmem_vm *g = &self->g;

	gmem_vm_create(g, GMEM_PAGES, GMEM_IN_PLACE);
	kvm_munmap(g->mem, GMEM_PAGES * PAGE_SIZE);
	close(g->fd);
	g->nr_pages = MIXED_PAGES;
	g->fd = vm_create_guest_memfd(g->vm, MIXED_PAGES * PAGE_SIZE, GMEM_IN_PLACE);
	g->mem = kvm_mmap(MIXED_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
}

FIXTURE_TEARDOWN(mixed)
{
	gmem_vm_destroy(&self->g);
}

/* What a page of that kind, which is shared and a hole at first, reads before. */
static u8 make_kind(struct gmem_vm *g, u64 page, u64 kind)
{
	enum mark mark = kind / 2;
	u8 byte = 0;

	switch (mark) {
	case NONE_MARK_WITH_PAGE:
		kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, page * PAGE_SIZE, PAGE_SIZE);
		fallthrough;
	case NONE_MARK:
		gmem_convert(g, page, 1, PRIVATE, NONE);
		gmem_convert(g, page, 1, SHARED, PRESERVE);
		byte = expected(NONE, 0);
		break;
	case DATA:
		byte = 1 + page % 0x60;
		host_write(g, page, byte);
		break;
	default:
		break;
	}
	if (kind % 2)
		gmem_convert(g, page, 1, PRIVATE, PRESERVE);

	return byte;
}

static u8 after(u8 before, bool changes, u64 policy)
{
	return changes ? expected(policy, before) : before;
}

TEST_F(mixed, every_pair_of_kinds_at_every_boundary)
{
	u8 bytes[ARRAY_SIZE(boundaries)][2];
	struct gmem_vm *g = &self->g;
	u64 pair, attributes, policy, i, side, kinds[2], page, done = 0;

	for (pair = 0; pair < NR_KINDS * NR_KINDS; pair++) {
		kinds[0] = pair % NR_KINDS;
		kinds[1] = pair / NR_KINDS;
		for (policy = ZERO; policy <= NONE; policy++) {
			for (attributes = SHARED; ; attributes = PRIVATE) {
				if (!policy_works(attributes, policy))
					break;
				gmem_convert(g, 0, MIXED_PAGES, SHARED, ZERO);
				punch_hole(g, 0, MIXED_PAGES);
				for (i = 0; i < ARRAY_SIZE(boundaries); i++) {
					for (side = 0; side < 2; side++) {
						page = boundaries[i] - 1 + side;
						bytes[i][side] = make_kind(g, page, kinds[side]);
					}
				}

				gmem_convert(g, 0, MIXED_PAGES, attributes, policy);
				if (attributes)
					gmem_convert(g, 0, MIXED_PAGES, SHARED, PRESERVE);
				for (i = 0; i < ARRAY_SIZE(boundaries); i++) {
					for (side = 0; side < 2; side++) {
						bool changes = kinds[side] % 2 != !!attributes;
						u8 should = after(bytes[i][side], changes, policy);
						int is;

						page = boundaries[i] - 1 + side;
						is = host_read(g, page);
						TEST_ASSERT(is == should,
							    "Page %lu of kind %lu beside %lu reads %#x, not %#x, policy %lu to %lu",
							    page, kinds[side], kinds[!side], is,
							    should, policy, attributes);
					}
				}
				/* A page that nobody marked. */
				TEST_ASSERT_EQ(host_read(g, 200000), after(0, attributes, policy));

				show_progress("conversions", ++done, NR_KINDS * NR_KINDS * 6);
				if (attributes)
					break;
			}
		}
	}
}

/*
 * Every other page is private and every third has a mark of NONE; two pages of the file
 * in hundred are there.
 */
#define ALTERNATE_PAGES	(65536 + 4096)

static bool is_looked_at(u64 page)
{
	return page % 97 < 2 || (page + 70) % 1024 < 4 || (page + 3) % 65536 < 6;
}

static void make_alternate(struct gmem_vm *g)
{
	u64 page;

	gmem_convert(g, 0, MIXED_PAGES, SHARED, ZERO);
	punch_hole(g, 0, MIXED_PAGES);
	gmem_convert(g, 0, MIXED_PAGES, PRIVATE, PRESERVE);
	for (page = 0; page < ALTERNATE_PAGES; page += 3)
		gmem_convert(g, page, 1, SHARED, NONE);
	gmem_convert(g, 0, MIXED_PAGES, PRIVATE, PRESERVE);
	for (page = 0; page < ALTERNATE_PAGES; page += 2) {
		gmem_convert(g, page, 1, SHARED, PRESERVE);
		if (page % 50 == 0)
			touch(g, page);
		show_progress("pages", page, ALTERNATE_PAGES);
	}
}

TEST_F(mixed, every_other_page)
{
	struct gmem_vm *g = &self->g;
	u64 policy, attributes, page;

	for (policy = ZERO; policy <= NONE; policy++) {
		for (attributes = SHARED; ; attributes = PRIVATE) {
			if (!policy_works(attributes, policy))
				break;
			make_alternate(g);
			gmem_convert(g, 0, MIXED_PAGES, attributes, policy);
			if (attributes)
				gmem_convert(g, 0, MIXED_PAGES, SHARED, PRESERVE);
			for (page = 0; page < ALTERNATE_PAGES; page++) {
				bool changes = (page % 2 == 1) != !!attributes;
				u8 before = page % 3 ? 0 : expected(NONE, 0);
				u8 should = after(before, changes, policy);
				int is;

				if (!is_looked_at(page))
					continue;
				is = host_read(g, page);
				TEST_ASSERT(is == should,
					    "Page %lu reads %#x, not %#x, policy %lu to %lu",
					    page, is, should, policy, attributes);
			}
			if (attributes)
				break;
		}
	}
}

/*
 * A page at the end is pinned, so each call looks at everything and changes nothing.
 * A process that makes such calls is killed.
 */
TEST_F(mixed, killed_between_and_in_conversions)
{
	int to_parent[2], status, pin, round;
	struct gmem_vm g;
	u64 page, where;
	pid_t pid;

	for (round = 0; round < 5; round++) {
		TEST_ASSERT(!pipe(to_parent), "pipe() failed");
		pid = fork();
		if (!pid) {
			gmem_vm_create(&g, MIXED_PAGES, GMEM_IN_PLACE);
			TEST_ASSERT_EQ(pin_longterm(g.mem + (MIXED_PAGES - 1) * PAGE_SIZE, &pin),
				       0);
			for (page = 0; page < ALTERNATE_PAGES; page += 2)
				gmem_convert(&g, page, 1, PRIVATE, PRESERVE);
			tell(to_parent[1]);
			for (;;) {
				int r = __gmem_convert(g.fd, 0, MIXED_PAGES * PAGE_SIZE, PRIVATE,
						       NONE, &where);

				TEST_ASSERT(r == -EAGAIN && where == (MIXED_PAGES - 1) * PAGE_SIZE,
					    "%s at %#lx", strerror(-r), where);
			}
		}
		close(to_parent[1]);
		hear(to_parent[0]);
		close(to_parent[0]);
		usleep(20000 + 3000 * round);
		kill(pid, SIGKILL);
		TEST_ASSERT(child_ends(pid, &status), "The process does not end");
		TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			    "The child ended with status %#x", status);
		show_progress("rounds", round, 5);
	}
}

/*
 * Two callers that want the same.  One of them may find nothing to do while the other
 * is at it; whichever returns, what it asked for is so.
 */
#define TWIN_PAGES	64
#define TWIN_ROUNDS	300

static struct twin {
	struct gmem_vm *g;
	pthread_barrier_t barrier;
} twin;

FIXTURE(twins) {
	struct gmem_vm g;
};

FIXTURE_SETUP(twins)
{
	gmem_vm_create(&self->g, TWIN_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(twins)
{
	gmem_vm_destroy(&self->g);
}

static void *convert_and_look(void *data)
{
	struct gmem_vm *g = twin.g;
	u64 round, i;

	for (round = 0; round < TWIN_ROUNDS; round++) {
		if (data) {
			memset(g->mem, 'a', TWIN_PAGES * PAGE_SIZE);
			show_progress("rounds", round, TWIN_ROUNDS);
		}

		pthread_barrier_wait(&twin.barrier);
		gmem_convert(g, 0, TWIN_PAGES, PRIVATE, ANY_TO_PRIVATE);
		for (i = 0; i < TWIN_PAGES; i++)
			TEST_ASSERT(madvise(g->mem + i * PAGE_SIZE, PAGE_SIZE, MADV_POPULATE_READ),
				    "Round %lu: page %lu can be mapped", round, i);

		pthread_barrier_wait(&twin.barrier);
		gmem_convert(g, 0, TWIN_PAGES, SHARED, NONE);
		for (i = 0; i < TWIN_PAGES; i++)
			TEST_ASSERT_EQ(host_read(g, i),
				       expected(NONE, expected(ANY_TO_PRIVATE, 'a')));
		pthread_barrier_wait(&twin.barrier);
	}

	return NULL;
}

TEST_F(twins, what_is_so_already_is_so_when_the_call_returns)
{
	pthread_t thread;

	twin.g = &self->g;
	TEST_ASSERT(!pthread_barrier_init(&twin.barrier, NULL, 2), "pthread_barrier_init() failed");
	kvm_pthread_create(&thread, NULL, convert_and_look, NULL);
	convert_and_look(&twin);
	kvm_pthread_join(thread, NULL);
}

TEST_HARNESS_MAIN
