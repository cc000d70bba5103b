// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation fails once: each call that takes part in in-place conversion runs with
 * its first, second, ... allocation made to fail, until it succeeds without a failure.  A
 * call that fails has changed nothing, and works when repeated.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/sizes.h>

#include "gmem_harness.h"
#include "gmem_util.h"

/*
 * Pages from GMEM_GPA: [0, 16) a small file, [16, 64) nothing, from 64 on a large file
 * whose tracking has all levels.
 */
#define LARGE_PAGE	64
#define LARGE_SIZE	(256ull * SZ_1G)
#define LARGE_PAGES	(LARGE_SIZE / PAGE_SIZE)
#define LARGE_SLOT	(GMEM_SLOT + 1)

/* Pages of the large file that the guest maps, and that the host maps one by one. */
#define NEAR_PAGES	512

/* The range that is converted: both ends are in the middle of a leaf of the tracking. */
#define FIRST		5
#define LAST		(LARGE_PAGES - 7)

FIXTURE(fault) {
	struct gmem_vm g;
	struct gmem_vm large;
	int fail_nth;
};

static void set_knob(const char *injector, const char *knob, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", injector, knob);
	TEST_ASSERT(!write_file(path, value), "Cannot write %s", path);
}

FIXTURE_SETUP(fault)
{
	struct gmem_vm *g = &self->g, *large = &self->large;

	self->fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	if (self->fail_nth < 0 || access("/sys/kernel/debug/fail_page_alloc", F_OK))
		SKIP(exit(KSFT_SKIP), "needs CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC");

	set_knob("failslab", "ignore-gfp-wait", "N");
	set_knob("failslab", "verbose", "0");
	set_knob("fail_page_alloc", "ignore-gfp-wait", "N");
	set_knob("fail_page_alloc", "ignore-gfp-highmem", "N");
	set_knob("fail_page_alloc", "min-order", "0");
	set_knob("fail_page_alloc", "verbose", "0");

	gmem_vm_create(g, GMEM_PAGES, GMEM_IN_PLACE);
	*large = (struct gmem_vm){
		.vm = g->vm,
		.vcpu = g->vcpu,
		.guest = g->guest,
		.guest_page = LARGE_PAGE,
		.nr_pages = LARGE_PAGES,
	};
	large->fd = vm_create_guest_memfd(g->vm, LARGE_SIZE, GMEM_IN_PLACE);
	large->mem = mmap(NULL, LARGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_NORESERVE, large->fd, 0);
	TEST_ASSERT(large->mem != MAP_FAILED, "mmap() of the large file failed");
	vm_set_user_memory_region2(g->vm, LARGE_SLOT, KVM_MEM_GUEST_MEMFD,
				   GMEM_GPA + LARGE_PAGE * PAGE_SIZE, LARGE_SIZE,
				   large->mem, large->fd, 0);
	virt_map(g->vm, GMEM_GPA + LARGE_PAGE * PAGE_SIZE,
		 GMEM_GPA + LARGE_PAGE * PAGE_SIZE, NEAR_PAGES);
}

FIXTURE_TEARDOWN(fault)
{
	kvm_munmap(self->large.mem, LARGE_SIZE);
	close(self->large.fd);
	gmem_vm_destroy(&self->g);
	close(self->fail_nth);
}

/* 0 disarms. */
static void arm(int fail_nth, u64 n)
{
	char text[24];

	snprintf(text, sizeof(text), "%lu", n);
	TEST_ASSERT(pwrite(fail_nth, text, strlen(text), 0) > 0, "write(fail-nth) failed");
}

static bool has_failed(int fail_nth)
{
	char text[24] = {};

	TEST_ASSERT(pread(fail_nth, text, sizeof(text) - 1, 0) > 0, "read(fail-nth) failed");
	arm(fail_nth, 0);

	return !atoi(text);
}

struct call {
	struct gmem_vm *g;
	struct gmem_vm *large;
	u64 attributes;
	u64 policy;
	/* A page of the large file, for page faults: each attempt uses another one. */
	u64 page;
	/* The request, and the error_offset of the failure. */
	u64 start;
	u64 size;
	u64 where;
	int fd;
	void *mem;
};

/*
 * One kind of call.  @start creates the state before it; @run makes the call and returns 0
 * or -errno.  @unchanged and @done check the state after a failure and after success.
 */
struct kind {
	const char *name;
	void (*start)(struct call *c);
	int (*run)(struct call *c);
	void (*unchanged)(struct call *c);
	void (*done)(struct call *c);
};

