// SPDX-License-Identifier: GPL-2.0
/*
 * What can be seen of in-place memory: KVM_GET_MEMORY_ATTRIBUTES2 at every boundary and
 * beside conversions, and the counts of fdinfo.  What is counted and traced of
 * conversions is in gmem_count_test.
 *
 * SEED= replays, OPS= is how many questions there are.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
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

FIXTURE(show) {
	struct gmem_vm g;
};

FIXTURE_SETUP(show)
{
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(show)
{
	gmem_vm_destroy(&self->g);
}

/* A file that the guest does not have, so that it is asked nothing. */
static int create_file(struct gmem_vm *g, u64 nr_pages)
{
	return vm_create_guest_memfd(g->vm, nr_pages * PAGE_SIZE, GMEM_IN_PLACE);
}

static void convert(int fd, u64 page, u64 nr, u64 attributes)
{
	u64 where;
	int r;

	r = __gmem_convert(fd, page * PAGE_SIZE, nr * PAGE_SIZE, attributes,
			   attributes & PRIVATE ? ANY_TO_PRIVATE : ZERO, &where);
	TEST_ASSERT(!r, "Conversion of pages [%lu, %lu) failed: %s at %#lx", page, page + nr,
		    strerror(-r), where);
}

/* From @page on pages have @attributes up to @end. */
static void expect_range(int fd, u64 page, u64 end, u64 attributes)
{
	u64 size, seen;

	TEST_ASSERT_EQ(__gmem_get(fd, page * PAGE_SIZE, &size, &seen), 0);
	size /= PAGE_SIZE;
	TEST_ASSERT(seen == attributes && size == end - page,
		    "Page %lu should be %#lx up to %lu, is %#lx up to %lu", page, attributes,
		    end, seen, page + size);
}

/* The getter */

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
	int fd = create_file(&self->g, GMEM_PAGES);
	u64 first, end, page;

	for (first = 0; first < GMEM_PAGES; first++) {
		for (end = first + 1; end <= GMEM_PAGES; end++) {
			convert(fd, first, end - first, PRIVATE);
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
			convert(fd, 0, GMEM_PAGES, SHARED);
		}
	}
	close(fd);
}

#define LARGE_PAGES	(SZ_1G / PAGE_SIZE * 2 + 3)

/* Words, leaves and nodes of the tracking, and the end of a file that fills none. */
TEST_F(show, boundaries_of_the_tracking)
{
	static const u64 at[] = { 63, 64, 1023, 1024, 1025, 65535, 65536, 2 * 65536 - 1,
				  LARGE_PAGES - 1 };
	int fd = create_file(&self->g, LARGE_PAGES);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		convert(fd, at[i], 1, PRIVATE);
		expect_range(fd, 0, at[i], SHARED);
		expect_range(fd, at[i], at[i] + 1, PRIVATE);
		if (at[i] + 1 < LARGE_PAGES)
			expect_range(fd, at[i] + 1, LARGE_PAGES, SHARED);

		convert(fd, at[i], LARGE_PAGES - at[i], PRIVATE);
		expect_range(fd, at[i] - 1, at[i], SHARED);
		expect_range(fd, at[i], LARGE_PAGES, PRIVATE);
		TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-private"),
			       (LARGE_PAGES - at[i]) * PAGE_SIZE);
		convert(fd, 0, LARGE_PAGES, SHARED);
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
			    errno == EINVAL, "Reserved word %zu should be EINVAL", i);
	}
}

