// SPDX-License-Identifier: GPL-2.0
/*
 * Which pages a conversion changes: every range, the boundaries of the tracking, pages
 * without a slot, and tracking that cannot be allocated.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/sizes.h>

#include "gmem_harness.h"
#include "gmem_util.h"

GMEM_FIXTURE(range, GMEM_PAGES)

TEST_F(range, single_pages_at_every_position)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	for (i = GMEM_PAGES; i-- > 0; ) {
		gmem_convert(g, i, 1, PRIVATE, ANY_TO_PRIVATE);
		expect_state(g, 0, i, SHARED);
		expect_state(g, i, 1, PRIVATE);
		expect_state(g, i + 1, GMEM_PAGES - i - 1, SHARED);
		gmem_convert(g, i, 1, SHARED, ZERO);
		expect_state(g, 0, GMEM_PAGES, SHARED);
	}
}

TEST_F(range, every_range_of_eight_pages)
{
	struct gmem_vm *g = &self->g;
	u64 first, last;

	for (first = 0; first < 8; first++) {
		for (last = first; last < 8; last++) {
			gmem_convert(g, first, last - first + 1, PRIVATE, NONE);
			expect_state(g, 0, first, SHARED);
			expect_state(g, first, last - first + 1, PRIVATE);
			expect_state(g, last + 1, GMEM_PAGES - last - 1, SHARED);
			gmem_convert(g, 0, GMEM_PAGES, SHARED, ZERO);
		}
	}
}

/*
 * The tracking keeps the leaf of 1024 pages that has most recently become uniform.  Here a
 * conversion needs that leaf while another one replaces it.
 */
TEST_F(range, range_over_the_leaf_that_was_kept)
{
	const u64 nr = 4096;
	struct gmem_vm g;

	gmem_vm_create(&g, nr, GMEM_IN_PLACE);
	gmem_convert(&g, 1024, 10, PRIVATE, NONE);
	gmem_convert(&g, 1024, 10, SHARED, NONE);
	gmem_convert(&g, 0, 512, PRIVATE, NONE);
	gmem_convert(&g, 512, 522, PRIVATE, NONE);
	expect_state(&g, 1020, 14, PRIVATE);
	expect_state(&g, 1034, 10, SHARED);
	gmem_convert(&g, 0, nr, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(&g, 1030), expected(NONE, 0));
	gmem_vm_destroy(&g);
}

#define SIZE_1T	BIT_ULL(40)

/* Around every boundary of the tracking, in a file that has no pages yet. */
TEST_F(range, sparse_file_of_one_tebibyte)
{
	static const u64 at[] = {
		0, 1, 1023, 1024, 1025, 65535, 65536, 65537, (1 << 22) - 1, 1 << 22,
		(1 << 22) + 1, (1 << 28) - 2, (1 << 28) - 1,
	};
	u64 nr = SIZE_1T / PAGE_SIZE, i, j;
	struct gmem_vm g = { .nr_pages = nr };

	g.fd = vm_create_guest_memfd(self->g.vm, SIZE_1T, GMEM_IN_PLACE);
	g.mem = mmap(NULL, SIZE_1T, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, g.fd, 0);
	TEST_ASSERT(g.mem != MAP_FAILED, "mmap() of 1 TiB failed");

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		gmem_convert(&g, at[i], 1, PRIVATE, NONE);
		for (j = 0; j < ARRAY_SIZE(at); j++)
			expect_state(&g, at[j], 1, j == i ? PRIVATE : SHARED);
		gmem_convert(&g, at[i], nr - at[i], PRIVATE, ANY_TO_PRIVATE);
		for (j = 0; j < ARRAY_SIZE(at); j++)
			expect_state(&g, at[j], 1, j >= i ? PRIVATE : SHARED);
		gmem_convert(&g, 0, nr, SHARED, PRESERVE);
		TEST_ASSERT_EQ(host_read(&g, at[i]), expected(NONE, 0));
		punch_hole(&g, at[i], 1);
	}

	kvm_munmap(g.mem, SIZE_1T);
	close(g.fd);
}

#define CGROUP	"/sys/fs/cgroup/gmem_range_test"

/*
 * The tracking is charged to the caller's cgroup.  If that is out of memory, a page far
 * from all others cannot be tracked.  The call returns an errno, and nobody is killed.
 */
#define CGROUP_LIMIT	"1M"
#define TRACKED_SIZE	BIT_ULL(38)

enum tracking {
	BY_FILE,
	BY_SLOT,
	BY_VM,
};

GMEM_FIXTURE(tracking, GMEM_PAGES)

FIXTURE_VARIANT(tracking) {
	enum tracking by;
	u64 policy;
};

