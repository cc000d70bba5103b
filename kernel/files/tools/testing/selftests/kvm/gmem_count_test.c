// SPDX-License-Identifier: GPL-2.0
/*
 * What KVM counts and traces of conversions in place: the statistics of the VM, exactly,
 * and one event for each call.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/sizes.h>

#include "gmem_harness.h"
#include "gmem_util.h"

/* Statistics */

FIXTURE(count) {
	struct gmem_vm g;
	/* What the VM should have counted by now. */
	u64 counts[NR_COUNTS];
};

FIXTURE_SETUP(count)
{
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
	memset(self->counts, 0, sizeof(self->counts));
}

FIXTURE_TEARDOWN(count)
{
	gmem_vm_destroy(&self->g);
}

/* Pages are filled by whoever touches them, so that is compared where it is meant. */
static void expect_counts(struct gmem_vm *g, const u64 *counts)
{
	int i;

	for (i = 0; i < PAGES_FILLED; i++)
		TEST_ASSERT(gmem_count(g, i) == counts[i], "%s is %lu, should be %lu",
			    gmem_count_names[i], gmem_count(g, i), counts[i]);
}

static int try(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy)
{
	return __gmem_convert(g->fd, page * PAGE_SIZE, nr * PAGE_SIZE, attributes, policy, NULL);
}

TEST_F(count, each_direction_with_the_pages_that_change)
{
	struct gmem_vm *g = &self->g;
	u64 *counts = self->counts;

	expect_counts(g, counts);
	gmem_convert(g, 3, 5, PRIVATE, ANY_TO_PRIVATE);
	counts[CONVERSIONS_TO_PRIVATE] += 1;
	counts[PAGES_TO_PRIVATE] += 5;
	expect_counts(g, counts);

	/* Three of eight are private already. */
	gmem_convert(g, 5, 8, PRIVATE, ANY_TO_PRIVATE);
	counts[CONVERSIONS_TO_PRIVATE] += 1;
	counts[PAGES_TO_PRIVATE] += 5;
	expect_counts(g, counts);

	gmem_convert(g, 0, GMEM_PAGES, SHARED, ZERO);
	counts[CONVERSIONS_TO_SHARED] += 1;
	counts[PAGES_TO_SHARED] += 10;
	expect_counts(g, counts);
}

TEST_F(count, nothing_for_a_call_that_changes_nothing)
{
	struct gmem_vm *g = &self->g;
	u64 *counts = self->counts;

	gmem_convert(g, 3, 5, PRIVATE, ANY_TO_PRIVATE);
	counts[CONVERSIONS_TO_PRIVATE] += 1;
	counts[PAGES_TO_PRIVATE] += 5;

	gmem_convert(g, 3, 5, PRIVATE, ANY_TO_PRIVATE);
	gmem_convert(g, 4, 1, PRIVATE, ANY_TO_PRIVATE);
	gmem_convert(g, 9, 4, SHARED, ZERO);
	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, GMEM_GPA + 3 * PAGE_SIZE, 5 * PAGE_SIZE,
				      PRIVATE, ANY_TO_PRIVATE, NULL), 0);
	expect_counts(g, counts);

	/* Nor for one that is wrong. */
	TEST_ASSERT_EQ(try(g, 0, 0, PRIVATE, ANY_TO_PRIVATE), -EINVAL);
	TEST_ASSERT_EQ(try(g, 0, GMEM_PAGES + 1, PRIVATE, ANY_TO_PRIVATE), -EINVAL);
	TEST_ASSERT_EQ(try(g, 0, 1, PRIVATE, 3), -EINVAL);
	expect_counts(g, counts);
}

TEST_F(count, calls_on_the_vm)
{
	struct gmem_vm *g = &self->g;
	u64 *counts = self->counts;

	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, GMEM_GPA + PAGE_SIZE, 4 * PAGE_SIZE, PRIVATE,
				      ANY_TO_PRIVATE, NULL), 0);
	counts[CONVERSIONS_TO_PRIVATE] += 1;
	counts[PAGES_TO_PRIVATE] += 4;
	expect_counts(g, counts);

	/* What the VM's own attributes have is not in place. */
	if (HAS_TWO_BACKINGS) {
		TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, 2 * GMEM_GPA, 4 * PAGE_SIZE, PRIVATE,
					      NONE, NULL), 0);
		expect_counts(g, counts);
	}
}

