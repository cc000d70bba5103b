// SPDX-License-Identifier: GPL-2.0
/*
 * What else a host does with the mapping of in-place memory: NUMA policies and page
 * migration, locked memory, other processes that read it, core dumps, userfaultfd's
 * markers, soft offlining.  None of it sees a private byte, moves a page, or leaves
 * anything that makes a conversion fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#include "gmem_harness.h"
#include "gmem_util.h"
#include "numaif.h"

#define HALF	(GMEM_PAGES / 2)

FIXTURE(host) {
	struct gmem_vm g;
};

FIXTURE_SETUP(host)
{
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(host)
{
	gmem_vm_destroy(&self->g);
}

static u8 letter(u64 page)
{
	return 'A' + page;
}

static void write_letters(struct gmem_vm *g)
{
	u64 i;

	for (i = 0; i < g->nr_pages; i++)
		host_write(g, i, letter(i));
}

/* That nobody holds a page and all bytes are there: both directions, both sides. */
static void expect_letters_and_no_holder(struct gmem_vm *g)
{
	u64 i;

	gmem_convert(g, 0, g->nr_pages, PRIVATE, PRESERVE);
	for (i = 0; i < g->nr_pages; i++)
		TEST_ASSERT_EQ(guest_read(g, i), letter(i));
	gmem_convert(g, 0, g->nr_pages, SHARED, PRESERVE);
	for (i = 0; i < g->nr_pages; i++)
		TEST_ASSERT_EQ(host_read(g, i), letter(i));
}

/* NUMA */

FIXTURE(numa) {
	struct gmem_vm g;
};

FIXTURE_SETUP(numa)
{
	if (!is_multi_numa_node_system())
		SKIP(exit(KSFT_SKIP), "needs two NUMA nodes");
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(numa)
{
	gmem_vm_destroy(&self->g);
}

#define MAX_NODE	(8 * sizeof(unsigned long))

static void bind_pages(struct gmem_vm *g, u64 page, u64 nr, int mode, unsigned long nodes)
{
	kvm_mbind(g->mem + page * PAGE_SIZE, nr * PAGE_SIZE, mode, nodes ? &nodes : NULL,
		  nodes ? MAX_NODE : 0, 0);
}

/* The node of a page that is shared and there. */
static int node_of(struct gmem_vm *g, u64 page)
{
	void *hva = g->mem + page * PAGE_SIZE;
	int status;

	READ_ONCE(*(u8 *)hva);
	kvm_move_pages(0, 1, &hva, NULL, &status, 0);

	return status;
}

static void expect_nodes(struct gmem_vm *g, u64 page, u64 nr, int node)
{
	u64 i;

	for (i = page; i < page + nr; i++)
		TEST_ASSERT(node_of(g, i) == node, "Page %lu is on node %d, should be on %d",
			    i, node_of(g, i), node);
}

/* Whoever brings the page in, and whatever its state. */
TEST_F(numa, policy_of_the_mapping_decides_on_the_node)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	bind_pages(g, 0, HALF, MPOL_BIND, BIT(1));
	bind_pages(g, HALF, HALF, MPOL_BIND, BIT(0));
	gmem_convert(g, 1, GMEM_PAGES - 2, PRIVATE, ANY_TO_PRIVATE);

	for (i = 0; i < GMEM_PAGES; i += 2)
		guest_write(g, i, letter(i));
	host_write(g, GMEM_PAGES - 1, 'h');
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, GMEM_PAGES * PAGE_SIZE);

	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	expect_nodes(g, 0, HALF, 1);
	expect_nodes(g, HALF, HALF, 0);
	for (i = 0; i < GMEM_PAGES; i += 2)
		TEST_ASSERT_EQ(host_read(g, i), letter(i));
}