TEST_F(show, bad_pointer_is_efault)
{
	void *ro = kvm_mmap(PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	struct gmem_vm *g = &self->g;

	TEST_ASSERT(ioctl(g->fd, KVM_GET_MEMORY_ATTRIBUTES2, NULL) == -1 && errno == EFAULT,
		    "NULL should be EFAULT");
	TEST_ASSERT(ioctl(g->fd, KVM_GET_MEMORY_ATTRIBUTES2, -1ul) == -1 && errno == EFAULT,
		    "-1 should be EFAULT");
	TEST_ASSERT(ioctl(g->fd, KVM_GET_MEMORY_ATTRIBUTES2, ro) == -1 && errno == EFAULT,
		    "What cannot be written should be EFAULT");
	kvm_munmap(ro, PAGE_SIZE);

	/* The struct may lie in the file, where it is shared. */
	memset(g->mem + PAGE_SIZE, 0, PAGE_SIZE);
	TEST_ASSERT_EQ(ioctl(g->fd, KVM_GET_MEMORY_ATTRIBUTES2, g->mem + PAGE_SIZE), 0);
	gmem_convert(g, 1, 1, PRIVATE, ANY_TO_PRIVATE);
	TEST_ASSERT(ioctl(g->fd, KVM_GET_MEMORY_ATTRIBUTES2, g->mem + PAGE_SIZE) == -1 &&
		    errno == EFAULT, "A struct in private memory should be EFAULT");
}

TEST_F(show, other_files_have_no_such_ioctl)
{
	struct kvm_vm *vm = vm_create_barebones();
	int fd, r;

	/* What arm64 says to an ioctl of the VM that it does not know is EINVAL. */
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

/* Beside conversions */

#define FLIP_PAGES	70000
#define FLIP_FIRST	100
#define FLIP_END	66000

/* Two pictures, and one conversion between them: the middle is one state or the other. */
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
		convert(f->fd, f->first, f->end - f->first,
			f->nr_flips % 2 ? SHARED : PRIVATE);
		WRITE_ONCE(f->nr_flips, f->nr_flips + 1);
	}

	return NULL;
}

