// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_GET_MEMORY_ATTRIBUTES2: at every boundary, during conversions, for any process, and
 * without making a page fault wait.  What fdinfo shows is in gmem_fdinfo_test; what is
 * counted and traced is in gmem_count_test and gmem_trace_test.
 *
 * SEED= replays, OPS= is the number of calls of the getter.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/sizes.h>

#include "gmem_harness.h"
#include "gmem_util.h"
#include "gmem_wait.h"

GMEM_FIXTURE(show, GMEM_PAGES)

/* Pages [@page, @end) have @attributes. */
static void expect_range(int fd, u64 page, u64 end, u64 attributes)
{
	u64 size, seen;

	TEST_ASSERT_EQ(__gmem_get(fd, page * PAGE_SIZE, &size, &seen), 0);
	size /= PAGE_SIZE;
	TEST_ASSERT(seen == attributes && size == end - page,
		    "Page %lu should be %#lx up to %lu, is %#lx up to %lu", page, attributes,
		    end, seen, page + size);
}

TEST_F(show, capability_says_that_files_can_be_asked)
{
	struct kvm_vm *vm = vm_create_barebones();

	TEST_ASSERT_EQ(vm_check_cap(self->g.vm, KVM_CAP_GET_MEMORY_ATTRIBUTES2), 1);
	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_GET_MEMORY_ATTRIBUTES2), 1);
	TEST_ASSERT_EQ(vm_check_cap(vm, KVM_CAP_GET_MEMORY_ATTRIBUTES2), 0);
	kvm_vm_free(vm);
}

TEST_F(show, files_begin_as_they_were_made)
{
	int fd = vm_create_guest_memfd(self->g.vm, 3 * PAGE_SIZE, GUEST_MEMFD_FLAG_MMAP);

	expect_range(fd, 0, 3, PRIVATE);
	expect_range(fd, 2, 3, PRIVATE);
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-private"), 3 * PAGE_SIZE);
	expect_range(self->g.fd, 0, GMEM_PAGES, SHARED);
	TEST_ASSERT_EQ(fdinfo_number(self->g.fd, "gmem-private"), 0);
	close(fd);
}

TEST_F(show, every_range_from_every_page)
{
	int fd = gmem_file_create(&self->g, GMEM_PAGES);
	u64 first, end, page;

	for (first = 0; first < GMEM_PAGES; first++) {
		for (end = first + 1; end <= GMEM_PAGES; end++) {
			gmem_file_convert(fd, first, end - first, PRIVATE);
			for (page = GMEM_PAGES; page-- > 0; ) {
				if (page < first)
					expect_range(fd, page, first, SHARED);
				else if (page < end)
					expect_range(fd, page, end, PRIVATE);
				else
					expect_range(fd, page, GMEM_PAGES, SHARED);
			}
			TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-private"),
				       (end - first) * PAGE_SIZE);
			gmem_file_convert(fd, 0, GMEM_PAGES, SHARED);
		}
	}
	close(fd);
}

#define LARGE_PAGES	(SZ_1G / PAGE_SIZE * 2 + 3)

/* Words, leaves and nodes of the tracking, and the end of a file that fills none of them. */
TEST_F(show, boundaries_of_the_tracking)
{
	static const u64 at[] = { 63, 64, 1023, 1024, 1025, 65535, 65536, 2 * 65536 - 1,
				  LARGE_PAGES - 1 };
	int fd = gmem_file_create(&self->g, LARGE_PAGES);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		gmem_file_convert(fd, at[i], 1, PRIVATE);
		expect_range(fd, 0, at[i], SHARED);
		expect_range(fd, at[i], at[i] + 1, PRIVATE);
		if (at[i] + 1 < LARGE_PAGES)
			expect_range(fd, at[i] + 1, LARGE_PAGES, SHARED);

		gmem_file_convert(fd, at[i], LARGE_PAGES - at[i], PRIVATE);
		expect_range(fd, at[i] - 1, at[i], SHARED);
		expect_range(fd, at[i], LARGE_PAGES, PRIVATE);
		TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-private"),
			       (LARGE_PAGES - at[i]) * PAGE_SIZE);
		gmem_file_convert(fd, 0, LARGE_PAGES, SHARED);
	}
	expect_range(fd, 0, LARGE_PAGES, SHARED);
	close(fd);
}