TEST_F(numa, interleaved_pages_are_spread_over_the_nodes)
{
	struct gmem_vm *g = &self->g;
	int on_node[2] = {};
	u64 i;

	bind_pages(g, 0, GMEM_PAGES, MPOL_INTERLEAVE, BIT(0) | BIT(1));
	write_letters(g);
	for (i = 0; i < GMEM_PAGES; i++) {
		int node = node_of(g, i);

		TEST_ASSERT(node == 0 || node == 1, "Page %lu is on node %d", i, node);
		on_node[node]++;
	}
	TEST_ASSERT_EQ(on_node[0], HALF);
	TEST_ASSERT_EQ(on_node[1], HALF);
	expect_letters_and_no_holder(g);
}

/* A policy is for pages to come: what is there stays until it is punched out. */
TEST_F(numa, conversions_keep_the_node)
{
	struct gmem_vm *g = &self->g;
	u64 policy, i;

	bind_pages(g, 0, GMEM_PAGES, MPOL_BIND, BIT(1));
	write_letters(g);
	expect_nodes(g, 0, GMEM_PAGES, 1);

	bind_pages(g, 0, GMEM_PAGES, MPOL_BIND, BIT(0));
	for (policy = ZERO; policy <= NONE; policy++) {
		gmem_convert(g, 0, GMEM_PAGES, PRIVATE,
			     policy_works(PRIVATE, policy) ? policy : ANY_TO_PRIVATE);
		for (i = 0; i < HALF; i++)
			guest_read(g, i);
		gmem_convert(g, 0, GMEM_PAGES, SHARED, policy);
		expect_nodes(g, 0, GMEM_PAGES, 1);
	}

	punch_hole(g, 0, HALF);
	expect_nodes(g, 0, HALF, 0);
	expect_nodes(g, HALF, HALF, 1);
}

/* Asks for a move of each page: a node would be the success. */
static void try_to_move(struct gmem_vm *g, int to_node)
{
	int nodes[GMEM_PAGES], status[GMEM_PAGES];
	void *pages[GMEM_PAGES];
	u64 i;

	for (i = 0; i < GMEM_PAGES; i++) {
		pages[i] = g->mem + i * PAGE_SIZE;
		nodes[i] = to_node;
	}
	(void)move_pages(0, GMEM_PAGES, pages, nodes, status, MPOL_MF_MOVE_ALL);
}

TEST_F(numa, pages_do_not_move)
{
	unsigned long from = BIT(0), to = BIT(1);
	struct gmem_vm *g = &self->g;
	u64 pfn[GMEM_PAGES], i;

	bind_pages(g, 0, GMEM_PAGES, MPOL_BIND, from);
	write_letters(g);
	for (i = 0; i < GMEM_PAGES; i++)
		pfn[i] = pfn_of(g, i);

	try_to_move(g, 1);
	(void)migrate_pages(0, MAX_NODE, &from, &to);
	(void)mbind(g->mem, GMEM_PAGES * PAGE_SIZE, MPOL_BIND, &to, MAX_NODE,
		    MPOL_MF_MOVE_ALL);

	/* Nor did the attempts leave a reference behind. */
	expect_letters_and_no_holder(g);
	expect_nodes(g, 0, GMEM_PAGES, 0);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(pfn_of(g, i), pfn[i]);
}

/* Somebody who tries to move the pages, in a loop. */
struct mover {
	struct gmem_vm *g;
	u64 nr_done;
	bool stop;
};

static void *keep_moving(void *data)
{
	struct mover *m = data;

	while (!READ_ONCE(m->stop)) {
		try_to_move(m->g, m->nr_done % 2);
		WRITE_ONCE(m->nr_done, m->nr_done + 1);
	}

	return NULL;
}

static void *keep_compacting(void *data)
{
	struct mover *m = data;

	while (!READ_ONCE(m->stop)) {
		TEST_ASSERT(!write_file("/proc/sys/vm/compact_memory", "1"),
			    "Cannot compact memory");
		WRITE_ONCE(m->nr_done, m->nr_done + 1);
	}

	return NULL;
}

#define MOVE_ROUNDS	100

