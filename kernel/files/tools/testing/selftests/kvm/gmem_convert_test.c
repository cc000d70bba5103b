// SPDX-License-Identifier: GPL-2.0
/*
 * In-place conversion of guest_memfd memory, through KVM_SET_MEMORY_ATTRIBUTES2
 * on the file and on the VM: contents, ranges, mappings, errors, pins, races.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/sizes.h>

#include "gmem_harness.h"
#include "gmem_util.h"

FIXTURE(convert) {
	struct gmem_vm g;
};

FIXTURE_SETUP(convert)
{
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(convert)
{
	gmem_vm_destroy(&self->g);
}

/* A letter that tells page and step apart, and is neither 0 nor what NONE leaves on x86. */
static u8 letter(int step, u64 page)
{
	return 1 + (step * GMEM_PAGES + page) % 0xa0;
}

/* The policy, or one that works where it does not in this direction. */
static u64 or_any_to_private(u64 policy)
{
	return policy_works(PRIVATE, policy) ? policy : ANY_TO_PRIVATE;
}

/* Discovery */

TEST_F(convert, capabilities_say_what_works)
{
	struct kvm_vm *vm = vm_create_barebones();

	TEST_ASSERT_EQ(vm_check_cap(self->g.vm, KVM_CAP_MEMORY_ATTRIBUTES2), PRIVATE);
	TEST_ASSERT_EQ(vm_check_cap(self->g.vm, KVM_CAP_MEMORY_ATTRIBUTES2_CONTENT_POLICY),
		       POLICIES);
	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_MEMORY_ATTRIBUTES2), PRIVATE);
	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_MEMORY_ATTRIBUTES2_CONTENT_POLICY) & POLICIES,
		       POLICIES);

	TEST_ASSERT_EQ(vm_check_cap(vm, KVM_CAP_MEMORY_ATTRIBUTES2), 0);
	TEST_ASSERT_EQ(vm_check_cap(vm, KVM_CAP_MEMORY_ATTRIBUTES2_CONTENT_POLICY), 0);
	kvm_vm_free(vm);
}

TEST_F(convert, other_files_have_no_such_ioctl)
{
	struct kvm_vm *vm = vm_create_barebones();
	int fd;

	fd = vm_create_guest_memfd(self->g.vm, PAGE_SIZE, 0);
	TEST_ASSERT_EQ(__gmem_convert(fd, 0, PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE, NULL), -ENOTTY);
	close(fd);

	fd = vm_create_guest_memfd(vm, PAGE_SIZE, GMEM_IN_PLACE);
	TEST_ASSERT_EQ(__gmem_convert(fd, 0, PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE, NULL), -ENOTTY);
	close(fd);
	kvm_vm_free(vm);

	/* What nobody can map is private from the start, and cannot be asked to be shared. */
	TEST_ASSERT(__vm_create_guest_memfd(self->g.vm, PAGE_SIZE,
					    GUEST_MEMFD_FLAG_INIT_SHARED) == -1 && errno == EINVAL,
		    "INIT_SHARED without MMAP should be EINVAL");
}

TEST_F(convert, other_ioctls_are_enotty)
{
	char buf[256] = {};

	TEST_ASSERT_EQ(ioctl(self->g.fd, KVM_SET_MEMORY_ATTRIBUTES, buf), -1);
	TEST_ASSERT_EQ(errno, ENOTTY);
	TEST_ASSERT_EQ(ioctl(self->g.fd, KVM_CREATE_VCPU, 0), -1);
	TEST_ASSERT_EQ(errno, ENOTTY);
}

TEST_F(convert, file_is_private_without_init_shared)
{
	struct gmem_vm p;

	gmem_vm_create(&p, GMEM_PAGES, GUEST_MEMFD_FLAG_MMAP);
	expect_state(&p, 0, GMEM_PAGES, PRIVATE);
	gmem_convert(&p, 0, GMEM_PAGES, SHARED, ZERO);
	expect_state(&p, 0, GMEM_PAGES, SHARED);
	gmem_vm_destroy(&p);
}

/* Contents: each policy in each direction */

FIXTURE(contents) {
	struct gmem_vm g;
};

FIXTURE_VARIANT(contents) {
	u64 policy;
};

FIXTURE_VARIANT_ADD(contents, zero) { .policy = ZERO };
FIXTURE_VARIANT_ADD(contents, preserve) { .policy = PRESERVE };
FIXTURE_VARIANT_ADD(contents, none) { .policy = NONE };

FIXTURE_SETUP(contents)
{
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(contents)
{
	gmem_vm_destroy(&self->g);
}

TEST_F(contents, guest_reads_after_to_private)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	ONLY_IF(policy_works(PRIVATE, variant->policy));
	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter(1, i));
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, variant->policy);
	for (i = GMEM_PAGES; i-- > 0; )
		TEST_ASSERT_EQ(guest_read(g, i), expected(variant->policy, letter(1, i)));
}

TEST_F(contents, host_reads_after_to_shared)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	for (i = 0; i < GMEM_PAGES; i++)
		guest_write(g, i, letter(2, i));
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	for (i = GMEM_PAGES; i-- > 0; )
		TEST_ASSERT_EQ(host_read(g, i), expected(variant->policy, letter(2, i)));
}

TEST_F(contents, guest_and_host_agree_after_to_shared)
{
	struct gmem_vm *g = &self->g;

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	guest_write(g, 3, 'p');
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	TEST_ASSERT_EQ(guest_read(g, 3), expected(variant->policy, 'p'));
	TEST_ASSERT_EQ(host_read(g, 3), expected(variant->policy, 'p'));
	guest_write(g, 3, 'q');
	TEST_ASSERT_EQ(host_read(g, 3), 'q');
	host_write(g, 3, 'r');
	TEST_ASSERT_EQ(guest_read(g, 3), 'r');
}

TEST_F(contents, never_allocated_pages_follow_the_rule)
{
	u64 to_private = or_any_to_private(variant->policy);
	struct gmem_vm *g = &self->g;

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, to_private);
	TEST_ASSERT_EQ(guest_read(g, 5), expected(to_private, 0));
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	TEST_ASSERT_EQ(host_read(g, 9), expected(variant->policy, 0));
}