TEST_F(show, wrong_fields_are_einval)
{
	static const u64 offsets[] = {
		1, PAGE_SIZE - 1, PAGE_SIZE + 8, GMEM_PAGES * PAGE_SIZE,
		(GMEM_PAGES + 1) * PAGE_SIZE, BIT_ULL(63), -PAGE_SIZE, -1ull,
	};
	struct kvm_memory_attributes2_range range;
	u64 size, attributes;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		TEST_ASSERT_EQ(__gmem_get(self->g.fd, offsets[i], &size, &attributes), -EINVAL);
		TEST_ASSERT_EQ(size, POISON);
		TEST_ASSERT_EQ(attributes, POISON);
	}

	for (i = 0; i < ARRAY_SIZE(range.reserved); i++) {
		range = (struct kvm_memory_attributes2_range){};
		range.reserved[i] = 1ull << (8 * i);
		TEST_ASSERT(ioctl(self->g.fd, KVM_GET_MEMORY_ATTRIBUTES2, &range) == -1 &&
			    errno == EINVAL, "Reserved word %zu should fail with EINVAL", i);
	}
}

TEST_F(show, bad_pointer_is_efault)
{
	void *ro = kvm_mmap(PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	struct gmem_vm *g = &self->g;

	TEST_ASSERT(ioctl(g->fd, KVM_GET_MEMORY_ATTRIBUTES2, NULL) == -1 && errno == EFAULT,
		    "NULL should fail with EFAULT");
	TEST_ASSERT(ioctl(g->fd, KVM_GET_MEMORY_ATTRIBUTES2, -1ul) == -1 && errno == EFAULT,
		    "-1 should fail with EFAULT");
	TEST_ASSERT(ioctl(g->fd, KVM_GET_MEMORY_ATTRIBUTES2, ro) == -1 && errno == EFAULT,
		    "Read-only memory should fail with EFAULT");
	kvm_munmap(ro, PAGE_SIZE);

	/* The struct may be in the file, where that is shared. */
	memset(g->mem + PAGE_SIZE, 0, PAGE_SIZE);
	TEST_ASSERT_EQ(ioctl(g->fd, KVM_GET_MEMORY_ATTRIBUTES2, g->mem + PAGE_SIZE), 0);
	gmem_convert(g, 1, 1, PRIVATE, ANY_TO_PRIVATE);
	TEST_ASSERT(ioctl(g->fd, KVM_GET_MEMORY_ATTRIBUTES2, g->mem + PAGE_SIZE) == -1 &&
		    errno == EFAULT, "A struct in private memory should fail with EFAULT");
}

TEST_F(show, other_files_have_no_such_ioctl)
{
	struct kvm_vm *vm = vm_create_barebones();
	int fd, r;

	/* arm64 returns EINVAL for an ioctl of the VM that it does not know. */
	r = __gmem_get(self->g.vm->fd, 0, NULL, NULL);
	TEST_ASSERT(r == -ENOTTY || r == -EINVAL, "A VM answers the getter: %d", r);

	fd = vm_create_guest_memfd(self->g.vm, PAGE_SIZE, 0);
	TEST_ASSERT_EQ(__gmem_get(fd, 0, NULL, NULL), -ENOTTY);
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-in-place"), 0);
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-private"), PAGE_SIZE);
	close(fd);

	fd = vm_create_guest_memfd(vm, PAGE_SIZE, GMEM_IN_PLACE);
	TEST_ASSERT_EQ(__gmem_get(fd, 0, NULL, NULL), -ENOTTY);
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-shared"), PAGE_SIZE);
	close(fd);
	kvm_vm_free(vm);
}

TEST_F(show, process_that_did_not_make_the_vm_can_ask)
{
	struct gmem_vm *g = &self->g;
	int status;
	pid_t pid;

	gmem_convert(g, 3, 4, PRIVATE, ANY_TO_PRIVATE);
	pid = fork();
	if (!pid) {
		expect_range(g->fd, 0, 3, SHARED);
		expect_range(g->fd, 3, 7, PRIVATE);
		expect_range(g->fd, 7, GMEM_PAGES, SHARED);
		TEST_ASSERT_EQ(__gmem_convert(g->fd, 0, PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE, NULL),
			       -EIO);
		TEST_ASSERT_EQ(fdinfo_number(g->fd, "gmem-private"), 4 * PAGE_SIZE);
		_exit(0);
	}
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT_EQ(status, 0);
}

/* During conversions */

#define FLIP_PAGES	70000
#define FLIP_FIRST	100
#define FLIP_END	66000

/* Two states, and one conversion between them: the middle has either the one or the other. */
static bool is_private_in(u64 page, bool flipped)
{
	return page < FLIP_FIRST || page >= FLIP_END ? page % 7 == 0 : flipped;
}

static bool is_true_in(u64 page, u64 end, u64 attributes, bool flipped)
{
	for (; page < end; page++) {
		if (is_private_in(page, flipped) != !!(attributes & PRIVATE))
			return false;
	}

	return true;
}

struct flipping {
	int fd;
	u64 first;
	u64 end;
	u64 nr_flips;
	bool stop;
};

static void *flip(void *data)
{
	struct flipping *f = data;

	while (!READ_ONCE(f->stop)) {
		gmem_file_convert(f->fd, f->first, f->end - f->first,
				  f->nr_flips % 2 ? SHARED : PRIVATE);
		WRITE_ONCE(f->nr_flips, f->nr_flips + 1);
	}

	return NULL;
}

TEST_F(show, each_answer_beside_conversions_was_true_at_one_instant)
{
	struct flipping f = {
		.fd = gmem_file_create(&self->g, FLIP_PAGES),
		.first = FLIP_FIRST,
		.end = FLIP_END,
	};
	u64 nr = env_number("OPS", 20000), nr_private = 0, done, page, size, attributes;
	u64 seed = env_number("SEED", time(NULL));
	pthread_t thread;

	printf("# measured: %lu questions, replay with SEED=%lu\n", nr, seed);
	srandom(seed);

	for (page = 0; page < FLIP_PAGES; page++) {
		if (is_private_in(page, false))
			gmem_file_convert(f.fd, page, 1, PRIVATE);
	}

	pthread_create(&thread, NULL, flip, &f);
	for (done = 0; done < nr; done++) {
		/* The middle, its borders, and the pages that never change. */
		page = done % 4 ? random() % FLIP_PAGES :
				  (done % 8 ? FLIP_FIRST : FLIP_END) - 2 + random() % 4;
		TEST_ASSERT_EQ(__gmem_get(f.fd, page * PAGE_SIZE, &size, &attributes), 0);
		size /= PAGE_SIZE;
		TEST_ASSERT(size && page + size <= FLIP_PAGES, "%lu pages from %lu on", size, page);
		TEST_ASSERT(is_true_in(page, page + size, attributes, false) ||
			    is_true_in(page, page + size, attributes, true),
			    "Pages [%lu, %lu) were never all %#lx", page, page + size, attributes);
		if (page >= FLIP_FIRST && page < FLIP_END)
			nr_private += !!attributes;
		show_progress("answers", done, nr);
	}
	WRITE_ONCE(f.stop, true);
	pthread_join(thread, NULL);

	printf("# measured: %lu answers beside %lu conversions, %lu of them private\n", nr,
	       f.nr_flips, nr_private);
	TEST_ASSERT(f.nr_flips > 1, "Nothing was converted meanwhile");
	TEST_ASSERT(nr_private, "No answer showed the middle as private");

	/* After the last conversion, check all of it again. */
	gmem_file_convert(f.fd, FLIP_FIRST, FLIP_END - FLIP_FIRST, PRIVATE);
	expect_range(f.fd, FLIP_FIRST + 1, FLIP_END, PRIVATE);
	close(f.fd);
}

struct asking {
	int fd;
	u64 nr_asked;
	bool stop;
};

static void *ask(void *data)
{
	struct asking *a = data;

	while (!READ_ONCE(a->stop)) {
		TEST_ASSERT_EQ(__gmem_get(a->fd, 0, NULL, NULL), 0);
		fdinfo_number(a->fd, "gmem-private");
		WRITE_ONCE(a->nr_asked, a->nr_asked + 1);
	}

	return NULL;
}

#define TOUCHED		512
#define ROUNDS		10
#define MAX_ROUNDS	1000
#define MAX_TRIES	100

/* First touches by this thread: how long they took, and how often it slept. */
struct touches {
	u64 ns;
	long nr_waits;
};

static struct touches touch_new_pages(struct gmem_vm *g)
{
	struct rusage before, after;
	struct timespec start;
	struct touches t;
	u64 i;

	punch_hole(g, 0, TOUCHED);
	getrusage(RUSAGE_THREAD, &before);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 0; i < TOUCHED; i++)
		WRITE_ONCE(g->mem[i * PAGE_SIZE], 1);
	t.ns = timespec_to_ns(timespec_elapsed(start));
	getrusage(RUSAGE_THREAD, &after);
	/*
	 * Being preempted does not count as waiting, so this does not depend on the
	 * machine's load.
	 */
	t.nr_waits = after.ru_nvcsw - before.ru_nvcsw;

	return t;
}