static void convert_beside(struct gmem_vm *g, void *(*move)(void *))
{
	struct mover m = { .g = g };
	pthread_t thread;
	u64 round, done;

	write_letters(g);
	kvm_pthread_create(&thread, NULL, move, &m);
	for (round = 0; round < MOVE_ROUNDS; round++) {
		show_progress("rounds", round, MOVE_ROUNDS);
		gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
		gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
		TEST_ASSERT_EQ(host_read(g, round % GMEM_PAGES), letter(round % GMEM_PAGES));

		/* The other one gets its turn. */
		done = READ_ONCE(m.nr_done);
		while (round % 10 == 0 && READ_ONCE(m.nr_done) == done)
			usleep(100);
	}
	WRITE_ONCE(m.stop, true);
	kvm_pthread_join(thread, NULL);
	expect_letters_and_no_holder(g);
}

TEST_F(numa, moving_pages_does_not_refuse_conversions)
{
	convert_beside(&self->g, keep_moving);
}

TEST_F(host, compaction_does_not_refuse_conversions)
{
	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "needs root and CONFIG_COMPACTION");
	convert_beside(&self->g, keep_compacting);
}

/* Locked memory */

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity() failed");
}

/*
 * Pages are locked and unlocked in batches of each CPU, which hold them until they are
 * full: neither the CPU that converts nor another may have one of them by then.
 */
TEST_F(host, locked_memory_converts)
{
	struct gmem_vm *g = &self->g;
	cpu_set_t allowed;
	int cpus[2], n = 0, i;

	TEST_ASSERT(!sched_getaffinity(0, sizeof(allowed), &allowed),
		    "sched_getaffinity() failed");
	for (i = 0; i < CPU_SETSIZE && n < 2; i++) {
		if (CPU_ISSET(i, &allowed))
			cpus[n++] = i;
	}
	cpus[1] = cpus[n - 1];

	run_on(cpus[0]);
	TEST_ASSERT(!mlock(g->mem, GMEM_PAGES * PAGE_SIZE), "mlock() failed");
	write_letters(g);
	run_on(cpus[1]);
	expect_letters_and_no_holder(g);

	/* Locked once more, by the host's reads on the other CPU. */
	TEST_ASSERT(!munlock(g->mem, GMEM_PAGES * PAGE_SIZE), "munlock() failed");
	run_on(cpus[0]);
	expect_letters_and_no_holder(g);

	TEST_ASSERT(!mlock2(g->mem, GMEM_PAGES * PAGE_SIZE, MLOCK_ONFAULT), "mlock2() failed");
	expect_letters_and_no_holder(g);
	sched_setaffinity(0, sizeof(allowed), &allowed);
}

/* Other processes */

/* Pages [0, HALF) are shared, the others private. */
static void make_half_private(struct gmem_vm *g)
{
	write_letters(g);
	gmem_convert(g, HALF, HALF, PRIVATE, PRESERVE);
}