/* Pages of another file, whose second half the guest has in front of its first. */
#define OTHER_PAGES	16
#define OTHER_HALF	(OTHER_PAGES / 2)

static void bind_other_file(struct gmem_vm *g, struct gmem_vm *other)
{
	u64 gpa = GMEM_GPA + GMEM_PAGES * PAGE_SIZE, half = OTHER_HALF * PAGE_SIZE;

	*other = (struct gmem_vm){ .vm = g->vm, .nr_pages = OTHER_PAGES };
	other->fd = vm_create_guest_memfd(g->vm, 2 * half, GMEM_IN_PLACE);
	other->mem = kvm_mmap(2 * half, PROT_READ | PROT_WRITE, MAP_SHARED, other->fd);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT + 1, KVM_MEM_GUEST_MEMFD, gpa, half,
				   other->mem + half, other->fd, half);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT + 2, KVM_MEM_GUEST_MEMFD, gpa + half, half,
				   other->mem, other->fd, 0);
}

static int try_vm(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy)
{
	return __gmem_convert(g->vm->fd, GMEM_GPA + page * PAGE_SIZE, nr * PAGE_SIZE,
			      attributes, policy, NULL);
}

/* One conversion, however many memslots and files it is of; each page once. */
TEST_F(count, calls_on_the_vm_over_two_files_and_three_memslots)
{
	struct gmem_vm *g = &self->g, other;
	u64 *counts = self->counts;
	int pipefd[2];

	bind_other_file(g, &other);
	TEST_ASSERT_EQ(try(&other, 6, 4, PRIVATE, ANY_TO_PRIVATE), 0);
	counts[CONVERSIONS_TO_PRIVATE] += 1;
	counts[PAGES_TO_PRIVATE] += 4;
	expect_counts(g, counts);

	/* 3 pages of the first file, and of the other 8 and 7, of which 2 and 1 are. */
	TEST_ASSERT_EQ(try_vm(g, 13, 3 + 8 + 7, PRIVATE, ANY_TO_PRIVATE), 0);
	counts[CONVERSIONS_TO_PRIVATE] += 1;
	counts[PAGES_TO_PRIVATE] += 3 + 6 + 6;
	expect_counts(g, counts);
	TEST_ASSERT_EQ(try_vm(g, 13, 3 + 8 + 7, PRIVATE, ANY_TO_PRIVATE), 0);
	expect_counts(g, counts);

	TEST_ASSERT_EQ(try_vm(g, 0, GMEM_PAGES + OTHER_PAGES, SHARED, ZERO), 0);
	counts[CONVERSIONS_TO_SHARED] += 1;
	counts[PAGES_TO_SHARED] += 3 + 8 + 8;
	expect_counts(g, counts);

	/* A page of the last memslot refuses: no part has been converted or counted. */
	TEST_ASSERT_EQ(pin_in_pipe(other.mem + 2 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(try_vm(g, 0, GMEM_PAGES + OTHER_PAGES, PRIVATE, ANY_TO_PRIVATE), -EAGAIN);
	counts[REFUSED_HELD] += 1;
	expect_counts(g, counts);
	unpin_pipe(pipefd);

	kvm_munmap(other.mem, OTHER_PAGES * PAGE_SIZE);
	close(other.fd);
}

TEST_F(count, pages_that_are_held)
{
	struct gmem_vm *g = &self->g;
	int pipefd[2];

	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 4 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(try(g, 0, 8, PRIVATE, ANY_TO_PRIVATE), -EAGAIN);
	self->counts[REFUSED_HELD]++;
	expect_counts(g, self->counts);
	unpin_pipe(pipefd);
}

static sigjmp_buf poison_jmpbuf;

static void poison_handler(int sig)
{
	siglongjmp(poison_jmpbuf, 1);
}

TEST_F(count, pages_with_a_memory_error)
{
	struct sigaction old, new = { .sa_handler = poison_handler };
	struct gmem_vm *g = &self->g;
	volatile int r = 0;

	host_write(g, 5, 'a');
	sigaction(SIGBUS, &new, &old);
	if (!sigsetjmp(poison_jmpbuf, 1))
		r = madvise(g->mem + 5 * PAGE_SIZE, PAGE_SIZE, MADV_HWPOISON);
	sigaction(SIGBUS, &old, NULL);
	if (r)
		SKIP(return, "MADV_HWPOISON needs CONFIG_MEMORY_FAILURE");

	TEST_ASSERT_EQ(try(g, 0, 8, PRIVATE, ANY_TO_PRIVATE), -EHWPOISON);
	self->counts[REFUSED_POISON]++;
	expect_counts(g, self->counts);
}

#define IGNORE_WAIT	"/sys/kernel/debug/failslab/ignore-gfp-wait"

TEST_F(count, calls_without_memory)
{
	int fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	int knob = open(IGNORE_WAIT, O_RDONLY);
	struct gmem_vm *g = &self->g;
	char before[2] = {};
	int r, armed = 0;

	if (fail_nth < 0 || knob < 0 || read(knob, before, 1) != 1) {
		close(fail_nth);
		close(knob);
		SKIP(return, "needs root, debugfs and CONFIG_FAILSLAB");
	}

	/* Whatever comes of it, others find the machine as it was. */
	r = write_file(IGNORE_WAIT, "N");
	if (!r)
		armed = pwrite(fail_nth, "1", 1, 0);
	if (armed == 1)
		r = try(g, 3, 1, PRIVATE, ANY_TO_PRIVATE);
	pwrite(fail_nth, "0", 1, 0);
	write_file(IGNORE_WAIT, before);
	close(fail_nth);
	close(knob);
	TEST_ASSERT(r == -ENOMEM, "The call should lack memory: %s", strerror(-r));
	self->counts[REFUSED_MEMORY]++;
	expect_counts(g, self->counts);
}

/* Outside of files only NONE is there, whatever the architecture. */
TEST_F(count, policies_that_are_not_there)
{
	struct gmem_vm *g = &self->g;

	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, 2 * GMEM_GPA, PAGE_SIZE, SHARED, ZERO, NULL),
		       -EOPNOTSUPP);
	self->counts[REFUSED_POLICY]++;
	expect_counts(g, self->counts);

	if (!policy_works(PRIVATE, ZERO)) {
		TEST_ASSERT_EQ(try(g, 0, 1, PRIVATE, ZERO), -EOPNOTSUPP);
		self->counts[REFUSED_POLICY]++;
		expect_counts(g, self->counts);
	}
}