TEST_F(contents, allocated_and_never_read_pages_follow_the_rule)
{
	u64 to_private = or_any_to_private(variant->policy);
	struct gmem_vm *g = &self->g;

	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, GMEM_PAGES * PAGE_SIZE);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, to_private);
	TEST_ASSERT_EQ(guest_read(g, 5), expected(to_private, 0));
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	TEST_ASSERT_EQ(host_read(g, 9), expected(variant->policy, 0));
}

TEST_F(contents, page_in_the_requested_state_keeps_its_bytes)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter(1, i));
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i), letter(1, i));

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	for (i = 0; i < GMEM_PAGES; i++)
		guest_write(g, i, letter(2, i));
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, or_any_to_private(variant->policy));
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(guest_read(g, i), letter(2, i));
}

TEST_F(contents, mixed_range_changes_only_what_differs)
{
	u64 to_private = or_any_to_private(variant->policy);
	struct gmem_vm *g = &self->g;
	u64 i;

	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter(1, i));
	for (i = 1; i < GMEM_PAGES; i += 2) {
		gmem_convert(g, i, 1, PRIVATE, ANY_TO_PRIVATE);
		guest_write(g, i, letter(2, i));
	}

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, to_private);
	for (i = GMEM_PAGES; i-- > 0; )
		TEST_ASSERT_EQ(guest_read(g, i), i % 2 ? letter(2, i) :
			       expected(to_private, letter(1, i)));

	for (i = 0; i < GMEM_PAGES; i += 2) {
		gmem_convert(g, i, 1, SHARED, PRESERVE);
		host_write(g, i, letter(3, i));
	}
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	for (i = GMEM_PAGES; i-- > 0; )
		TEST_ASSERT_EQ(host_read(g, i), i % 2 ?
			       expected(variant->policy, letter(2, i)) : letter(3, i));
}

TEST_F(contents, hole_reads_zeros_and_keeps_its_attribute)
{
	struct gmem_vm *g = &self->g;

	ONLY_IF(LOST_PAGES_COME_BACK);
	host_write(g, 4, 'a');
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, variant->policy);
	guest_read(g, 4);
	punch_hole(g, 4, 2);
	expect_state(g, 0, GMEM_PAGES, PRIVATE);
	TEST_ASSERT_EQ(guest_read(g, 4), 0);
	TEST_ASSERT_EQ(guest_read(g, 5), 0);
	TEST_ASSERT_EQ(guest_read(g, 6), expected(variant->policy, 0));

	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	punch_hole(g, 4, 2);
	expect_state(g, 0, GMEM_PAGES, SHARED);
	TEST_ASSERT_EQ(host_read(g, 4), 0);
	TEST_ASSERT_EQ(host_read(g, 5), 0);
	TEST_ASSERT_EQ(host_read(g, 7), expected(variant->policy, 0));

	/* The other way to punch, which asks for the mapping instead of the file. */
	host_write(g, 8, 'b');
	TEST_ASSERT_EQ(madvise(g->mem + 8 * PAGE_SIZE, PAGE_SIZE, MADV_REMOVE), 0);
	expect_state(g, 8, 1, SHARED);
	TEST_ASSERT_EQ(host_read(g, 8), 0);
	TEST_ASSERT_EQ(guest_read(g, 8), 0);
}

TEST_F(contents, last_policy_counts)
{
	struct gmem_vm *g = &self->g;

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, NONE);
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	/* PRESERVE keeps what NONE left. */
	TEST_ASSERT_EQ(host_read(g, 2), expected(variant->policy, expected(NONE, 0)));
}

TEST_F(convert, preserve_keeps_the_physical_page)
{
	struct gmem_vm *g = &self->g;
	u64 pfn;

	host_write(g, 7, 'a');
	pfn = pfn_of(g, 7);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_read(g, 7), 'a');
	guest_write(g, 7, 'b');
	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, 7), 'b');
	TEST_ASSERT_EQ(pfn_of(g, 7), pfn);
}

/* Ranges */

TEST_F(convert, single_pages_at_every_position)
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

TEST_F(convert, every_range_of_eight_pages)
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
 * The tracking keeps the leaf of 1024 pages that has become uniform last, and here
 * a conversion needs that leaf while another one takes its place.
 */
TEST_F(convert, range_over_the_leaf_that_was_kept)
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

/* Around every boundary of the tracking, in a file that has no memory yet. */
TEST_F(convert, sparse_file_of_one_tebibyte)
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

#define CGROUP	"/sys/fs/cgroup/gmem_convert_test"

/*
 * The tracking is charged to the caller's cgroup.  Where no memory is left there, a page
 * far from all others cannot be tracked.  That is an errno, and nobody is killed for it.
 */
#define CGROUP_LIMIT	"1M"
#define TRACKED_SIZE	BIT_ULL(38)

enum tracking {
	BY_FILE,
	BY_SLOT,
	BY_VM,
};

FIXTURE(tracking) {
	struct gmem_vm g;
};

FIXTURE_VARIANT(tracking) {
	enum tracking by;
	u64 policy;
};

FIXTURE_VARIANT_ADD(tracking, file) { .by = BY_FILE, .policy = ANY_TO_PRIVATE };
FIXTURE_VARIANT_ADD(tracking, slot) { .by = BY_SLOT, .policy = ANY_TO_PRIVATE };
FIXTURE_VARIANT_ADD(tracking, vm) { .by = BY_VM, .policy = NONE };

FIXTURE_SETUP(tracking)
{
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
}

FIXTURE_TEARDOWN(tracking)
{
	gmem_vm_destroy(&self->g);
}

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
	 * This process itself needs no more memory from here on, and has next to none in
	 * the new group: what it has stays with the group where it was charged.
	 */
	limit = open(CGROUP "/memory.max", O_WRONLY);
	TEST_ASSERT(limit >= 0, "open(memory.max) failed");
	/* The mapping of the file is not to be populated. */
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

	/* Nothing has changed, and what failed works when there is memory. */
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