TEST_F(show, each_answer_beside_conversions_was_true_at_one_instant)
{
	struct flipping f = {
		.fd = create_file(&self->g, FLIP_PAGES),
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
			convert(f.fd, page, 1, PRIVATE);
	}

	pthread_create(&thread, NULL, flip, &f);
	for (done = 0; done < nr; done++) {
		/* The middle, its borders, and what never changes. */
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
	TEST_ASSERT(nr_private, "No answer has seen the middle private");

	/* Once it is quiet, the whole of it again. */
	convert(f.fd, FLIP_FIRST, FLIP_END - FLIP_FIRST, PRIVATE);
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

/* First touches by this thread: how long they took, and how often it slept for others. */
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
	/* To be preempted is not to wait, so this does not depend on the machine's load. */
	t.nr_waits = after.ru_nvcsw - before.ru_nvcsw;

	return t;
}

/* Touch while another thread is busy, in @nr rounds during which it has done something. */
static struct touches touch_beside(struct gmem_vm *g, u64 *nr_done, int nr)
{
	struct touches sum = { .ns = -1ull }, t;
	int round;
	u64 done;

	while (!READ_ONCE(*nr_done))
		usleep(1000);
	for (round = 0; nr; round++) {
		TEST_ASSERT(round < MAX_ROUNDS, "Nothing is done while pages are touched");
		show_progress("rounds of touches", round, 0);
		done = READ_ONCE(*nr_done);
		t = touch_new_pages(g);
		/* Of two that have ended, one has begun as well. */
		if (READ_ONCE(*nr_done) - done < 2)
			continue;
		/* The quickest, as the machine has other things to do. */
		sum.ns = min(sum.ns, t.ns);
		sum.nr_waits += t.nr_waits;
		nr--;
	}

	return sum;
}

TEST_F(show, asking_makes_no_fault_wait)
{
	struct gmem_vm f = { .fd = create_file(&self->g, LARGE_PAGES), .nr_pages = LARGE_PAGES };
	struct flipping converting = { .fd = f.fd, .first = TOUCHED, .end = 2 * TOUCHED };
	struct asking asking = { .fd = f.fd };
	struct touches alone, asked, converted;
	pthread_t thread;
	int tries = 0;
	u64 page;

	f.mem = kvm_mmap(TOUCHED * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd);
	/* A look at something. */
	for (page = 2 * TOUCHED; page < LARGE_PAGES; page += 65536)
		convert(f.fd, page, 1, PRIVATE);

	touch_new_pages(&f);
	alone = touch_new_pages(&f);
	pthread_create(&thread, NULL, ask, &asking);
	asked = touch_beside(&f, &asking.nr_asked, ROUNDS);
	WRITE_ONCE(asking.stop, true);
	pthread_join(thread, NULL);

	/* Whoever converts does make faults wait: so it is seen when they do. */
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
	TEST_ASSERT(converted.nr_waits, "No touch is seen to wait for conversions");
	TEST_ASSERT(asked.nr_waits * 1000 < ROUNDS * TOUCHED, "%ld of %d touches have waited",
		    asked.nr_waits, ROUNDS * TOUCHED);
	kvm_munmap(f.mem, TOUCHED * PAGE_SIZE);
	close(f.fd);
}

/* fdinfo */

static void expect_sizes(int fd, u64 private, u64 shared, u64 allocated)
{
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-size"), (private + shared) * PAGE_SIZE);
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-private"), private * PAGE_SIZE);
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-shared"), shared * PAGE_SIZE);
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-allocated"), allocated * PAGE_SIZE);
}

TEST_F(show, fdinfo_has_what_was_done)
{
	struct gmem_vm *g = &self->g;
	int pipefd[2];

	TEST_ASSERT_EQ(fdinfo_number(g->fd, "gmem-in-place"), 1);
	TEST_ASSERT_EQ(fdinfo_number(g->fd, "gmem-vm"), getpid());
	expect_sizes(g->fd, 0, 16, 0);
	host_write(g, 2, 'a');
	host_write(g, 9, 'b');
	expect_sizes(g->fd, 0, 16, 2);
	gmem_convert(g, 1, 5, PRIVATE, ANY_TO_PRIVATE);
	expect_sizes(g->fd, 5, 11, 2);
	gmem_convert(g, 4, 4, PRIVATE, ANY_TO_PRIVATE);
	expect_sizes(g->fd, 7, 9, 2);

	/* What is refused changes nothing. */
	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 9 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(__gmem_convert(g->fd, 0, 16 * PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE, NULL),
		       -EAGAIN);
	unpin_pipe(pipefd);
	expect_sizes(g->fd, 7, 9, 2);

	punch_hole(g, 9, 1);
	expect_sizes(g->fd, 7, 9, 1);
	gmem_convert(g, 0, 16, SHARED, ZERO);
	expect_sizes(g->fd, 0, 16, 1);
}

TEST_F(show, tracking_is_given_back)
{
	int fd = create_file(&self->g, LARGE_PAGES);
	long mixed;
	u64 i;

	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-tracking"), 0);
	for (i = 0; i < 64; i++)
		convert(fd, 4096 * i + 1, 1, PRIVATE);
	mixed = fdinfo_number(fd, "gmem-tracking");
	TEST_ASSERT(mixed >= 64 * 128 && mixed < 64 * 1024, "The tracking takes %ld bytes", mixed);

	/* One leaf may stay, with its path. */
	for (i = 0; i < 64; i++)
		convert(fd, 4096 * i + 1, 1, SHARED);
	TEST_ASSERT(fdinfo_number(fd, "gmem-tracking") <= 128 + 2 * 512,
		    "The tracking takes %ld bytes", fdinfo_number(fd, "gmem-tracking"));

	convert(fd, 0, LARGE_PAGES, PRIVATE);
	TEST_ASSERT_EQ(fdinfo_number(fd, "gmem-tracking"), 0);
	close(fd);
}

/* How many lines the fdinfo has of memslots, and how many of them are as expected. */
static int nr_slots(int fd, u32 slot, u64 gpa, u64 size, u64 offset, int *nr_right)
{
	char path[64], line[256], expected[256];
	int nr = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	snprintf(expected, sizeof(expected),
		 "gmem-slot:\t%u gpa 0x%lx size 0x%lx offset 0x%lx\n", slot, gpa, size, offset);
	file = fopen(path, "r");
	TEST_ASSERT(file, "fopen(%s) failed", path);
	for (*nr_right = 0; fgets(line, sizeof(line), file); ) {
		nr += !strncmp(line, "gmem-slot:", 10);
		*nr_right += !strcmp(line, expected);
	}
	fclose(file);

	return nr;
}

/* A size that is no power of two, which KVM keeps as several entries. */
#define ODD_PAGES	13

TEST_F(show, each_memslot_is_shown_once)
{
	u64 gpa = GMEM_GPA + 2 * GMEM_PAGES * PAGE_SIZE, size = ODD_PAGES * PAGE_SIZE;
	int fd = create_file(&self->g, 2 * ODD_PAGES), nr_right;
	u8 *mem = kvm_mmap(2 * size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);

	TEST_ASSERT_EQ(nr_slots(self->g.fd, GMEM_SLOT, GMEM_GPA, GMEM_PAGES * PAGE_SIZE, 0,
				&nr_right), 1);
	TEST_ASSERT_EQ(nr_right, 1);
	TEST_ASSERT_EQ(nr_slots(fd, 0, 0, 0, 0, &nr_right), 0);

	vm_set_user_memory_region2(self->g.vm, GMEM_SLOT + 1, KVM_MEM_GUEST_MEMFD, gpa, size,
				   mem + size, fd, size);
	TEST_ASSERT_EQ(nr_slots(fd, GMEM_SLOT + 1, gpa, size, size, &nr_right), 1);
	TEST_ASSERT_EQ(nr_right, 1);
	vm_set_user_memory_region2(self->g.vm, GMEM_SLOT + 2, KVM_MEM_GUEST_MEMFD, gpa + size,
				   size, mem, fd, 0);
	TEST_ASSERT_EQ(nr_slots(fd, GMEM_SLOT + 2, gpa + size, size, 0, &nr_right), 2);
	TEST_ASSERT_EQ(nr_right, 1);

	if (SLOTS_CAN_GO) {
		vm_set_user_memory_region2(self->g.vm, GMEM_SLOT + 1, 0, gpa, 0, NULL, 0, 0);
		TEST_ASSERT_EQ(nr_slots(fd, GMEM_SLOT + 2, gpa + size, size, 0, &nr_right), 1);
		TEST_ASSERT_EQ(nr_right, 1);
	}
	kvm_munmap(mem, 2 * size);
	close(fd);
}

/* While all of it comes and goes */

/* A number that nothing else gets, so what is found there is such a file, or nothing. */
#define LOOKED_FD	500
#define LOOKED_SLOTS	4
#define LOOKED_SIZE	(4 * PAGE_SIZE)
#define NR_VMS		24
#define NR_STEPS	6

static u64 looked_gpa(int i)
{
	return GMEM_GPA + i * LOOKED_SIZE;
}

/* The guest has the file from its end on. */
static u64 looked_offset(int i)
{
	return (LOOKED_SLOTS - 1 - i) * LOOKED_SIZE;
}

FIXTURE(looking) {
};

FIXTURE_SETUP(looking)
{
	struct gmem_vm g;

	/* Skips where there is nothing to look at. */
	gmem_vm_create(&g, 1, GMEM_IN_PLACE);
	gmem_vm_destroy(&g);
}

FIXTURE_TEARDOWN(looking)
{
}

struct looking {
	/* Answers, and questions for a file that was closed. */
	u64 nr_seen;
	u64 nr_gone;
	bool stop;
};

/* Each memslot is shown as it was made, at most once, in the order of guest addresses. */
static void look_at_fdinfo(void)
{
	unsigned long gpa, size, offset;
	int slot, last = -1, nr_read, i;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", LOOKED_FD);
	file = fopen(path, "r");
	TEST_ASSERT(file || errno == ENOENT, "fopen(%s): %s", path, strerror(errno));
	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "gmem-slot:", 10))
			continue;

		nr_read = sscanf(line, "gmem-slot: %d gpa %lx size %lx offset %lx", &slot, &gpa,
				 &size, &offset);
		i = slot - GMEM_SLOT;
		TEST_ASSERT(nr_read == 4 && i > last && i < LOOKED_SLOTS &&
			    gpa == looked_gpa(i) && size == LOOKED_SIZE &&
			    offset == looked_offset(i),
			    "After memslot %d: %s", last + GMEM_SLOT, line);
		last = i;
	}
	if (file)
		fclose(file);
}