TEST_F(count, pages_that_the_guest_keeps)
{
	struct gmem_vm *g = &self->g;

	ONLY_IF(GUEST_DECIDES);
	TEST_ASSERT_EQ(try(g, 2, 1, PRIVATE, ANY_TO_PRIVATE), 0);
	self->counts[CONVERSIONS_TO_PRIVATE]++;
	self->counts[PAGES_TO_PRIVATE]++;
	guest_write(g, 2, 'a');
	TEST_ASSERT_EQ(try(g, 2, 1, SHARED, ZERO), -EPERM);
	self->counts[REFUSED_CONSENT]++;
	expect_counts(g, self->counts);
}

TEST_F(count, pages_that_are_filled)
{
	struct gmem_vm *g = &self->g;
	u64 before = gmem_count(g, PAGES_FILLED);

	host_write(g, 2, 'a');
	TEST_ASSERT_EQ(gmem_count(g, PAGES_FILLED), before + 1);
	host_write(g, 2, 'b');
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 4 * PAGE_SIZE, 2 * PAGE_SIZE);
	TEST_ASSERT_EQ(gmem_count(g, PAGES_FILLED), before + 1);

	/* PRESERVE leaves nothing to fill; ZERO does, where no mapping has stayed. */
	gmem_convert(g, 2, 1, PRIVATE, PRESERVE);
	gmem_convert(g, 2, 1, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, 2), 'b');
	TEST_ASSERT_EQ(gmem_count(g, PAGES_FILLED), before + 1);
	if (!GUEST_DECIDES) {
		gmem_convert(g, 2, 1, PRIVATE, ZERO);
		TEST_ASSERT_EQ(gmem_count(g, PAGES_FILLED), before + 1);
		TEST_ASSERT_EQ(guest_read(g, 2), 0);
		TEST_ASSERT_EQ(gmem_count(g, PAGES_FILLED), before + 2);
	}
}

/* Several files of one VM at once: no conversion is lost. */
#define NR_THREADS	4
#define NR_ROUNDS	2000