TEST_F(convert, page_without_a_slot_has_a_state)
{
	struct gmem_vm *g = &self->g;

	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA,
				   0, g->mem, g->fd, 0);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	expect_state(g, 0, GMEM_PAGES, PRIVATE);

	/* Two slots, out of order, with the last page in neither. */
	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA,
				   8 * PAGE_SIZE, g->mem, g->fd, 4 * PAGE_SIZE);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT + 1, KVM_MEM_GUEST_MEMFD,
				   GMEM_GPA + 8 * PAGE_SIZE, 4 * PAGE_SIZE, g->mem,
				   g->fd, 0);
	guest_write(g, 0, 'a');
	guest_write(g, 8, 'b');
	/* Where the guest has them, not where they are in the file. */
	guest_agrees(g, 0, 12);
	gmem_convert(g, 2, GMEM_PAGES - 2, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, 4), 'a');
	TEST_ASSERT_EQ(guest_read(g, 8), 'b');
	expect_state(g, 0, 2, PRIVATE);
	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, 0), 'b');
}

/* Mappings */

TEST_F(convert, sigbus_in_every_mapping_at_once)
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

static void tell(int fd)
{
	TEST_ASSERT_EQ(write(fd, "", 1), 1);
}

static void hear(int fd)
{
	char c;

	TEST_ASSERT_EQ(read(fd, &c, 1), 1);
}

/* Who looks for private memory in an RSS takes it for lost; it is in the page cache. */
TEST_F(convert, private_pages_are_in_no_rss)
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

/* Another process can map what is shared, and can not convert it. */
TEST_F(convert, other_process_maps_and_does_not_convert)
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
 * Nor can it destroy what is private.  Pages: [0, 8) private, [8, 16) shared.  Mode and
 * range of a hole; MADV_REMOVE is one too.
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
		/* Mixed, from either side, and all. */
		TEST_ASSERT_EQ(holes[i](g, 7, 2), -EPERM);
		TEST_ASSERT_EQ(holes[i](g, 4, 12), -EPERM);
		TEST_ASSERT_EQ(holes[i](g, 0, GMEM_PAGES), -EPERM);
	}
	/* A hole may extend past the end. */
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
	/* To allocate takes nothing away. */
	TEST_ASSERT(!fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, GMEM_PAGES * PAGE_SIZE),
		    "fallocate() failed");
}

TEST_F(convert, other_process_does_not_destroy_what_is_private)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter(1, i));
	gmem_convert(g, 0, 8, PRIVATE, PRESERVE);
	guest_write(g, 7, 'p');

	TEST_ASSERT_EQ(run_child(g, destroy_private_pages), 0);
	for (i = 0; i < 7; i++)
		TEST_ASSERT_EQ(guest_read(g, i), letter(1, i));
	TEST_ASSERT_EQ(guest_read(g, 7), 'p');
	for (i = 8; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i), letter(1, i));

	TEST_ASSERT_EQ(run_child(g, destroy_shared_pages), 0);
	for (i = 8; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i), i < 10 || i >= 14 ? 0 : letter(1, i));
	TEST_ASSERT_EQ(guest_read(g, 7), 'p');
}

TEST_F(convert, owner_destroys_what_it_likes)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter(1, i));
	gmem_convert(g, 0, 8, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(punch(g, 7, 2), 0);
	TEST_ASSERT_EQ(remove_pages(g, 2, 1), 0);
	for (i = 0; i < 8; i++)
		TEST_ASSERT_EQ(guest_read(g, i), i == 2 || i == 7 ? 0 : letter(1, i));
	TEST_ASSERT_EQ(host_read(g, 8), 0);
	TEST_ASSERT_EQ(host_read(g, 9), letter(1, 9));
	expect_state(g, 0, 8, PRIVATE);
}

static void destroy_another_backing(struct gmem_vm *g)
{
	TEST_ASSERT_EQ(punch(g, 0, 4), 0);
}

/* Two backings are as they were: only in place is a file both. */
TEST_F(convert, other_process_punches_holes_in_other_files)
{
	struct gmem_vm other = self->g;

	other.fd = vm_create_guest_memfd(self->g.vm, 4 * PAGE_SIZE, 0);
	TEST_ASSERT_EQ(run_child(&other, destroy_another_backing), 0);
	close(other.fd);
}

/* Errors: nothing changes, and error_offset is exact */

TEST_F(convert, every_wrong_field_is_einval)
{
	const struct kvm_memory_attributes2 good = {
		.offset = PAGE_SIZE,
		.size = PAGE_SIZE,
		.attributes = PRIVATE,
		.flags = ANY_TO_PRIVATE,
		.error_offset = POISON,
	};
	const u64 total = GMEM_PAGES * PAGE_SIZE;
	struct gmem_vm *g = &self->g;
	struct kvm_memory_attributes2 bad[160];
	int n = 0, i;

#define BAD(assignment)		\
	do {			\
		bad[n] = good;	\
		bad[n].assignment;	\
		n++;		\
	} while (0)

	BAD(size = 0);
	BAD(size = 1);
	BAD(size = PAGE_SIZE - 1);
	BAD(size = PAGE_SIZE + 1);
	BAD(size = total);
	BAD(size = 1ull << 63);
	BAD(size = -PAGE_SIZE);
	BAD(size = -2 * PAGE_SIZE);
	BAD(offset = 1);
	BAD(offset = PAGE_SIZE - 1);
	BAD(offset = total);
	BAD(offset = total + PAGE_SIZE);
	BAD(offset = 1ull << 63);
	BAD(offset = (1ull << 63) - PAGE_SIZE);
	BAD(offset = -PAGE_SIZE);
	for (i = 0; i < 64; i++) {
		if (i != 3)
			BAD(attributes |= 1ull << i);
	}
	BAD(flags = 3);
	for (i = 2; i < 64; i++)
		BAD(flags = 1ull << i);
	for (i = 0; i < ARRAY_SIZE(good.reserved); i++)
		BAD(reserved[i] = 1ull << (i * 5));
#undef BAD

	for (i = 0; i < n; i++) {
		TEST_ASSERT(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, &bad[i]) == -1 &&
			    errno == EINVAL,
			    "Request %d should be EINVAL: offset %#llx size %#llx attributes %#llx flags %#llx",
			    i, bad[i].offset, bad[i].size, bad[i].attributes, bad[i].flags);
		TEST_ASSERT_EQ(bad[i].error_offset, POISON);
	}
	expect_state(g, 0, GMEM_PAGES, SHARED);
}