static void *look(void *data)
{
	struct looking *l = data;
	u64 page, size, attributes, nr_pages = LOOKED_SLOTS * LOOKED_SIZE / PAGE_SIZE;
	int r;

	for (page = 0; !READ_ONCE(l->stop); page = (page + 1) % nr_pages) {
		look_at_fdinfo();
		r = __gmem_get(LOOKED_FD, page * PAGE_SIZE, &size, &attributes);
		TEST_ASSERT(!r || r == -EBADF, "The getter said %s", strerror(-r));
		if (r) {
			WRITE_ONCE(l->nr_gone, l->nr_gone + 1);
			continue;
		}
		TEST_ASSERT(size && page + size / PAGE_SIZE <= nr_pages &&
			    !(attributes & ~PRIVATE), "%lu bytes from page %lu on are %#lx", size,
			    page, attributes);
		WRITE_ONCE(l->nr_seen, l->nr_seen + 1);
	}

	return NULL;
}

/* So that one look has begun and ended since. */
static void wait_for_looks(struct looking *l)
{
	u64 before = READ_ONCE(l->nr_seen);

	while (READ_ONCE(l->nr_seen) - before < 2)
		sched_yield();
}

static void churn(struct gmem_vm *g, u8 *mem, struct looking *l)
{
	int step, i;

	for (step = 0; step < NR_STEPS; step++) {
		for (i = 0; i < LOOKED_SLOTS && (!step || SLOTS_CAN_GO); i++)
			vm_set_user_memory_region2(g->vm, GMEM_SLOT + i, KVM_MEM_GUEST_MEMFD,
						   looked_gpa(i), LOOKED_SIZE,
						   mem + looked_offset(i), LOOKED_FD,
						   looked_offset(i));
		convert(LOOKED_FD, step, LOOKED_SLOTS, step % 2 ? SHARED : PRIVATE);
		wait_for_looks(l);
		for (i = 0; i < LOOKED_SLOTS && step + 1 < NR_STEPS && SLOTS_CAN_GO; i++)
			vm_set_user_memory_region2(g->vm, GMEM_SLOT + i, 0, looked_gpa(i), 0,
						   NULL, 0, 0);
	}
}

