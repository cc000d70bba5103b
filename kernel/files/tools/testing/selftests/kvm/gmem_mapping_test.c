// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings in the host, of this process and of others: a private page causes SIGBUS in each
 * and counts in no RSS, and other processes can neither convert it nor punch it out.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/sizes.h>

#include "gmem_harness.h"
#include "gmem_util.h"
#include "gmem_wait.h"

GMEM_FIXTURE(mapping, GMEM_PAGES)

TEST_F(mapping, sigbus_in_every_mapping_at_once)
{
	struct gmem_vm *g = &self->g, other = *g;

	other.mem = kvm_mmap(GMEM_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_SHARED, g->fd);
	host_write(g, 2, 'a');
	TEST_ASSERT_EQ(host_read(&other, 2), 'a');
	expect_state(g, 0, GMEM_PAGES, SHARED);

	gmem_convert(g, 1, 3, PRIVATE, PRESERVE);
	TEST_EXPECT_SIGBUS(host_read(g, 2));
	TEST_EXPECT_SIGBUS(host_write(&other, 2, 'x'));
	expect_state(&other, 1, 3, PRIVATE);
	expect_state(&other, 4, GMEM_PAGES - 4, SHARED);

	gmem_convert(g, 1, 3, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(&other, 2), 'a');
	TEST_ASSERT_EQ(host_read(g, 2), 'a');
	kvm_munmap(other.mem, GMEM_PAGES * PAGE_SIZE);
}

/* Private memory is in no RSS, where one might miss it, but in the page cache. */
TEST_F(mapping, private_pages_are_in_no_rss)
{
	const long nr = 4096, some = nr * PAGE_SIZE / SZ_1K * 9 / 10;
	long rss, cached;
	struct gmem_vm g;

	gmem_vm_create(&g, nr, GMEM_IN_PLACE);
	rss = read_number("/proc/self/status", "VmRSS");
	cached = read_number("/proc/meminfo", "Cached");

	memset(g.mem, 'a', nr * PAGE_SIZE);
	TEST_ASSERT(read_number("/proc/self/status", "VmRSS") > rss + some,
		    "Shared pages should be in the RSS");
	gmem_convert(&g, 0, nr, PRIVATE, PRESERVE);
	TEST_ASSERT(read_number("/proc/self/status", "VmRSS") < rss + some,
		    "Private pages should not be in the RSS");
	TEST_ASSERT(read_number("/proc/meminfo", "Cached") > cached + some,
		    "Private pages should be in the page cache");
	gmem_vm_destroy(&g);
}

/* Another process can map what is shared, but cannot convert it. */
TEST_F(mapping, other_process_maps_and_does_not_convert)
{
	struct gmem_vm *g = &self->g;
	int to_child[2], to_parent[2], status;
	u64 where;
	pid_t pid;

	TEST_ASSERT(!pipe(to_child) && !pipe(to_parent), "pipe() failed");
	host_write(g, 2, 'a');

	pid = fork();
	if (!pid) {
		TEST_ASSERT_EQ(host_read(g, 2), 'a');
		tell(to_parent[1]);
		hear(to_child[0]);
		expect_state(g, 0, GMEM_PAGES, PRIVATE);
		TEST_ASSERT_EQ(__gmem_convert(g->fd, 0, PAGE_SIZE, SHARED, ZERO, &where), -EIO);
		TEST_ASSERT_EQ(where, POISON);
		expect_state(g, 0, GMEM_PAGES, PRIVATE);
		tell(to_parent[1]);
		hear(to_child[0]);
		TEST_ASSERT_EQ(host_read(g, 2), 'a');
		TEST_ASSERT_EQ(__gmem_convert(g->fd, 0, PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE,
					      &where), -EIO);
		expect_state(g, 0, GMEM_PAGES, SHARED);
		_exit(0);
	}

	hear(to_parent[0]);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	tell(to_child[1]);
	hear(to_parent[0]);
	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	tell(to_child[1]);
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT_EQ(status, 0);
}

/*
 * Nor can it destroy what is private.  Pages: [0, 8) are private, [8, 16) shared.  Mode and
 * range of a hole vary; MADV_REMOVE punches one, too.
 */