TEST_F(convert, bad_pointer_is_efault)
{
	struct kvm_memory_attributes2 *ro, attrs = {
		.size = PAGE_SIZE,
		.attributes = PRIVATE,
		.flags = ANY_TO_PRIVATE,
	};
	struct gmem_vm *g = &self->g;
	int pipefd[2];

	TEST_ASSERT(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, NULL) == -1 && errno == EFAULT,
		    "NULL should be EFAULT");
	TEST_ASSERT(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, -1ul) == -1 && errno == EFAULT,
		    "-1 should be EFAULT");
	expect_state(g, 0, GMEM_PAGES, SHARED);

	/* A struct that cannot be written back does not hide a conversion. */
	ro = kvm_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	*ro = attrs;
	TEST_ASSERT(!mprotect(ro, PAGE_SIZE, PROT_READ), "mprotect() failed");
	TEST_ASSERT_EQ(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, ro), 0);
	expect_state(g, 0, 1, PRIVATE);

	/* A failure that cannot be reported is one all the same. */
	TEST_ASSERT(!mprotect(ro, PAGE_SIZE, PROT_READ | PROT_WRITE), "mprotect() failed");
	ro->offset = 4 * PAGE_SIZE;
	TEST_ASSERT(!mprotect(ro, PAGE_SIZE, PROT_READ), "mprotect() failed");
	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 4 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, ro) == -1 && errno == EFAULT,
		    "EAGAIN without a place for its offset should be EFAULT");
	unpin_pipe(pipefd);
	expect_state(g, 1, GMEM_PAGES - 1, SHARED);

	/* The struct may lie in the very page: in shared memory, that is. */
	attrs.offset = 2 * PAGE_SIZE;
	memcpy(g->mem + 2 * PAGE_SIZE, &attrs, sizeof(attrs));
	TEST_ASSERT_EQ(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, g->mem + 2 * PAGE_SIZE), 0);
	expect_state(g, 2, 1, PRIVATE);
	TEST_ASSERT(ioctl(g->fd, KVM_SET_MEMORY_ATTRIBUTES2, g->mem + 2 * PAGE_SIZE) == -1 &&
		    errno == EFAULT, "A struct in private memory should be EFAULT");
}

static void expect_eagain(struct gmem_vm *g, u64 page, u64 nr, u64 at)
{
	u64 where;

	TEST_ASSERT_EQ(__gmem_convert(g->fd, page * PAGE_SIZE, nr * PAGE_SIZE,
				      PRIVATE, ANY_TO_PRIVATE, &where), -EAGAIN);
	TEST_ASSERT_EQ(where, at * PAGE_SIZE);
}

/* With page 2 of 8 held, by @unpin's kind of pin. */
static void pinned_page_cases(struct gmem_vm *g)
{
	u64 i;

	expect_eagain(g, 0, 8, 2);
	expect_eagain(g, 2, 6, 2);
	expect_eagain(g, 2, 1, 2);
	expect_eagain(g, 1, GMEM_PAGES - 1, 2);

	expect_state(g, 0, GMEM_PAGES, SHARED);
	for (i = 0; i < 8; i++)
		TEST_ASSERT_EQ(host_read(g, i), letter(1, i));

	/* To shared asks nobody. */
	gmem_convert(g, 0, 8, SHARED, ZERO);

	for (i = 0; i < 8; i++) {
		if (i == 2)
			continue;
		gmem_convert(g, i, 1, PRIVATE, PRESERVE);
		TEST_ASSERT_EQ(guest_read(g, i), letter(1, i));
	}
	expect_eagain(g, 0, 8, 2);
	TEST_ASSERT_EQ(host_read(g, 2), letter(1, 2));
}

TEST_F(convert, page_in_a_pipe_is_eagain)
{
	struct gmem_vm *g = &self->g;
	int pipefd[2];
	u64 i;

	for (i = 0; i < 8; i++)
		host_write(g, i, letter(1, i));
	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 2 * PAGE_SIZE, pipefd), 0);
	pinned_page_cases(g);
	unpin_pipe(pipefd);
	gmem_convert(g, 0, 8, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_read(g, 2), letter(1, 2));
}

TEST_F(convert, longterm_pin_is_eagain)
{
	struct gmem_vm *g = &self->g;
	u64 i;
	int fd;

	for (i = 0; i < 8; i++)
		host_write(g, i, letter(1, i));
	TEST_ASSERT_EQ(pin_longterm(g->mem + 2 * PAGE_SIZE, &fd), 0);
	pinned_page_cases(g);
	close(fd);
	gmem_convert(g, 0, 8, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_read(g, 2), letter(1, 2));
}

TEST_F(convert, lowest_pinned_page_is_reported)
{
	struct gmem_vm *g = &self->g;
	int pipefd[2], fd;

	TEST_ASSERT_EQ(pin_longterm(g->mem + 9 * PAGE_SIZE, &fd), 0);
	expect_eagain(g, 0, GMEM_PAGES, 9);
	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 6 * PAGE_SIZE, pipefd), 0);
	expect_eagain(g, 0, GMEM_PAGES, 6);
	expect_eagain(g, 7, 4, 9);
	unpin_pipe(pipefd);
	expect_eagain(g, 0, GMEM_PAGES, 9);
	close(fd);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
}