static void walk(int fail_nth, const struct kind *kind, struct call *c)
{
	u64 nr_failed = 0, n;
	bool injected;
	int r;

	for (n = 1; ; n++) {
		kind->start(c);

		arm(fail_nth, n);
		r = kind->run(c);
		injected = has_failed(fail_nth);

		if (r) {
			nr_failed++;
			TEST_ASSERT(injected && r == -ENOMEM, "%s: %s at allocation %lu",
				    kind->name, strerror(-r), n);
			if (kind->unchanged)
				kind->unchanged(c);
			r = kind->run(c);
			TEST_ASSERT(!r, "%s: %s when repeated after allocation %lu failed",
				    kind->name, strerror(-r), n);
		}
		kind->done(c);

		if (!injected)
			break;
	}

	TEST_ASSERT(n > 1, "%s: nothing was made to fail", kind->name);
	printf("# measured: %s: %lu allocations failed in turn, %lu times the call did\n",
	       kind->name, n - 1, nr_failed);
}

/* Conversions */

#define OTHER_SIDE(attributes)	((attributes) ^ PRIVATE)

static void write_page(struct gmem_vm *g, u64 gpa_page, u64 page, u64 attributes, u8 byte)
{
	if (attributes & PRIVATE)
		guest_write(g, gpa_page, byte);
	else
		host_write(g, page, byte);
}

static int read_page(struct gmem_vm *g, u64 gpa_page, u64 page, u64 attributes)
{
	return attributes & PRIVATE ? guest_read(g, gpa_page) : host_read(g, page);
}

/* The opposite state everywhere, with letters in two pages, one of which is converted. */
static void conversion_start(struct call *c)
{
	u64 before = OTHER_SIDE(c->attributes), policy = before ? ANY_TO_PRIVATE : ZERO;

	gmem_convert(c->large, 0, LARGE_PAGES, before, policy);
	gmem_convert(c->g, 0, GMEM_PAGES, before, policy);
	write_page(c->large, LARGE_PAGE + FIRST - 1, FIRST - 1, before, 'k');
	write_page(c->large, LARGE_PAGE + FIRST, FIRST, before, 'c');
	write_page(c->g, 3, 3, before, 'g');
	if (before) {
		guest_agrees(c->g, 3, 1);
		guest_agrees(c->g, LARGE_PAGE + FIRST, 1);
	}
}

static void conversion_unchanged(struct call *c)
{
	u64 before = OTHER_SIDE(c->attributes);

	TEST_ASSERT(c->where >= c->start && c->where < c->start + c->size &&
		    !(c->where % PAGE_SIZE), "error_offset is %#lx", c->where);
	expect_state(c->large, FIRST - 1, 3, before);
	expect_state(c->large, LAST - 1, 3, before);
	expect_state(c->g, 0, GMEM_PAGES, before);
	TEST_ASSERT_EQ(read_page(c->large, LARGE_PAGE + FIRST - 1, FIRST - 1, before), 'k');
	TEST_ASSERT_EQ(read_page(c->large, LARGE_PAGE + FIRST, FIRST, before), 'c');
	TEST_ASSERT_EQ(read_page(c->g, 3, 3, before), 'g');
}

static int file_convert(struct call *c)
{
	c->start = FIRST * PAGE_SIZE;
	c->size = (LAST - FIRST) * PAGE_SIZE;

	return __gmem_convert(c->large->fd, c->start, c->size, c->attributes, c->policy,
			      &c->where);
}

static void file_convert_done(struct call *c)
{
	u64 before = OTHER_SIDE(c->attributes);

	expect_state(c->large, FIRST - 1, 1, before);
	expect_state(c->large, FIRST, 2, c->attributes);
	expect_state(c->large, LAST - 1, 1, c->attributes);
	expect_state(c->large, LAST, 2, before);
	TEST_ASSERT_EQ(read_page(c->large, LARGE_PAGE + FIRST - 1, FIRST - 1, before), 'k');
	TEST_ASSERT_EQ(read_page(c->large, LARGE_PAGE + FIRST, FIRST, c->attributes),
		       expected(c->policy, 'c'));
}

TEST_F(fault, conversion_of_a_file)
{
	static const char * const names[2][3] = {
		{ "to shared, ZERO", "to shared, PRESERVE", "to shared, NONE" },
		{ "to private, ZERO", "to private, PRESERVE", "to private, NONE" },
	};
	struct call c = { .g = &self->g, .large = &self->large };
	int direction;

	for (direction = 0; direction < 2; direction++) {
		for (c.policy = ZERO; c.policy <= NONE; c.policy++) {
			const struct kind kind = {
				names[direction][c.policy], conversion_start, file_convert,
				conversion_unchanged, file_convert_done,
			};

			c.attributes = direction ? PRIVATE : SHARED;
			if (!policy_works(c.attributes, c.policy))
				continue;
			walk(self->fail_nth, &kind, &c);
		}
	}
}