TEST_F(host, process_vm_readv_gets_shared_pages_only)
{
	static u8 buffer[GMEM_PAGES * PAGE_SIZE];
	struct gmem_vm *g = &self->g;
	struct iovec local = { buffer, sizeof(buffer) }, remote = { g->mem, sizeof(buffer) };
	pid_t parent = getpid(), pid;
	int status;
	u64 i;

	make_half_private(g);
	if (process_vm_readv(parent, NULL, 0, NULL, 0, 0))
		SKIP(return, "needs CONFIG_CROSS_MEMORY_ATTACH");

	pid = fork();
	if (!pid) {
		memset(buffer, '-', sizeof(buffer));
		TEST_ASSERT_EQ(process_vm_readv(parent, &local, 1, &remote, 1, 0),
			       HALF * PAGE_SIZE);
		for (i = 0; i < GMEM_PAGES * PAGE_SIZE; i++)
			TEST_ASSERT_EQ(buffer[i], i < HALF * PAGE_SIZE ?
				       letter(i / PAGE_SIZE) : '-');

		remote.iov_base = g->mem + HALF * PAGE_SIZE;
		TEST_ASSERT(process_vm_readv(parent, &local, 1, &remote, 1, 0) == -1 &&
			    errno == EFAULT, "Private pages should be EFAULT");
		TEST_ASSERT(process_vm_writev(parent, &local, 1, &remote, 1, 0) == -1 &&
			    errno == EFAULT, "Private pages should be EFAULT");
		_exit(0);
	}
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT_EQ(status, 0);

	for (i = HALF; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(guest_read(g, i), letter(i));
	expect_letters_and_no_holder(g);
}

TEST_F(host, proc_mem_gets_shared_pages_only)
{
	struct gmem_vm *g = &self->g;
	u8 buffer[PAGE_SIZE];
	int fd;

	make_half_private(g);
	fd = open("/proc/self/mem", O_RDWR);
	TEST_ASSERT(fd >= 0, "open(/proc/self/mem) failed");

	TEST_ASSERT_EQ(pread(fd, buffer, PAGE_SIZE, (off_t)g->mem), PAGE_SIZE);
	TEST_ASSERT_EQ(buffer[0], letter(0));
	TEST_ASSERT_EQ(pwrite(fd, buffer, PAGE_SIZE, (off_t)g->mem), PAGE_SIZE);
	TEST_ASSERT(pread(fd, buffer, PAGE_SIZE, (off_t)g->mem + HALF * PAGE_SIZE) == -1 &&
		    errno == EIO, "A private page should be EIO");
	TEST_ASSERT(pwrite(fd, buffer, PAGE_SIZE, (off_t)g->mem + HALF * PAGE_SIZE) == -1 &&
		    errno == EIO, "A private page should be EIO");
	close(fd);
	expect_letters_and_no_holder(g);
}

/* Core dumps */

#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define CORE		"/tmp/gmem_host_test.core"

/* Bytes that fill pages here and nowhere else. */
#define SHARED_BYTE	0xd5
#define PRIVATE_BYTE	0xd6

/* How many pages of the file hold nothing but that byte. */
static int count_pages(const char *path, u8 byte)
{
	u8 page[PAGE_SIZE], whole[PAGE_SIZE];
	int fd = open(path, O_RDONLY), nr = 0;

	TEST_ASSERT(fd >= 0, "No core was dumped");
	memset(whole, byte, PAGE_SIZE);
	while (read(fd, page, PAGE_SIZE) == PAGE_SIZE)
		nr += !memcmp(page, whole, PAGE_SIZE);
	close(fd);

	return nr;
}

/* A VMM of its own dies, of which the kernel is to dump what @filter says. */
static void dump_core(const char *filter)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	int status;
	pid_t pid;

	unlink(CORE);
	pid = fork();
	if (!pid) {
		struct gmem_vm g;
		u64 i;

		gmem_vm_create(&g, GMEM_PAGES, GMEM_IN_PLACE);
		for (i = 0; i < GMEM_PAGES; i++)
			host_write(&g, i, i < HALF ? SHARED_BYTE : PRIVATE_BYTE);
		gmem_convert(&g, HALF, HALF, PRIVATE, PRESERVE);
		TEST_ASSERT_EQ(guest_read(&g, HALF), PRIVATE_BYTE);
		TEST_ASSERT(!setrlimit(RLIMIT_CORE, &unlimited), "setrlimit() failed");
		TEST_ASSERT(!write_file("/proc/self/coredump_filter", filter),
			    "Cannot write coredump_filter");
		signal(SIGQUIT, SIG_DFL);
		kill(getpid(), SIGQUIT);
		_exit(1);
	}
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT && WCOREDUMP(status),
		    "The process ended with status %#x and without a core", status);
}

/*
 * By default a core has no shared mapping of a file.  With them it has the shared pages;
 * the private ones are holes, as whatever cannot be faulted in.
 */