/* Whoever maps the page is told by SIGBUS, this process too. */
static bool poison(struct gmem_vm *g, u64 page)
{
	struct sigaction old, new = { .sa_handler = expect_sigbus_handler };
	volatile int r = 0;

	sigaction(SIGBUS, &new, &old);
	if (!sigsetjmp(expect_sigbus_jmpbuf, 1))
		r = madvise(g->mem + page * PAGE_SIZE, PAGE_SIZE, MADV_HWPOISON);
	sigaction(SIGBUS, &old, NULL);

	return !r;
}

TEST_F(convert, poisoned_page_is_ehwpoison_until_punched)
{
	struct gmem_vm *g = &self->g;
	u64 where;

	host_write(g, 3, 'a');
	host_write(g, 5, 'b');
	if (!poison(g, 5))
		SKIP(return, "MADV_HWPOISON needs CONFIG_MEMORY_FAILURE");

	TEST_ASSERT_EQ(__gmem_convert(g->fd, 0, GMEM_PAGES * PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE,
				      &where), -EHWPOISON);
	TEST_ASSERT_EQ(where, 5 * PAGE_SIZE);
	gmem_convert(g, 0, 5, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_read(g, 3), 'a');

	punch_hole(g, 5, 1);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_read(g, 5), 0);
}

/* A page that the host cannot reach is poisoned by its frame, as hardware does it. */
TEST_F(convert, poisoned_private_page_does_not_become_shared)
{
	struct gmem_vm *g = &self->g;
	char pfn[24];
	u64 where;
	int r;

	host_write(g, 3, 'a');
	host_write(g, 5, 'b');
	snprintf(pfn, sizeof(pfn), "%#lx", pfn_of(g, 5));
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	r = write_file("/sys/kernel/debug/hwpoison/corrupt-pfn", pfn);
	if (r == -ENOENT)
		SKIP(return, "needs CONFIG_HWPOISON_INJECT and debugfs");
	/* EBUSY says that the page stays in the file, as it does until it is punched out. */
	TEST_ASSERT(!r || r == -EBUSY, "Cannot poison frame %s: %s", pfn, strerror(-r));

	TEST_ASSERT_EQ(__gmem_convert(g->fd, 0, GMEM_PAGES * PAGE_SIZE, SHARED, PRESERVE,
				      &where), -EHWPOISON);
	TEST_ASSERT_EQ(where, 5 * PAGE_SIZE);
	expect_state(g, 0, GMEM_PAGES, PRIVATE);
	TEST_ASSERT_EQ(guest_read(g, 3), 'a');

	punch_hole(g, 5, 1);
	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, 3), 'a');
	TEST_ASSERT_EQ(host_read(g, 5), 0);
}

/* Two layouts on one kernel */

TEST_F(convert, two_backings_and_the_old_ioctl_live_beside)
{
	const u64 old_gpa = GMEM_GPA + GMEM_PAGES * PAGE_SIZE;
	struct gmem_vm *g = &self->g;
	struct kvm_memory_attributes attr = {
		.address = GMEM_GPA + 4 * PAGE_SIZE,
		.size = PAGE_SIZE,
		.attributes = PRIVATE,
	};
	u8 *hva;

	ONLY_IF(HAS_TWO_BACKINGS);
	vm_userspace_mem_region_add(g->vm, VM_MEM_SRC_ANONYMOUS, old_gpa,
				    GMEM_SLOT + 1, 4, KVM_MEM_GUEST_MEMFD);
	virt_map(g->vm, old_gpa, old_gpa, 4);
	hva = addr_gpa2hva(g->vm, old_gpa);

	/* The file decides in place, also where a range only touches it. */
	TEST_ASSERT(__vm_ioctl(g->vm, KVM_SET_MEMORY_ATTRIBUTES, &attr) == -1 && errno == EINVAL,
		    "The old ioctl should be EINVAL in place");
	attr.address = old_gpa - PAGE_SIZE;
	attr.size = 2 * PAGE_SIZE;
	TEST_ASSERT(__vm_ioctl(g->vm, KVM_SET_MEMORY_ATTRIBUTES, &attr) == -1 && errno == EINVAL,
		    "The old ioctl should be EINVAL across the border");
	expect_state(g, 0, GMEM_PAGES, SHARED);

	/* Page GMEM_PAGES of the guest is page 0 of the old slot. */
	memset(hva, 's', PAGE_SIZE);
	TEST_ASSERT_EQ(guest_read(g, GMEM_PAGES), 's');
	vm_mem_set_private(g->vm, old_gpa, 4 * PAGE_SIZE);
	TEST_ASSERT_EQ(guest_read(g, GMEM_PAGES), 0);
	guest_write(g, GMEM_PAGES, 'p');
	TEST_ASSERT_EQ(hva[0], 's');

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	guest_write(g, GMEM_PAGES - 1, 'q');
	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, GMEM_PAGES - 1), 'q');
	TEST_ASSERT_EQ(guest_read(g, GMEM_PAGES), 'p');
	vm_mem_set_shared(g->vm, old_gpa, 4 * PAGE_SIZE);
	TEST_ASSERT_EQ(guest_read(g, GMEM_PAGES), 's');
}

TEST_F(convert, closing_the_file_leaves_the_vm_alive)
{
	struct gmem_vm *g = &self->g;

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	guest_write(g, 1, 'a');
	kvm_munmap(g->mem, GMEM_PAGES * PAGE_SIZE);
	close(g->fd);

	TEST_ASSERT_EQ(__vcpu_run(g->vcpu), -1);
	TEST_ASSERT_EQ(errno, LOST_PAGE_ERRNO);
	TEST_ASSERT_EQ(g->vcpu->run->exit_reason, KVM_EXIT_MEMORY_FAULT);

	/* Something for the teardown to close. */
	g->fd = vm_create_guest_memfd(g->vm, GMEM_PAGES * PAGE_SIZE, GMEM_IN_PLACE);
	g->mem = kvm_mmap(GMEM_PAGES * PAGE_SIZE, PROT_READ, MAP_SHARED, g->fd);
}