/* Both files and the gap between them. */
static int vm_convert(struct call *c)
{
	c->start = GMEM_GPA + 3 * PAGE_SIZE;
	c->size = (LARGE_PAGE + LAST - 3) * PAGE_SIZE;

	return __gmem_convert(c->g->vm->fd, c->start, c->size, c->attributes, NONE, &c->where);
}

static void vm_convert_done(struct call *c)
{
	u64 before = OTHER_SIDE(c->attributes);

	expect_state(c->g, 0, 3, before);
	expect_state(c->g, 3, GMEM_PAGES - 3, c->attributes);
	expect_state(c->large, 0, 8, c->attributes);
	expect_state(c->large, LAST, 2, before);
	TEST_ASSERT_EQ(read_page(c->g, 3, 3, c->attributes), expected(NONE, 'g'));

	/* The gap belongs to the VM, which would have to reserve it again. */
	TEST_ASSERT_EQ(__gmem_convert(c->g->vm->fd, GMEM_GPA + GMEM_PAGES * PAGE_SIZE,
				      (LARGE_PAGE - GMEM_PAGES) * PAGE_SIZE, SHARED, NONE,
				      NULL), 0);
}

TEST_F(fault, conversion_over_the_vm)
{
	static const struct kind kinds[] = {
		{ "VM to shared", conversion_start, vm_convert, conversion_unchanged,
		  vm_convert_done },
		{ "VM to private", conversion_start, vm_convert, conversion_unchanged,
		  vm_convert_done },
	};
	struct call c = { .g = &self->g, .large = &self->large, .attributes = SHARED };

	ONLY_IF(HAS_TWO_BACKINGS);
	walk(self->fail_nth, &kinds[0], &c);
	c.attributes = PRIVATE;
	walk(self->fail_nth, &kinds[1], &c);
}

/* Page faults */

static void page_start(struct call *c)
{
	u64 before = OTHER_SIDE(c->attributes);

	kvm_fallocate(c->large->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, LARGE_SIZE);
	gmem_convert(c->large, 0, LARGE_PAGES, before, before ? ANY_TO_PRIVATE : ZERO);
	gmem_convert(c->large, 0, LARGE_PAGES, c->attributes, NONE);
	/* A mapping of its own, so that page tables have to be allocated as well. */
	c->mem = kvm_mmap(NEAR_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			  c->large->fd);
	c->page = (c->page + 1) % NEAR_PAGES;
	if (c->attributes & PRIVATE || !GUEST_DECIDES)
		guest_start_read(c->g, LARGE_PAGE + c->page);
}

static void page_unchanged(struct call *c)
{
	expect_state(c->large, 0, 16, c->attributes);
}

static void page_done(struct call *c)
{
	TEST_ASSERT_EQ(read_page(c->large, LARGE_PAGE + c->page, c->page, c->attributes),
		       expected(NONE, 0));
	expect_state(c->large, 0, 16, c->attributes);
	kvm_munmap(c->mem, NEAR_PAGES * PAGE_SIZE);
}

/* The answer is a store, which would otherwise complete in the guest's next program. */
static void guest_answered(struct call *c)
{
	vcpu_run_complete_io(c->g->vcpu);
	page_done(c);
}

static int fault_from_host(struct call *c)
{
	return madvise(c->mem + c->page * PAGE_SIZE, PAGE_SIZE, MADV_POPULATE_WRITE) ? -errno : 0;
}

static int pre_fault(struct call *c)
{
	struct kvm_pre_fault_memory range = {
		.gpa = GMEM_GPA + (LARGE_PAGE + c->page) * PAGE_SIZE,
		.size = PAGE_SIZE,
	};

	return __vcpu_ioctl(c->g->vcpu, KVM_PRE_FAULT_MEMORY, &range) ? -errno : 0;
}

static int fault_from_guest(struct call *c)
{
	return __vcpu_run(c->g->vcpu) ? -errno : 0;
}

static int allocate(struct call *c)
{
	return fallocate(c->large->fd, FALLOC_FL_KEEP_SIZE, 0, 4 * PAGE_SIZE) ? -errno : 0;
}

TEST_F(fault, page_faults_and_allocation)
{
	static const struct kind kinds[] = {
		{ "host's fault", page_start, fault_from_host, page_unchanged, page_done },
		{ "pre-fault, shared", page_start, pre_fault, page_unchanged, page_done },
		{ "guest's fault, shared", page_start, fault_from_guest, page_unchanged,
		  guest_answered },
		{ "fallocate(), shared", page_start, allocate, page_unchanged, page_done },
		{ "pre-fault, private", page_start, pre_fault, page_unchanged, page_done },
		{ "guest's fault, private", page_start, fault_from_guest, page_unchanged,
		  guest_answered },
		{ "fallocate(), private", page_start, allocate, page_unchanged, page_done },
	};
	struct call c = { .g = &self->g, .large = &self->large };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		c.attributes = i < 4 ? SHARED : PRIVATE;
		if ((kinds[i].run == pre_fault && !HAS_PRE_FAULT) ||
		    (kinds[i].run == fault_from_guest && GUEST_DECIDES &&
		     c.attributes == SHARED))
			continue;
		walk(self->fail_nth, &kinds[i], &c);
	}
}