TEST_F(host, core_dump_has_no_private_bytes)
{
	char pattern[128] = {};
	int fd;

	fd = open(CORE_PATTERN, O_RDONLY);
	if (fd < 0 || access("/proc/self/coredump_filter", W_OK))
		SKIP(return, "needs CONFIG_ELF_CORE");
	TEST_ASSERT(read(fd, pattern, sizeof(pattern) - 1) >= 0, "Cannot read core_pattern");
	close(fd);
	if (write_file(CORE_PATTERN, CORE))
		SKIP(return, "needs root");

	dump_core("0x33");
	TEST_ASSERT_EQ(count_pages(CORE, SHARED_BYTE), 0);
	TEST_ASSERT_EQ(count_pages(CORE, PRIVATE_BYTE), 0);

	dump_core("0x3f");
	TEST_ASSERT_EQ(count_pages(CORE, SHARED_BYTE), HALF);
	TEST_ASSERT_EQ(count_pages(CORE, PRIVATE_BYTE), 0);

	unlink(CORE);
	write_file(CORE_PATTERN, pattern);
}

/* userfaultfd: marks in page tables, also where no page has ever been */

FIXTURE(marks) {
	struct gmem_vm g;
	int uffd;
};

FIXTURE_SETUP(marks)
{
	const u64 features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED;
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
	self->uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (self->uffd < 0 || ioctl(self->uffd, UFFDIO_API, &api))
		SKIP(exit(KSFT_SKIP), "needs CONFIG_USERFAULTFD and CONFIG_PTE_MARKER_UFFD_WP");

	reg.range.start = (uintptr_t)self->g.mem;
	reg.range.len = GMEM_PAGES * PAGE_SIZE;
	TEST_ASSERT(!ioctl(self->uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: %s",
		    strerror(errno));
}

FIXTURE_TEARDOWN(marks)
{
	close(self->uffd);
	gmem_vm_destroy(&self->g);
}

static void mark(int uffd, struct gmem_vm *g, bool set)
{
	struct uffdio_writeprotect wp = {
		.range.start = (uintptr_t)g->mem,
		.range.len = GMEM_PAGES * PAGE_SIZE,
		.mode = set ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	TEST_ASSERT(!ioctl(uffd, UFFDIO_WRITEPROTECT, &wp), "UFFDIO_WRITEPROTECT: %s",
		    strerror(errno));
}

/* Has the page been written since it was marked, as the kernel tells a migration? */
static bool is_written(struct gmem_vm *g, u64 page)
{
	struct page_region region = {};
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)g->mem + page * PAGE_SIZE,
		.end = (uintptr_t)g->mem + (page + 1) * PAGE_SIZE,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY), r;

	TEST_ASSERT(fd >= 0, "open(/proc/self/pagemap) failed");
	r = ioctl(fd, PAGEMAP_SCAN, &arg);
	TEST_ASSERT(r >= 0, "PAGEMAP_SCAN: %s", strerror(errno));
	close(fd);

	return r == 1;
}

/* A fault on a mark that does not get on repeats for ever, and is ended as a hang. */
TEST_F(marks, reads_and_writes_where_no_page_has_been)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	mark(self->uffd, g, true);
	for (i = 0; i < HALF; i++) {
		TEST_ASSERT_EQ(host_read(g, i), 0);
		TEST_ASSERT(!is_written(g, i), "Reading page %lu has unmarked it", i);
	}
	for (i = 0; i < GMEM_PAGES; i++) {
		host_write(g, i, letter(i));
		TEST_ASSERT(is_written(g, i), "Writing page %lu has not unmarked it", i);
		TEST_ASSERT_EQ(guest_read(g, i), letter(i));
	}
	expect_letters_and_no_holder(g);
}