/* Touch while another thread is busy, for @nr rounds in each of which it got something done. */
static struct touches touch_beside(struct gmem_vm *g, u64 *nr_done, int nr)
{
	struct touches sum = { .ns = -1ull }, t;
	int round;
	u64 done;

	while (!READ_ONCE(*nr_done))
		usleep(1000);
	for (round = 0; nr; round++) {
		TEST_ASSERT(round < MAX_ROUNDS, "The other thread does nothing meanwhile");
		show_progress("rounds of touches", round, 0);
		done = READ_ONCE(*nr_done);
		t = touch_new_pages(g);
		/* If two have ended, one of them has also started during the round. */
		if (READ_ONCE(*nr_done) - done < 2)
			continue;
		/* The fastest, as the machine has other things to do. */
		sum.ns = min(sum.ns, t.ns);
		sum.nr_waits += t.nr_waits;
		nr--;
	}

	return sum;
}

TEST_F(show, asking_makes_no_fault_wait)
{
	struct gmem_vm f = {
		.fd = gmem_file_create(&self->g, LARGE_PAGES),
		.nr_pages = LARGE_PAGES,
	};
	struct flipping converting = { .fd = f.fd, .first = TOUCHED, .end = 2 * TOUCHED };
	struct asking asking = { .fd = f.fd };
	struct touches alone, asked, converted;
	pthread_t thread;
	int tries = 0;
	u64 page;

	f.mem = kvm_mmap(TOUCHED * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd);
	/* Something for the getter to look at. */
	for (page = 2 * TOUCHED; page < LARGE_PAGES; page += 65536)
		gmem_file_convert(f.fd, page, 1, PRIVATE);

	touch_new_pages(&f);
	alone = touch_new_pages(&f);
	pthread_create(&thread, NULL, ask, &asking);
	asked = touch_beside(&f, &asking.nr_asked, ROUNDS);
	WRITE_ONCE(asking.stop, true);
	pthread_join(thread, NULL);

	/* Conversions do make faults wait: this shows that waiting would be seen. */
	pthread_create(&thread, NULL, flip, &converting);
	do
		converted = touch_beside(&f, &converting.nr_flips, ROUNDS);
	while (!converted.nr_waits && ++tries < MAX_TRIES);
	WRITE_ONCE(converting.stop, true);
	pthread_join(thread, NULL);

	printf("# measured: %d first touches take %lu ns alone, %lu ns beside questions\n",
	       TOUCHED, alone.ns, asked.ns);
	printf("# measured: %d touches wait %ld times for %lu questions, %ld for conversions\n",
	       ROUNDS * TOUCHED, asked.nr_waits, asking.nr_asked, converted.nr_waits);
	TEST_ASSERT(converted.nr_waits, "No touch waited for a conversion");
	TEST_ASSERT(asked.nr_waits * 1000 < ROUNDS * TOUCHED, "%ld of %d touches have waited",
		    asked.nr_waits, ROUNDS * TOUCHED);
	kvm_munmap(f.mem, TOUCHED * PAGE_SIZE);
	close(f.fd);
}

TEST_HARNESS_MAIN