/* NONE is recorded for the whole file; a hole in it needs finer tracking. */
static void punch_start(struct call *c)
{
	gmem_convert(c->large, 0, LARGE_PAGES, PRIVATE, ANY_TO_PRIVATE);
	guest_write(c->large, LARGE_PAGE + 3, 'a');
	gmem_convert(c->large, 0, LARGE_PAGES, SHARED, NONE);
	host_write(c->large, 3, 'a');
}

static int punch(struct call *c)
{
	return fallocate(c->large->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
			 3 * PAGE_SIZE, PAGE_SIZE) ? -errno : 0;
}

static void punch_unchanged(struct call *c)
{
	TEST_ASSERT_EQ(host_read(c->large, 3), 'a');
}

static void punch_done(struct call *c)
{
	TEST_ASSERT_EQ(host_read(c->large, 2), expected(NONE, 0));
	TEST_ASSERT_EQ(host_read(c->large, 3), 0);
	TEST_ASSERT_EQ(host_read(c->large, 4), expected(NONE, 0));
}

TEST_F(fault, hole_punch)
{
	static const struct kind kind = {
		"hole punch", punch_start, punch, punch_unchanged, punch_done,
	};
	struct call c = { .g = &self->g, .large = &self->large };

	ONLY_IF(LOST_PAGES_COME_BACK);
	walk(self->fail_nth, &kind, &c);
}

/* Files and slots */

static void nothing(struct call *c)
{
}

static int create_file(struct call *c)
{
	c->fd = __vm_create_guest_memfd(c->g->vm, 4 * PAGE_SIZE, GMEM_IN_PLACE);

	return c->fd < 0 ? -errno : 0;
}

static void close_file(struct call *c)
{
	TEST_ASSERT_EQ(__gmem_convert(c->fd, 0, PAGE_SIZE, PRIVATE, ANY_TO_PRIVATE, NULL), 0);
	close(c->fd);
}

static int set_slot(struct call *c, u64 nr_pages)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = GMEM_SLOT,
		.flags = KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = GMEM_GPA,
		.memory_size = nr_pages * PAGE_SIZE,
		.userspace_addr = (uintptr_t)c->g->mem,
		.guest_memfd = c->g->fd,
	};

	return __vm_ioctl(c->g->vm, KVM_SET_USER_MEMORY_REGION2, &region) ? -errno : 0;
}

static int create_slot(struct call *c)
{
	return set_slot(c, GMEM_PAGES);
}

static int delete_slot(struct call *c)
{
	return set_slot(c, 0);
}

/* Without the slot its pages belong to the VM, which does not support ZERO. */
static int convert_slot(struct call *c, u64 *where)
{
	return __gmem_convert(c->g->vm->fd, GMEM_GPA, PAGE_SIZE, SHARED, ZERO, where);
}

static void slot_is_there(struct call *c)
{
	TEST_ASSERT_EQ(convert_slot(c, NULL), 0);
	TEST_ASSERT_EQ(guest_read(c->g, 1), 's');
}

static void slot_is_gone(struct call *c)
{
	TEST_ASSERT_EQ(convert_slot(c, NULL), -EOPNOTSUPP);
}

static void start_with_slot(struct call *c)
{
	delete_slot(c);
	TEST_ASSERT_EQ(create_slot(c), 0);
	host_write(c->g, 1, 's');
}

static void start_without_slot(struct call *c)
{
	host_write(c->g, 1, 's');
	TEST_ASSERT_EQ(delete_slot(c), 0);
}

TEST_F(fault, files_and_slots)
{
	static const struct kind kinds[] = {
		{ "file creation", nothing, create_file, NULL, close_file },
		{ "slot creation", start_without_slot, create_slot, slot_is_gone, slot_is_there },
		{ "slot deletion", start_with_slot, delete_slot, slot_is_there, slot_is_gone },
	};
	struct call c = { .g = &self->g, .large = &self->large };
	size_t i;

	walk(self->fail_nth, &kinds[0], &c);
	ONLY_IF(SLOTS_CAN_GO);
	for (i = 1; i < ARRAY_SIZE(kinds); i++)
		walk(self->fail_nth, &kinds[i], &c);
	/* For the next attempt, and for the teardown. */
	TEST_ASSERT_EQ(create_slot(&c), 0);
	slot_is_there(&c);
}

TEST_HARNESS_MAIN