/* The neighbours of a page that is touched are there, marked, and must stay so. */
TEST_F(marks, reads_and_writes_beside_pages_that_are_there)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	/* In the file, and not in the page tables. */
	for (i = 0; i < GMEM_PAGES; i++)
		guest_write(g, i, letter(i));
	mark(self->uffd, g, true);
	TEST_ASSERT_EQ(host_read(g, 3), letter(3));
	host_write(g, 5, 'w');
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT(is_written(g, i) == (i == 5), "Page %lu is %swritten", i,
			    i == 5 ? "not " : "");
	host_write(g, 5, letter(5));
	expect_letters_and_no_holder(g);
}

/* Marks of pages that are mapped, and what conversions leave of them. */
TEST_F(marks, reads_and_writes_after_conversions)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	write_letters(g);
	mark(self->uffd, g, true);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	expect_state(g, 0, GMEM_PAGES, PRIVATE);
	/* Private pages can be marked, and unmarked, as well. */
	mark(self->uffd, g, true);
	expect_state(g, 0, GMEM_PAGES, PRIVATE);

	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i), letter(i));
	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter(i));
	expect_letters_and_no_holder(g);

	mark(self->uffd, g, true);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	mark(self->uffd, g, false);
	gmem_convert(g, 0, GMEM_PAGES, SHARED, NONE);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i),
			       expected(NONE, expected(ANY_TO_PRIVATE, letter(i))));
	write_letters(g);
	expect_letters_and_no_holder(g);
}

/* The kernel's own accesses: they look at the page tables without a fault first. */
TEST_F(marks, system_calls_on_marked_pages)
{
	struct gmem_vm *g = &self->g;
	int zero = open("/dev/zero", O_RDONLY), pipefd[2];
	u8 buffer[PAGE_SIZE];
	u64 i;

	write_letters(g);
	punch_hole(g, 0, 4);
	mark(self->uffd, g, true);
	TEST_ASSERT(!pipe(pipefd), "pipe() failed");
	for (i = 0; i < GMEM_PAGES; i++) {
		TEST_ASSERT_EQ(write(pipefd[1], g->mem + i * PAGE_SIZE, PAGE_SIZE), PAGE_SIZE);
		TEST_ASSERT_EQ(read(pipefd[0], buffer, PAGE_SIZE), PAGE_SIZE);
		TEST_ASSERT_EQ(buffer[PAGE_SIZE - 1], i < 4 ? 0 : letter(i));
		TEST_ASSERT_EQ(read(zero, g->mem + i * PAGE_SIZE, PAGE_SIZE), PAGE_SIZE);
		TEST_ASSERT(is_written(g, i), "Page %lu is not written", i);
	}
	close(pipefd[0]);
	close(pipefd[1]);
	close(zero);

	mark(self->uffd, g, true);
	TEST_ASSERT(!madvise(g->mem, GMEM_PAGES * PAGE_SIZE, MADV_POPULATE_READ),
		    "MADV_POPULATE_READ: %s", strerror(errno));
	TEST_ASSERT(!madvise(g->mem, GMEM_PAGES * PAGE_SIZE, MADV_POPULATE_WRITE),
		    "MADV_POPULATE_WRITE: %s", strerror(errno));
	write_letters(g);
	expect_letters_and_no_holder(g);
}

/* Soft offline: a page that might fail is emptied, where it can be */

TEST_F(host, soft_offlined_pages_stay_and_keep_their_bytes)
{
	struct gmem_vm *g = &self->g;
	u64 pfn[GMEM_PAGES], i;
	int r;

	write_letters(g);
	for (i = 0; i < GMEM_PAGES; i++)
		pfn[i] = pfn_of(g, i);

	for (i = 0; i < GMEM_PAGES; i++) {
		r = madvise(g->mem + i * PAGE_SIZE, PAGE_SIZE, MADV_SOFT_OFFLINE) ? errno : 0;
		if (r == EINVAL || r == EPERM)
			SKIP(return, "needs root and CONFIG_MEMORY_FAILURE");
		TEST_ASSERT(r, "Page %lu was taken out of use", i);
	}

	expect_letters_and_no_holder(g);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(pfn_of(g, i), pfn[i]);
}

TEST_HARNESS_MAIN