static void *convert_to_and_fro(void *data)
{
	struct gmem_vm f = { .fd = *(int *)data };
	int i;

	for (i = 0; i < NR_ROUNDS; i++) {
		TEST_ASSERT_EQ(try(&f, 0, 3, PRIVATE, ANY_TO_PRIVATE), 0);
		TEST_ASSERT_EQ(try(&f, 0, 3, SHARED, ZERO), 0);
	}

	return NULL;
}

TEST_F(count, calls_side_by_side)
{
	pthread_t threads[NR_THREADS];
	int fds[NR_THREADS], i;

	for (i = 0; i < NR_THREADS; i++) {
		fds[i] = vm_create_guest_memfd(self->g.vm, 4 * PAGE_SIZE, GMEM_IN_PLACE);
		pthread_create(&threads[i], NULL, convert_to_and_fro, &fds[i]);
	}
	for (i = 0; i < NR_THREADS; i++) {
		pthread_join(threads[i], NULL);
		close(fds[i]);
	}
	self->counts[CONVERSIONS_TO_PRIVATE] = NR_THREADS * NR_ROUNDS;
	self->counts[CONVERSIONS_TO_SHARED] = NR_THREADS * NR_ROUNDS;
	self->counts[PAGES_TO_PRIVATE] = 3 * NR_THREADS * NR_ROUNDS;
	self->counts[PAGES_TO_SHARED] = 3 * NR_THREADS * NR_ROUNDS;
	expect_counts(&self->g, self->counts);
}

/* The tracepoint */

#define TRACEFS		"/sys/kernel/tracing"
#define INSTANCE	TRACEFS "/instances/gmem_count_test"
#define ENABLE		INSTANCE "/events/kvm_gmem/kvm_gmem_convert/enable"

FIXTURE(trace) {
	struct gmem_vm g;
};