TEST_F(convert, pre_faulted_pages_convert)
{
	struct kvm_pre_fault_memory range = { .gpa = GMEM_GPA, .size = GMEM_PAGES * PAGE_SIZE };
	struct gmem_vm *g = &self->g;

	ONLY_IF(HAS_PRE_FAULT);
	gmem_convert(g, 0, GMEM_PAGES / 2, PRIVATE, NONE);
	TEST_ASSERT_EQ(__vcpu_ioctl(g->vcpu, KVM_PRE_FAULT_MEMORY, &range), 0);
	TEST_ASSERT_EQ(range.size, 0);
	TEST_ASSERT_EQ(guest_read(g, 0), expected(NONE, 0));
	TEST_ASSERT_EQ(guest_read(g, GMEM_PAGES - 1), 0);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_read(g, 1), expected(NONE, 0));
	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, 1), expected(NONE, 0));
}

/*
 * mincore() takes a reference to each page that it looks at, mapped or not, for a
 * moment.  Many who look must neither make a conversion fail nor hold it up: it may
 * meet somebody at every page, and must not begin again each time.
 */
#define LOOKERS		4
#define LOOKED_AT	2048

static bool looked_enough;

static void *look_into_the_page_cache(void *data)
{
	struct gmem_vm *g = data;
	unsigned char resident[LOOKED_AT];

	while (!READ_ONCE(looked_enough))
		TEST_ASSERT(!mincore(g->mem, LOOKED_AT * PAGE_SIZE, resident),
			    "mincore() failed");

	return NULL;
}

TEST_F(convert, looking_into_the_page_cache_holds_nothing)
{
	pthread_t threads[LOOKERS];
	struct gmem_vm g;
	u64 i;

	gmem_vm_create(&g, LOOKED_AT, GMEM_IN_PLACE);
	memset(g.mem, 'a', LOOKED_AT * PAGE_SIZE);
	for (i = 0; i < LOOKERS; i++)
		kvm_pthread_create(&threads[i], NULL, look_into_the_page_cache, &g);
	for (i = 0; i < 50; i++) {
		show_progress("rounds", i, 50);
		gmem_convert(&g, 0, LOOKED_AT, PRIVATE, PRESERVE);
		gmem_convert(&g, 0, LOOKED_AT, SHARED, PRESERVE);
	}
	WRITE_ONCE(looked_enough, true);
	for (i = 0; i < LOOKERS; i++)
		kvm_pthread_join(threads[i], NULL);
	TEST_ASSERT_EQ(host_read(&g, LOOKED_AT - 1), 'a');
	gmem_vm_destroy(&g);
}

/*
 * A vCPU and a host thread fault on the range in a loop while it is converted
 * back and forth.  No conversion fails, as nobody holds a page.  While the epoch
 * is odd the range is private and was zeroed on the way: neither side may see
 * the letter that the host wrote before.
 *
 * In every tenth round the range stays private until the guest has looked at all
 * of it: a vCPU that is blocked is progress that does not come.
 */
#define STALE		'h'
#define FAULT_ROUNDS	500
#define WATCHED_ROUND	10

static u64 epoch;
static u64 nr_looks;
static bool stop;

static void guest_watch(void)
{
	while (!READ_ONCE(stop)) {
		u64 before = READ_ONCE(epoch), i;

		for (i = 0; i < GMEM_PAGES; i++) {
			u8 byte = READ_ONCE(*(u8 *)(GMEM_GPA + i * PAGE_SIZE));

			if (before == READ_ONCE(epoch))
				__GUEST_ASSERT(before % 2 ? !byte : !byte || byte == STALE,
					       "page %lu reads %#x in epoch %lu", i, byte, before);
			else
				break;
		}
		if (i == GMEM_PAGES)
			WRITE_ONCE(nr_looks, nr_looks + 1);
	}
	GUEST_DONE();
}

