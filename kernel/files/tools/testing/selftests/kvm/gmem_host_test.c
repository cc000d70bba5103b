// SPDX-License-Identifier: GPL-2.0
/*
 * What else a host does with the mapping: locked memory, other processes that read it, core
 * dumps.  None of these sees a private byte or leaves behind anything that makes a
 * conversion fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gmem_harness.h"
#include "gmem_util.h"

GMEM_FIXTURE(host, GMEM_PAGES)

/* Locked memory */

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity() failed");
}

/*
 * Pages are locked and unlocked in per-CPU batches, which hold them until they are full:
 * when a conversion starts, neither its CPU nor another may still hold one of them.
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

	/* Locked again, by the host's reads on the other CPU. */
	TEST_ASSERT(!munlock(g->mem, GMEM_PAGES * PAGE_SIZE), "munlock() failed");
	run_on(cpus[0]);
	expect_letters_and_no_holder(g);

	TEST_ASSERT(!mlock2(g->mem, GMEM_PAGES * PAGE_SIZE, MLOCK_ONFAULT), "mlock2() failed");
	expect_letters_and_no_holder(g);
	sched_setaffinity(0, sizeof(allowed), &allowed);
}

/* Other processes */

/* Pages [0, GMEM_HALF) are shared, the others private. */
static void make_half_private(struct gmem_vm *g)
{
	write_letters(g);
	gmem_convert(g, GMEM_HALF, GMEM_HALF, PRIVATE, PRESERVE);
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
			       GMEM_HALF * PAGE_SIZE);
		for (i = 0; i < GMEM_PAGES * PAGE_SIZE; i++)
			TEST_ASSERT_EQ(buffer[i], i < GMEM_HALF * PAGE_SIZE ?
				       letter(i / PAGE_SIZE) : '-');

		remote.iov_base = g->mem + GMEM_HALF * PAGE_SIZE;
		TEST_ASSERT(process_vm_readv(parent, &local, 1, &remote, 1, 0) == -1 &&
			    errno == EFAULT, "Reading private pages should fail with EFAULT");
		TEST_ASSERT(process_vm_writev(parent, &local, 1, &remote, 1, 0) == -1 &&
			    errno == EFAULT, "Writing private pages should fail with EFAULT");
		_exit(0);
	}
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT_EQ(status, 0);

	for (i = GMEM_HALF; i < GMEM_PAGES; i++)
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
	TEST_ASSERT(pread(fd, buffer, PAGE_SIZE, (off_t)g->mem + GMEM_HALF * PAGE_SIZE) == -1 &&
		    errno == EIO, "Reading a private page should fail with EIO");
	TEST_ASSERT(pwrite(fd, buffer, PAGE_SIZE, (off_t)g->mem + GMEM_HALF * PAGE_SIZE) == -1 &&
		    errno == EIO, "Writing a private page should fail with EIO");
	close(fd);
	expect_letters_and_no_holder(g);
}

/* Core dumps */

#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define CORE		"/tmp/gmem_host_test.core"

/* Bytes that fill pages of this test and no others. */
#define SHARED_BYTE	0xd5
#define PRIVATE_BYTE	0xd6

/* How many pages of the core dump contain nothing but that byte. */
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

/* A separate VMM dies, and the kernel dumps what @filter selects. */
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
			host_write(&g, i, i < GMEM_HALF ? SHARED_BYTE : PRIVATE_BYTE);
		gmem_convert(&g, GMEM_HALF, GMEM_HALF, PRIVATE, PRESERVE);
		TEST_ASSERT_EQ(guest_read(&g, GMEM_HALF), PRIVATE_BYTE);
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
 * By default a core has no shared mappings of files.  If they are included, it has the
 * shared pages; the private ones are holes, as is anything that cannot be faulted in.
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
	TEST_ASSERT_EQ(count_pages(CORE, SHARED_BYTE), GMEM_HALF);
	TEST_ASSERT_EQ(count_pages(CORE, PRIVATE_BYTE), 0);

	unlink(CORE);
	write_file(CORE_PATTERN, pattern);
}

TEST_HARNESS_MAIN