FIXTURE_SETUP(trace)
{
	if (access(TRACEFS "/events/kvm_gmem/kvm_gmem_convert/format", R_OK))
		SKIP(exit(KSFT_SKIP), "needs root, tracefs and CONFIG_EVENT_TRACING");
	rmdir(INSTANCE);
	TEST_ASSERT(!mkdir(INSTANCE, 0700), "mkdir(" INSTANCE ") failed");
	TEST_ASSERT_EQ(write_file(ENABLE, "1"), 0);
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(trace)
{
	gmem_vm_destroy(&self->g);
	write_file(ENABLE, "0");
	rmdir(INSTANCE);
}

#define EVENT_FORMAT	"kvm_gmem_convert: vm=%d ino=%lu start=%lx size=%lx attributes=%lx policy=%lu changed=%lx result=%d error_offset=%lx error_ino=%lu refs=%u maps=%u pins=%u took_ns=%lu locked_ns=%lu"

struct event {
	int vm;
	int result;
	unsigned long ino, start, size, attributes, policy, changed, error_offset;
	unsigned long error_ino;
	unsigned int refs, maps, pins;
	unsigned long took_ns, locked_ns;
};

/* How many events of this VM there are since the last look, the last of them in @last. */
static int take_events(struct event *last)
{
	FILE *file = fopen(INSTANCE "/trace", "r");
	struct event event;
	char line[512], *at;
	int nr = 0, nr_read, fd;

	TEST_ASSERT(file, "fopen(" INSTANCE "/trace) failed");
	while (fgets(line, sizeof(line), file)) {
		at = strstr(line, "kvm_gmem_convert: ");
		if (!at)
			continue;

		nr_read = sscanf(at, EVENT_FORMAT, &event.vm, &event.ino, &event.start,
				 &event.size, &event.attributes, &event.policy,
				 &event.changed, &event.result, &event.error_offset,
				 &event.error_ino, &event.refs, &event.maps, &event.pins,
				 &event.took_ns, &event.locked_ns);
		TEST_ASSERT(nr_read == 15, "%d fields of: %s", nr_read, line);
		/* Others may convert meanwhile. */
		if (event.vm != getpid())
			continue;

		nr++;
		*last = event;
	}
	fclose(file);
	/* To open it so is what empties it. */
	fd = open(INSTANCE "/trace", O_WRONLY | O_TRUNC);
	TEST_ASSERT(fd >= 0, "open(" INSTANCE "/trace) failed");
	close(fd);

	return nr;
}

static u64 inode_of(struct gmem_vm *g)
{
	struct stat st;

	TEST_ASSERT_EQ(fstat(g->fd, &st), 0);
	return st.st_ino;
}

/* One event of the file, for a call with these fields. */
static struct event expect_event(struct gmem_vm *g, u64 page, u64 nr, u64 attributes,
				 u64 policy, u64 nr_changed, int result)
{
	struct event event;

	TEST_ASSERT_EQ(take_events(&event), 1);
	TEST_ASSERT_EQ(event.ino, inode_of(g));
	TEST_ASSERT_EQ(event.start, page * PAGE_SIZE);
	TEST_ASSERT_EQ(event.size, nr * PAGE_SIZE);
	TEST_ASSERT_EQ(event.attributes, attributes);
	TEST_ASSERT_EQ(event.policy, policy);
	TEST_ASSERT_EQ(event.changed, nr_changed * PAGE_SIZE);
	TEST_ASSERT_EQ(event.result, result);
	TEST_ASSERT_EQ(event.error_ino, result ? inode_of(g) : 0);
	TEST_ASSERT(event.took_ns && event.locked_ns <= event.took_ns,
		    "The call took %lu ns, %lu of them with the lock", event.took_ns,
		    event.locked_ns);

	return event;
}

TEST_F(trace, one_event_for_each_call)
{
	struct gmem_vm *g = &self->g;
	struct event event;

	TEST_ASSERT_EQ(try(g, 3, 5, PRIVATE, ANY_TO_PRIVATE), 0);
	event = expect_event(g, 3, 5, PRIVATE, ANY_TO_PRIVATE, 5, 0);
	TEST_ASSERT(event.locked_ns, "No lock was taken");
	TEST_ASSERT_EQ(event.error_offset, 0);
	TEST_ASSERT_EQ(event.refs, 0);

	TEST_ASSERT_EQ(try(g, 5, 8, PRIVATE, ANY_TO_PRIVATE), 0);
	expect_event(g, 5, 8, PRIVATE, ANY_TO_PRIVATE, 5, 0);
	TEST_ASSERT_EQ(try(g, 0, 16, SHARED, PRESERVE), 0);
	expect_event(g, 0, 16, SHARED, PRESERVE, 10, 0);

	/* What has nothing to convert is a call as well; what is wrong is none. */
	TEST_ASSERT_EQ(try(g, 0, 16, SHARED, PRESERVE), 0);
	expect_event(g, 0, 16, SHARED, PRESERVE, 0, 0);
	TEST_ASSERT_EQ(try(g, 0, 0, SHARED, PRESERVE), -EINVAL);
	TEST_ASSERT_EQ(take_events(&event), 0);
}

TEST_F(trace, calls_on_the_vm_have_no_file)
{
	struct gmem_vm *g = &self->g;
	struct event event;

	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, GMEM_GPA + PAGE_SIZE, 2 * PAGE_SIZE, PRIVATE,
				      ANY_TO_PRIVATE, NULL), 0);
	TEST_ASSERT_EQ(take_events(&event), 1);
	TEST_ASSERT_EQ(event.ino, 0);
	TEST_ASSERT_EQ(event.start, GMEM_GPA + PAGE_SIZE);
	TEST_ASSERT_EQ(event.changed, 2 * PAGE_SIZE);
}