static void *run_vcpu(void *__vcpu)
{
	struct kvm_vcpu *vcpu = __vcpu;
	struct ucall uc;

	/* A fault that raced with a conversion is reported; the guest goes on. */
	while (_vcpu_run(vcpu))
		TEST_ASSERT(errno == EFAULT &&
			    vcpu->run->exit_reason == KVM_EXIT_MEMORY_FAULT,
			    "KVM_RUN failed with errno %d", errno);

	if (get_ucall(vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);

	return NULL;
}

static void *fault_from_the_host(void *__g)
{
	struct gmem_vm *g = __g;
	u64 i;

	while (!READ_ONCE(stop)) {
		for (i = 0; i < GMEM_PAGES; i++)
			/* Faults as an access would, without the SIGBUS. */
			(void)madvise(g->mem + i * PAGE_SIZE, PAGE_SIZE, MADV_POPULATE_READ);
	}

	return NULL;
}

TEST_F(convert, faulting_vcpus_neither_block_nor_see_stale_bytes)
{
	struct gmem_vm *g = &self->g;
	pthread_t vcpu_thread, host_thread;
	u64 *guest_epoch, *guest_looks, i, looks, round, where;
	bool *guest_stop;
	int r;

	ONLY_IF(!GUEST_DECIDES);
	vcpu_arch_set_entry_point(g->vcpu, guest_watch);
	guest_epoch = addr_gva2hva(g->vm, (u64)&epoch);
	guest_looks = addr_gva2hva(g->vm, (u64)&nr_looks);
	guest_stop = addr_gva2hva(g->vm, (u64)&stop);

	kvm_pthread_create(&vcpu_thread, NULL, run_vcpu, g->vcpu);
	kvm_pthread_create(&host_thread, NULL, fault_from_the_host, g);

	for (round = 0; round < FAULT_ROUNDS; round++) {
		show_progress("rounds", round, FAULT_ROUNDS);
		for (i = 0; i < GMEM_PAGES; i++)
			host_write(g, i, STALE);

		r = __gmem_convert(g->fd, 0, GMEM_PAGES * PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE,
				   &where);
		TEST_ASSERT(!r, "Round %lu: to private failed: %s at %#lx", round,
			    strerror(-r), where);
		WRITE_ONCE(*guest_epoch, 2 * round + 1);
		/* One look may have begun before. */
		looks = READ_ONCE(*guest_looks);
		while (round % WATCHED_ROUND == 0 && READ_ONCE(*guest_looks) < looks + 2)
			usleep(100);
		WRITE_ONCE(*guest_epoch, 2 * round + 2);

		r = __gmem_convert(g->fd, 0, GMEM_PAGES * PAGE_SIZE, SHARED,
				   round % 2 ? ZERO : PRESERVE, &where);
		TEST_ASSERT(!r, "Round %lu: to shared failed: %s at %#lx", round,
			    strerror(-r), where);
		for (i = 0; i < GMEM_PAGES; i++)
			TEST_ASSERT_EQ(host_read(g, i), 0);
	}

	WRITE_ONCE(*guest_stop, true);
	WRITE_ONCE(stop, true);
	kvm_pthread_join(vcpu_thread, NULL);
	kvm_pthread_join(host_thread, NULL);
}

/*
 * The VM ioctl: guest physical addresses.  The layout, in pages from GMEM_GPA:
 * [0, 16) the fixture's file, [16, 20) nothing, [20, 24) two backings, if there is such
 * a thing, [24, 32) the second half of another file and then, out of order, its first half.
 */
#define HOLE_PAGE	16
#define OLD_PAGE	20
#define OTHER_PAGE	24
#define END_PAGE	32

FIXTURE(vm_ioctl) {
	struct gmem_vm g;
	struct gmem_vm other;
};

FIXTURE_SETUP(vm_ioctl)
{
	struct gmem_vm *g = &self->g, *other = &self->other;
	const u64 half = 4 * PAGE_SIZE;

	gmem_vm_create(g, GMEM_PAGES, GMEM_IN_PLACE);
	*other = (struct gmem_vm){ .vm = g->vm, .vcpu = g->vcpu, .guest = g->guest, .nr_pages = 8 };
	other->fd = vm_create_guest_memfd(g->vm, 2 * half, GMEM_IN_PLACE);
	other->mem = kvm_mmap(2 * half, PROT_READ | PROT_WRITE, MAP_SHARED, other->fd);

	if (HAS_TWO_BACKINGS)
		vm_userspace_mem_region_add(g->vm, VM_MEM_SRC_ANONYMOUS,
					    GMEM_GPA + OLD_PAGE * PAGE_SIZE, GMEM_SLOT + 1, 4,
					    KVM_MEM_GUEST_MEMFD);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT + 2, KVM_MEM_GUEST_MEMFD,
				   GMEM_GPA + OTHER_PAGE * PAGE_SIZE, half,
				   other->mem + half, other->fd, half);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT + 3, KVM_MEM_GUEST_MEMFD,
				   GMEM_GPA + (OTHER_PAGE + 4) * PAGE_SIZE, half,
				   other->mem, other->fd, 0);
	virt_map(g->vm, GMEM_GPA + OLD_PAGE * PAGE_SIZE,
		 GMEM_GPA + OLD_PAGE * PAGE_SIZE, END_PAGE - OLD_PAGE);
}

FIXTURE_TEARDOWN(vm_ioctl)
{
	kvm_munmap(self->other.mem, 8 * PAGE_SIZE);
	close(self->other.fd);
	gmem_vm_destroy(&self->g);
}

/* Pages are counted from GMEM_GPA, also in *where, which is POISON if not written. */
static int convert_gpa(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy,
		       u64 *where)
{
	int r = __gmem_convert(g->vm->fd, GMEM_GPA + page * PAGE_SIZE, nr * PAGE_SIZE,
			       attributes, policy, where);

	if (*where != POISON)
		*where = (*where - GMEM_GPA) / PAGE_SIZE;

	return r;
}

TEST_F(vm_ioctl, one_slot_like_its_file)
{
	struct gmem_vm *g = &self->g;
	u64 where;

	host_write(g, 3, 'a');
	TEST_ASSERT_EQ(convert_gpa(g, 2, 4, PRIVATE, PRESERVE, &where), 0);
	TEST_ASSERT_EQ(where, POISON);
	expect_state(g, 0, 2, SHARED);
	expect_state(g, 2, 4, PRIVATE);
	expect_state(g, 6, GMEM_PAGES - 6, SHARED);
	TEST_ASSERT_EQ(guest_read(g, 3), 'a');
	guest_agrees(g, 2, 4);
	TEST_ASSERT_EQ(convert_gpa(g, 0, GMEM_PAGES, SHARED, ZERO, &where), 0);
	TEST_ASSERT_EQ(host_read(g, 3), 0);
}

TEST_F(vm_ioctl, slots_files_holes_and_two_backings_in_one_range)
{
	struct gmem_vm *g = &self->g, *other = &self->other;
	u64 where;

	ONLY_IF(HAS_TWO_BACKINGS);
	TEST_ASSERT_EQ(convert_gpa(g, 8, END_PAGE - 10, PRIVATE, NONE, &where), 0);
	expect_state(g, 0, 8, SHARED);
	expect_state(g, 8, 8, PRIVATE);
	/* The second half of the file comes first, and two pages of the other. */
	expect_state(other, 4, 4, PRIVATE);
	expect_state(other, 0, 2, PRIVATE);
	expect_state(other, 2, 2, SHARED);
	TEST_ASSERT_EQ(guest_read(g, 8), expected(NONE, 0));
	TEST_ASSERT_EQ(guest_read(g, OTHER_PAGE), expected(NONE, 0));
	guest_write(g, OLD_PAGE, 'p');

	TEST_ASSERT_EQ(convert_gpa(g, 0, END_PAGE, SHARED, NONE, &where), 0);
	expect_state(g, 0, GMEM_PAGES, SHARED);
	expect_state(other, 0, 8, SHARED);
	TEST_ASSERT_EQ(host_read(other, 4), expected(NONE, 0));
	TEST_ASSERT_EQ(host_read(other, 2), 0);
	TEST_ASSERT_EQ(guest_read(g, OLD_PAGE), 0);
}