static int punch(struct gmem_vm *g, u64 page, u64 nr)
{
	return fallocate(g->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, page * PAGE_SIZE,
			 nr * PAGE_SIZE) ? -errno : 0;
}

static int remove_pages(struct gmem_vm *g, u64 page, u64 nr)
{
	return madvise(g->mem + page * PAGE_SIZE, nr * PAGE_SIZE, MADV_REMOVE) ? -errno : 0;
}

static int run_child(struct gmem_vm *g, void (*fn)(struct gmem_vm *g))
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		fn(g);
		_exit(0);
	}
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);

	return status;
}

static void destroy_private_pages(struct gmem_vm *g)
{
	static int (*const holes[])(struct gmem_vm *g, u64 page, u64 nr) = { punch, remove_pages };
	int i;

	for (i = 0; i < ARRAY_SIZE(holes); i++) {
		TEST_ASSERT_EQ(holes[i](g, 0, 1), -EPERM);
		TEST_ASSERT_EQ(holes[i](g, 7, 1), -EPERM);
		TEST_ASSERT_EQ(holes[i](g, 0, 8), -EPERM);
		/* Partly private, from either side, and the whole file. */
		TEST_ASSERT_EQ(holes[i](g, 7, 2), -EPERM);
		TEST_ASSERT_EQ(holes[i](g, 4, 12), -EPERM);
		TEST_ASSERT_EQ(holes[i](g, 0, GMEM_PAGES), -EPERM);
	}
	/* A hole may extend beyond the end. */
	TEST_ASSERT_EQ(punch(g, 7, 2 * GMEM_PAGES), -EPERM);
	expect_state(g, 0, 8, PRIVATE);
	expect_state(g, 8, 8, SHARED);
}

static void destroy_shared_pages(struct gmem_vm *g)
{
	TEST_ASSERT_EQ(punch(g, 8, 1), 0);
	TEST_ASSERT_EQ(remove_pages(g, 9, 1), 0);
	TEST_ASSERT_EQ(punch(g, 14, 2 * GMEM_PAGES), 0);
	TEST_ASSERT_EQ(host_read(g, 8), 0);
	/* Allocating pages destroys nothing. */
	TEST_ASSERT(!fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, GMEM_PAGES * PAGE_SIZE),
		    "fallocate() failed");
}

TEST_F(mapping, other_process_does_not_destroy_what_is_private)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter(i));
	gmem_convert(g, 0, 8, PRIVATE, PRESERVE);
	guest_write(g, 7, 'p');

	TEST_ASSERT_EQ(run_child(g, destroy_private_pages), 0);
	for (i = 0; i < 7; i++)
		TEST_ASSERT_EQ(guest_read(g, i), letter(i));
	TEST_ASSERT_EQ(guest_read(g, 7), 'p');
	for (i = 8; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i), letter(i));

	TEST_ASSERT_EQ(run_child(g, destroy_shared_pages), 0);
	for (i = 8; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i), i < 10 || i >= 14 ? 0 : letter(i));
	TEST_ASSERT_EQ(guest_read(g, 7), 'p');
}

TEST_F(mapping, owner_destroys_what_it_likes)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter(i));
	gmem_convert(g, 0, 8, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(punch(g, 7, 2), 0);
	TEST_ASSERT_EQ(remove_pages(g, 2, 1), 0);
	for (i = 0; i < 8; i++)
		TEST_ASSERT_EQ(guest_read(g, i), i == 2 || i == 7 ? 0 : letter(i));
	TEST_ASSERT_EQ(host_read(g, 8), 0);
	TEST_ASSERT_EQ(host_read(g, 9), letter(9));
	expect_state(g, 0, 8, PRIVATE);
}

static void destroy_another_backing(struct gmem_vm *g)
{
	TEST_ASSERT_EQ(punch(g, 0, 4), 0);
}

/* Two backings behave as before: only in place does one file hold both kinds of memory. */
TEST_F(mapping, other_process_punches_holes_in_other_files)
{
	struct gmem_vm other = self->g;

	other.fd = vm_create_guest_memfd(self->g.vm, 4 * PAGE_SIZE, 0);
	TEST_ASSERT_EQ(run_child(&other, destroy_another_backing), 0);
	close(other.fd);
}

TEST_HARNESS_MAIN