FIXTURE_VARIANT_ADD(tracking, file) { .by = BY_FILE, .policy = ANY_TO_PRIVATE };
FIXTURE_VARIANT_ADD(tracking, slot) { .by = BY_SLOT, .policy = ANY_TO_PRIVATE };
FIXTURE_VARIANT_ADD(tracking, vm) { .by = BY_VM, .policy = NONE };

TEST_F(tracking, no_memory_to_track_is_enomem)
{
	const u64 stride = SZ_16M / PAGE_SIZE, nr = TRACKED_SIZE / PAGE_SIZE, gpa = TRACKED_SIZE;
	u64 page, where, failed = 0, base = variant->by == BY_FILE ? 0 : gpa;
	struct gmem_vm g = { .nr_pages = nr };
	int r = 0, limit, fd;
	char pid[16];

	ONLY_IF(variant->by != BY_VM || HAS_TWO_BACKINGS);
	g.fd = vm_create_guest_memfd(self->g.vm, TRACKED_SIZE, GMEM_IN_PLACE);
	g.mem = mmap(NULL, TRACKED_SIZE, PROT_READ, MAP_SHARED | MAP_NORESERVE, g.fd, 0);
	TEST_ASSERT(g.mem != MAP_FAILED, "mmap() of the file failed");
	if (variant->by == BY_SLOT)
		vm_set_user_memory_region2(self->g.vm, GMEM_SLOT + 1, KVM_MEM_GUEST_MEMFD, gpa,
					   TRACKED_SIZE, g.mem, g.fd, 0);
	fd = variant->by == BY_FILE ? g.fd : self->g.vm->fd;

	snprintf(pid, sizeof(pid), "%d", getpid());
	if (write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory") ||
	    (mkdir(CGROUP, 0700) && errno != EEXIST) ||
	    write_file(CGROUP "/cgroup.procs", pid))
		SKIP(return, "needs root and the memory controller of cgroup v2");

	/*
	 * From here on this process needs no more memory, and has almost none in the new
	 * group: what it has allocated stays with the group where it was charged.
	 */
	limit = open(CGROUP "/memory.max", O_WRONLY);
	TEST_ASSERT(limit >= 0, "open(memory.max) failed");
	/* The mapping of the file must not be populated. */
	TEST_ASSERT(!mlockall(MCL_CURRENT | MCL_ONFAULT), "mlockall() failed");
	TEST_ASSERT_EQ(write(limit, CGROUP_LIMIT, strlen(CGROUP_LIMIT)), strlen(CGROUP_LIMIT));
	for (page = 1; page < nr && !r; page += stride) {
		r = __gmem_convert(fd, base + page * PAGE_SIZE, PAGE_SIZE, PRIVATE,
				   variant->policy, &where);
		failed = page;
	}
	TEST_ASSERT_EQ(write(limit, "max", 3), 3);
	close(limit);

	TEST_ASSERT_EQ(r, -ENOMEM);
	TEST_ASSERT_EQ(where, base + failed * PAGE_SIZE);

	/* Nothing has changed, and what has failed works once there is memory. */
	if (variant->by != BY_VM)
		expect_state(&g, failed, 1, SHARED);
	TEST_ASSERT_EQ(__gmem_convert(fd, base + failed * PAGE_SIZE, PAGE_SIZE, PRIVATE,
				      variant->policy, &where), 0);
	if (variant->by != BY_VM)
		expect_state(&g, failed, 1, PRIVATE);
	kvm_munmap(g.mem, TRACKED_SIZE);
	close(g.fd);
	write_file("/sys/fs/cgroup/cgroup.procs", pid);
	rmdir(CGROUP);
}

TEST_F(range, page_without_a_slot_has_a_state)
{
	struct gmem_vm *g = &self->g;

	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA,
				   0, g->mem, g->fd, 0);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	expect_state(g, 0, GMEM_PAGES, PRIVATE);

	/* Two slots, out of order, and the last page in neither. */
	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA,
				   8 * PAGE_SIZE, g->mem, g->fd, 4 * PAGE_SIZE);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT + 1, KVM_MEM_GUEST_MEMFD,
				   GMEM_GPA + 8 * PAGE_SIZE, 4 * PAGE_SIZE, g->mem,
				   g->fd, 0);
	guest_write(g, 0, 'a');
	guest_write(g, 8, 'b');
	/* At the guest's addresses, not at their offsets in the file. */
	guest_agrees(g, 0, 12);
	gmem_convert(g, 2, GMEM_PAGES - 2, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, 4), 'a');
	TEST_ASSERT_EQ(guest_read(g, 8), 'b');
	expect_state(g, 0, 2, PRIVATE);
	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, 0), 'b');
}

TEST_HARNESS_MAIN