/* Where a call on the VM was refused: in guest memory, and in which file, if in one. */
TEST_F(trace, page_of_a_file_that_refuses_a_call_on_the_vm)
{
	struct gmem_vm *g = &self->g, other;
	struct event event;
	int pipefd[2];

	bind_other_file(g, &other);
	TEST_ASSERT_EQ(pin_in_pipe(other.mem + 2 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(try_vm(g, 0, GMEM_PAGES + OTHER_PAGES, PRIVATE, ANY_TO_PRIVATE), -EAGAIN);
	TEST_ASSERT_EQ(take_events(&event), 1);
	TEST_ASSERT_EQ(event.result, -EAGAIN);
	TEST_ASSERT_EQ(event.ino, 0);
	TEST_ASSERT_EQ(event.error_offset,
		       GMEM_GPA + (GMEM_PAGES + OTHER_HALF + 2) * PAGE_SIZE);
	TEST_ASSERT_EQ(event.error_ino, inode_of(&other));
	TEST_ASSERT_EQ(event.refs, 2);
	unpin_pipe(pipefd);

	TEST_ASSERT_EQ(try_vm(g, 0, GMEM_PAGES + OTHER_PAGES, PRIVATE, ANY_TO_PRIVATE), 0);
	TEST_ASSERT_EQ(take_events(&event), 1);
	TEST_ASSERT_EQ(event.changed, (GMEM_PAGES + OTHER_PAGES) * PAGE_SIZE);
	TEST_ASSERT_EQ(event.error_offset, 0);
	TEST_ASSERT_EQ(event.error_ino, 0);

	/* Beyond the memslots no file has anything. */
	TEST_ASSERT_EQ(try_vm(g, GMEM_PAGES + OTHER_PAGES - 1, 2, SHARED, ZERO), -EOPNOTSUPP);
	TEST_ASSERT_EQ(take_events(&event), 1);
	TEST_ASSERT_EQ(event.error_offset, GMEM_GPA + (GMEM_PAGES + OTHER_PAGES) * PAGE_SIZE);
	TEST_ASSERT_EQ(event.error_ino, 0);
	kvm_munmap(other.mem, OTHER_PAGES * PAGE_SIZE);
	close(other.fd);
}

/* What another process does with a VM of its own has the number of that process. */
TEST_F(trace, calls_of_another_vm_are_told_apart)
{
	struct event event;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		struct gmem_vm g;

		gmem_vm_create(&g, 1, GMEM_IN_PLACE);
		TEST_ASSERT_EQ(try(&g, 0, 1, PRIVATE, ANY_TO_PRIVATE), 0);
		expect_event(&g, 0, 1, PRIVATE, ANY_TO_PRIVATE, 1, 0);
		TEST_ASSERT_EQ(try(&g, 0, 1, SHARED, ZERO), 0);
		_exit(0);
	}
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT_EQ(status, 0);
	TEST_ASSERT_EQ(take_events(&event), 0);
}

TEST_F(trace, page_that_refuses_with_its_references)
{
	struct gmem_vm *g = &self->g;
	struct event event;
	int pipefd[2], pin;

	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 6 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(try(g, 2, 8, PRIVATE, ANY_TO_PRIVATE), -EAGAIN);
	event = expect_event(g, 2, 8, PRIVATE, ANY_TO_PRIVATE, 0, -EAGAIN);
	TEST_ASSERT_EQ(event.error_offset, 6 * PAGE_SIZE);
	TEST_ASSERT_EQ(event.refs, 2);
	TEST_ASSERT_EQ(event.maps, 0);
	TEST_ASSERT_EQ(event.pins, 0);
	unpin_pipe(pipefd);

	if (pin_longterm(g->mem + 3 * PAGE_SIZE, &pin))
		SKIP(return, "needs CONFIG_GUP_TEST");
	TEST_ASSERT_EQ(try(g, 2, 8, PRIVATE, ANY_TO_PRIVATE), -EAGAIN);
	event = expect_event(g, 2, 8, PRIVATE, ANY_TO_PRIVATE, 0, -EAGAIN);
	TEST_ASSERT_EQ(event.error_offset, 3 * PAGE_SIZE);
	TEST_ASSERT_EQ(event.pins, 1);
	close(pin);
}

static void *enable_late(void *data)
{
	usleep(200000);
	TEST_ASSERT_EQ(write_file(ENABLE, "1"), 0);
	return NULL;
}

/* The call waits for a second, and is traced from its middle on. */
TEST_F(trace, tracing_that_begins_in_a_call_has_no_times)
{
	struct gmem_vm *g = &self->g;
	struct event event;
	pthread_t thread;
	int pipefd[2];

	TEST_ASSERT_EQ(pin_in_pipe(g->mem, pipefd), 0);
	TEST_ASSERT_EQ(write_file(ENABLE, "0"), 0);
	pthread_create(&thread, NULL, enable_late, NULL);
	TEST_ASSERT_EQ(try(g, 0, 1, PRIVATE, ANY_TO_PRIVATE), -EAGAIN);
	pthread_join(thread, NULL);
	unpin_pipe(pipefd);

	/* Unless the machine had no time for the thread. */
	if (take_events(&event)) {
		TEST_ASSERT_EQ(event.result, -EAGAIN);
		TEST_ASSERT_EQ(event.took_ns, 0);
		TEST_ASSERT_EQ(event.locked_ns, 0);
	}
}

TEST_HARNESS_MAIN