TEST_F(vm_ioctl, outside_of_files_only_none_is_supported)
{
	struct gmem_vm *g = &self->g;
	u64 where;

	ONLY_IF(HAS_TWO_BACKINGS);
	TEST_ASSERT_EQ(convert_gpa(g, 8, 16, PRIVATE, ANY_TO_PRIVATE, &where), -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, HOLE_PAGE);
	TEST_ASSERT_EQ(convert_gpa(g, OLD_PAGE + 1, 2, PRIVATE, PRESERVE, &where), -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, OLD_PAGE + 1);
	TEST_ASSERT_EQ(convert_gpa(g, END_PAGE - 1, 2, PRIVATE, ANY_TO_PRIVATE, &where),
		       -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, END_PAGE);
	expect_state(g, 0, GMEM_PAGES, SHARED);
	expect_state(&self->other, 0, 8, SHARED);

	/* Without any slot it is the old ioctl. */
	TEST_ASSERT_EQ(convert_gpa(g, END_PAGE, 16, PRIVATE, NONE, &where), 0);
	TEST_ASSERT_EQ(convert_gpa(g, END_PAGE, 16, SHARED, NONE, &where), 0);
}

TEST_F(vm_ioctl, all_or_nothing_over_all_parts)
{
	struct gmem_vm *g = &self->g, *other = &self->other;
	int pipefd[2], fd;
	u64 where;

	ONLY_IF(HAS_TWO_BACKINGS);
	host_write(g, 1, 'a');
	/* Page 2 of the other file is page 30 of the guest. */
	TEST_ASSERT_EQ(pin_in_pipe(other->mem + 2 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), -EAGAIN);
	TEST_ASSERT_EQ(where, OTHER_PAGE + 6);
	expect_state(g, 0, GMEM_PAGES, SHARED);
	expect_state(other, 0, 8, SHARED);
	TEST_ASSERT_EQ(host_read(g, 1), 'a');
	guest_write(g, OLD_PAGE, 's');
	TEST_ASSERT_EQ(*(u8 *)addr_gpa2hva(g->vm, GMEM_GPA + OLD_PAGE * PAGE_SIZE), 's');

	/* The lowest guest address, not the lowest page of a file. */
	TEST_ASSERT_EQ(pin_longterm(other->mem + 7 * PAGE_SIZE, &fd), 0);
	TEST_ASSERT_EQ(convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), -EAGAIN);
	TEST_ASSERT_EQ(where, OTHER_PAGE + 3);
	close(fd);
	unpin_pipe(pipefd);
	TEST_ASSERT_EQ(convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), 0);
	expect_state(other, 0, 8, PRIVATE);
}

TEST_F(vm_ioctl, wrong_requests)
{
	struct kvm_vm *plain = vm_create_barebones();
	struct gmem_vm *g = &self->g;
	u64 where;

	TEST_ASSERT_EQ(__gmem_convert(plain->fd, 0, PAGE_SIZE, PRIVATE, NONE, NULL), -ENOTTY);
	kvm_vm_free(plain);
	TEST_ASSERT_EQ(convert_gpa(g, 0, 0, PRIVATE, NONE, &where), -EINVAL);
	TEST_ASSERT_EQ(convert_gpa(g, 0, 1, 1, NONE, &where), -EINVAL);
	TEST_ASSERT_EQ(convert_gpa(g, 0, 1, PRIVATE, 3, &where), -EINVAL);
	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, -PAGE_SIZE, PAGE_SIZE, PRIVATE, NONE, &where),
		       -EINVAL);
	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, GMEM_GPA + 1, PAGE_SIZE, PRIVATE, NONE, &where),
		       -EINVAL);
	TEST_ASSERT_EQ(where, POISON);
	expect_state(g, 0, GMEM_PAGES, SHARED);
}

static void *convert_the_file(void *__g)
{
	struct gmem_vm *g = __g;
	u64 i = 0;

	while (!READ_ONCE(stop)) {
		int r = __gmem_convert(g->fd, 0, g->nr_pages * PAGE_SIZE,
				       i++ % 2 ? PRIVATE : SHARED, ANY_TO_PRIVATE, NULL);

		TEST_ASSERT(!r, "Conversion of the file failed: %s", strerror(-r));
	}

	return NULL;
}

/* Both ioctls on the same files, slots that come and go, a file that is closed. */
TEST_F(vm_ioctl, races_with_files_and_slots)
{
	const u64 gpa = GMEM_GPA + (END_PAGE + 8) * PAGE_SIZE;
	struct gmem_vm *g = &self->g, *other = &self->other;
	pthread_t threads[2];
	u64 round, where;
	int fd, r;

	ONLY_IF(HAS_TWO_BACKINGS);
	kvm_pthread_create(&threads[0], NULL, convert_the_file, g);
	kvm_pthread_create(&threads[1], NULL, convert_the_file, other);

	for (round = 0; round < 300; round++) {
		show_progress("rounds", round, 300);
		fd = vm_create_guest_memfd(g->vm, 4 * PAGE_SIZE, GMEM_IN_PLACE);
		vm_set_user_memory_region2(g->vm, GMEM_SLOT + 4, KVM_MEM_GUEST_MEMFD, gpa,
					   4 * PAGE_SIZE, g->mem, fd, 0);
		r = convert_gpa(g, 0, END_PAGE + 16, round % 2 ? PRIVATE : SHARED, NONE, &where);
		TEST_ASSERT(!r, "Round %lu: %s at page %lu", round, strerror(-r), where);
		close(fd);
		/* The slot without its file can not be converted, and says so. */
		r = convert_gpa(g, 0, END_PAGE + 16, PRIVATE, NONE, &where);
		TEST_ASSERT_EQ(r, -EINVAL);
		vm_set_user_memory_region2(g->vm, GMEM_SLOT + 4, KVM_MEM_GUEST_MEMFD, gpa,
					   0, g->mem, -1, 0);
	}

	WRITE_ONCE(stop, true);
	kvm_pthread_join(threads[0], NULL);
	kvm_pthread_join(threads[1], NULL);
}

TEST_HARNESS_MAIN