/* Whoever looks has the file for a moment, and so may be the last who has it and the VM. */
TEST_F(looking, while_memslots_files_and_vms_go)
{
	struct looking l = {};
	struct kvm_vcpu *vcpu;
	struct gmem_vm g;
	pthread_t thread;
	int i, fd;
	u8 *mem;

	pthread_create(&thread, NULL, look, &l);
	for (i = 0; i < NR_VMS; i++) {
		show_progress("VMs", i, NR_VMS);
		g = (struct gmem_vm){};
		guest_create(&g, 1, &vcpu);
		fd = create_file(&g, LOOKED_SLOTS * LOOKED_SIZE / PAGE_SIZE);
		TEST_ASSERT_EQ(dup2(fd, LOOKED_FD), LOOKED_FD);
		close(fd);
		mem = kvm_mmap(LOOKED_SLOTS * LOOKED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			       LOOKED_FD);
		churn(&g, mem, &l);
		kvm_munmap(mem, LOOKED_SLOTS * LOOKED_SIZE);

		/* The file first; or the VM, which the file keeps, without its process. */
		if (i % 2)
			close(LOOKED_FD);
		guest_destroy(&g);
		if (i % 2 == 0) {
			wait_for_looks(&l);
			close(LOOKED_FD);
		}
	}
	WRITE_ONCE(l.stop, true);
	pthread_join(thread, NULL);

	printf("# measured: %lu looks at files of %d VMs, %lu at what was closed\n", l.nr_seen,
	       NR_VMS, l.nr_gone);
}

TEST_HARNESS_MAIN
